"""Settings that only make sense together: a model's parts, its sampler, its tasks at the benchmark's strengths.

Consumes params.yaml as plain dictionaries whose keys and types were checked; raises ValueError with the full key, the
value and what is allowed for the first contradiction. Reads no files but schedulers.yaml.
"""

from __future__ import annotations

import math
import re
from pathlib import PurePath
from typing import Any

from stages.files import layout, names
from stages.settings import samplers
from stages.settings.schema import AT_REST, EFFECTS, NEEDS_SAMPLES

TAKEN = ", ".join(layout.TAKEN[:-1]) + f" or {layout.TAKEN[-1]}"
NAMES = ("", "__module.unet.conv_in/aten::_convolution/Convolution", "__module.unet.time_embedding.linear_1/MatMul")
LCM_STEPS = 50  # of the schedule that consistency models are distilled from


def check(params: dict[str, Any], running: str | None = None) -> None:
    """`running`: the model whose tasks must have steps to run; all of them without."""
    _check_keys(list(params["model"]))
    for key, model in params["model"].items():
        _check_base(f"model.{key}", key, model, params["model"])
        _check_source(f"model.{key}.source", model["source"])
        _check_sampler(f"model.{key}.sampler", model["sampler"], model["role"])
        if running in (None, key):
            _check_tasks(f"model.{key}", model, params["benchmark"])
    for number, size in enumerate(params["calibration"]["sizes"]):
        if len(size) != 2:
            raise ValueError(f"calibration.sizes[{number}] must be [width, height], got {size}")
    for name in _SECTIONS:
        section(name, params[name])
    if params["fid"]["features"] == "scorer" and params["clip"]["kind"] == "none":
        raise ValueError("fid.features must be none or inception where clip.kind is none, got 'scorer'")
    if not params["device"]["name"]:
        raise ValueError("device.name must be an OpenVINO device such as CPU, GPU or NPU, got ''")


def section(name: str, values: dict[str, Any]) -> None:
    """What must hold within a section, whatever the others say."""
    if name in _SECTIONS:
        _SECTIONS[name](values)


def _check_keys(keys: list[Any]) -> None:
    for key in keys:
        if not names.is_name(key):
            better = re.sub(r"[^A-Za-z0-9_]+", "-", str(key)).strip("-")[: names.LONGEST]
            raise ValueError(f"model key {names.shown(key)} must be {names.ALLOWED}: call it {better!r}")
    if found := names.twins(keys):
        raise ValueError(f"model keys {found[0]!r} and {found[1]!r} name the same folder on some disks: rename one")


def _check_base(where: str, key: str, model: dict[str, Any], models: dict[str, Any]) -> None:
    base = model["base"]
    if model["role"] == "base" and base != key:
        raise ValueError(f"{where}.base must be {key!r} itself where role is base, got {base!r}")
    if model["role"] == "refiner" and base == key:
        raise ValueError(f"{where}.base must name the model whose latents are refined, got {base!r} itself")
    if base not in models:
        raise ValueError(f"{where}.base is {base!r}, which is not selected: {key} needs it, -S 'model=[{base},{key}]'")


def _check_source(where: str, source: dict[str, Any]) -> None:
    kind = source["kind"]
    given = "architecture" if kind == "synthetic" else "repo"
    if not source[given]:
        raise ValueError(f"{where}.{given} must be given where kind is {kind}, got {source[given]!r}")
    parts = {name: source[name] for name in ("unet", "vae", "tokenizers")}
    parts |= {f"adapters[{number}]": adapter for number, adapter in enumerate(source["adapters"])}
    if kind == "synthetic":
        for name, part in {"repo": source["repo"], "file": source["file"], **parts}.items():
            if part:
                raise ValueError(f"{where}.{name} must be absent where kind is synthetic: the architecture has all")
    if source["tokenizers"] and not source["file"]:
        raise ValueError(f"{where}.tokenizers must be null where {where}.file is: the pipeline has its own")
    for name, part in {"": source, **parts}.items():
        if part and part["kind"] == "hub" and not part["revision"]:
            dotted = f"{where}.{name}.".replace("..", ".")
            raise ValueError(f"{dotted}revision must be a commit or main where kind is hub, got {part['revision']!r}")
    for number, adapter in enumerate(source["adapters"]):
        if not adapter["scale"]:
            raise ValueError(f"{where}.adapters[{number}].scale must not be 0: leave the adapter out")


def _check_sampler(where: str, sampler: dict[str, Any], role: str) -> None:
    samplers.check(where, sampler["scheduler"], sampler["options"])
    steps = sampler["options"].get("original_inference_steps", LCM_STEPS)
    if sampler["scheduler"] in ("LCMScheduler", "TCDScheduler") and sampler["steps"] > steps:
        raise ValueError(f"{where}.steps must be at most {steps} with {sampler['scheduler']}, got {sampler['steps']}")
    if (sampler["high_noise_fraction"] is None) != (role == "base"):
        raise ValueError(
            f"{where}.high_noise_fraction must be a number for a refiner and null for a base, "
            f"got {sampler['high_noise_fraction']!r} for a {role}"
        )


def _check_tasks(where: str, model: dict[str, Any], benchmark: dict[str, Any]) -> None:
    tasks, wrong = model["tasks"], {"base": "two-stage", "refiner": "text-to-image"}[model["role"]]
    if wrong in tasks or not tasks:
        raise ValueError(f"{where}.tasks must be at least one, without {wrong} for a {model['role']}; got {tasks}")
    steps, key = (benchmark["steps"], "benchmark.steps") if benchmark["steps"] else (
        model["sampler"]["steps"], f"{where}.sampler.steps"
    )  # fmt: skip
    for task, strength in (("image-to-image", "strength"), ("two-stage", "sdedit_strength")):
        share = benchmark[strength]
        if task in tasks and int(steps * share) < 1:
            raise ValueError(
                f"{where}.tasks: {task} runs no step, as {key} {steps} x benchmark.{strength} {share} is below 1: take "
                f"it out of the tasks, or set at least {math.ceil(1 / share)} steps"
            )


def _check_prompts(prompts: dict[str, Any]) -> None:
    needed = {"embedded": ("file",), "hub": ("repo", "revision", "split")}[prompts["source"]]
    for name in needed:
        if not prompts[name]:
            raise ValueError(f"prompts.{name} must be given where prompts.source is {prompts['source']}")
    if prompts["source"] == "embedded" and prompts["watch"] != prompts["file"]:
        raise ValueError(f"prompts.watch must be prompts.file, {prompts['file']!r}, got {prompts['watch']!r}")


def _check_quantization(quantization: dict[str, Any]) -> None:
    name, scheme, weights = (quantization[field] for field in ("name", "scheme", "weights"))
    if name.casefold() in layout.TAKEN or not names.is_name(name):
        raise ValueError(f"quantization.name must be {names.ALLOWED}, not {TAKEN}, got {names.shown(name)}")
    for number, pattern in enumerate(quantization["ignored_patterns"]):
        _check_pattern(f"quantization.ignored_patterns[{number}]", pattern)
    for field, rest in AT_REST.items():
        if field not in EFFECTS[scheme] and quantization[field] != rest:
            raise ValueError(
                f"quantization.{field} has no effect with scheme {scheme}: it must be {_as_yaml(rest)}, "
                f"got {_as_yaml(quantization[field])}"
            )
    if scheme in NEEDS_SAMPLES and not quantization["samples"]:
        raise ValueError(f"quantization.samples must be at least 1 with scheme {scheme}, got 0")
    if "weights" in EFFECTS[scheme]:
        formats = ("int8_sym", "int8_asym", *(("int4_sym", "int4_asym") if scheme == "weights_only" else ()))
        if weights not in formats:
            allowed = ", ".join(formats)
            raise ValueError(f"quantization.weights must be one of {allowed} with scheme {scheme}, got {weights!r}")
    if weights == "int8_asym" and (quantization["search"] or quantization["rounding"] != AT_REST["rounding"]):
        raise ValueError(
            "quantization.weights must be int8_sym where weights are scaled or rounded anew, got int8_asym: or set "
            "quantization.search=null and quantization.rounding=nearest"
        )
    if weights == "int8_asym" and scheme == "weights_first" and quantization["overflow_fix"] != "never":
        raise ValueError(
            "quantization.weights must be int8_sym where they may have to do with 7 bits, got int8_asym: or set "
            "quantization.overflow_fix=never, for processors with VNNI or AMX"
        )
    if not quantization["group_size"]:
        raise ValueError("quantization.group_size must be -1 (a whole channel) or at least 1, got 0")
    for field in ("group_size", "ratio"):
        if str(weights).startswith("int8") and quantization[field] != AT_REST[field]:
            raise ValueError(
                f"quantization.{field} has no effect with {weights} weights: it must be {AT_REST[field]}, "
                f"got {quantization[field]}"
            )


def _check_pattern(key: str, pattern: str) -> None:
    """NNCF matches the beginning of a name: what matches these matches every one."""
    try:
        everything = all(re.match(pattern, name) for name in NAMES)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{key}: {pattern!r} is not a pattern: {error}") from error
    if everything:
        raise ValueError(f"{key} must leave something to quantize, and {pattern!r} matches every operation's name")


def _check_speed(speed: dict[str, Any]) -> None:
    names.require(speed["name"], "speed.name")
    if speed["scheduler"] is None and speed["options"]:
        raise ValueError(f"speed.options must be {{}} where speed.scheduler is null, got {speed['options']}")
    if speed["scheduler"] is not None:
        samplers.check("speed", speed["scheduler"], speed["options"])
        if speed["steps"] is None:
            raise ValueError("speed.steps must be given where speed.scheduler is: a scheduler alone spares nothing")
    interval = speed["guidance_interval"]
    if interval is not None and (len(interval) != 2 or interval[0] >= interval[1]):
        raise ValueError(f"speed.guidance_interval must be [low, high] with low < high, or null, got {interval}")
    if speed["evaluate_every"] and speed["deep_every"]:
        raise ValueError("speed.evaluate_every and speed.deep_every spare the same steps: one of them must be null")


def _check_tiny_vae(tiny: dict[str, Any]) -> None:
    if tiny["kind"] in ("local", "hub") and not tiny["repo"]:
        raise ValueError(f"tiny_vae.repo must be a folder or a repository where kind is {tiny['kind']}, got null")
    if tiny["kind"] == "hub" and not tiny["revision"]:
        raise ValueError(f"tiny_vae.revision must be a commit or main where kind is hub, got {tiny['revision']!r}")


def _check_engine(engine: dict[str, Any]) -> None:
    if engine["name"] == "local":
        for name in ("address", "workers", "cpus", "memory_gb"):
            if engine[name] is not None:
                raise ValueError(f"engine.{name} has no effect with engine=local: it must be null, got {engine[name]}")
        return
    address = engine["address"]
    if address is None or (address != "auto" and not re.fullmatch(r"[^:/\s]+:\d{1,5}", address)):
        raise ValueError(f"engine.address must be auto, or a head's host:port such as 10.0.0.1:6379, got {address!r}")


def _as_yaml(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _check_clip(clip: dict[str, Any]) -> None:
    if clip["kind"] != "none" and not clip["repo"]:
        raise ValueError(f"clip.repo must be a folder or a repository where clip.kind is {clip['kind']}, got null")
    if clip["kind"] == "hub" and not clip["revision"]:
        raise ValueError(f"clip.revision must be a commit or main where clip.kind is hub, got {clip['revision']!r}")


def _check_judge(judge: dict[str, Any]) -> None:
    if judge["kind"] != "none" and not judge["repo"]:
        raise ValueError(f"judge.repo must be a folder where judge.kind is {judge['kind']}, got null")


def _check_fid(fid: dict[str, Any]) -> None:
    wanted = {"none": (), "scorer": ("reference",), "inception": ("reference", "weights")}[fid["features"]]
    for name in ("reference", "weights"):
        if name in wanted and not fid[name]:
            raise ValueError(f"fid.{name} must be given where fid.features is {fid['features']}, got {fid[name]!r}")
        if name not in wanted and fid[name] is not None:
            raise ValueError(f"fid.{name} has no effect where fid.features is {fid['features']}: it must be null")
    watched = PurePath(fid["watch"])
    for name in wanted:
        if fid[name] != "fetch" and not PurePath(fid[name]).is_relative_to(watched):
            raise ValueError(
                f"fid.{name} must be fid.watch or lie in it, for DVC to see it change, got {fid[name]!r} and "
                f"{fid['watch']!r}"
            )


_SECTIONS = {
    "prompts": _check_prompts,
    "clip": _check_clip,
    "judge": _check_judge,
    "fid": _check_fid,
    "quantization": _check_quantization,
    "speed": _check_speed,
    "tiny_vae": _check_tiny_vae,
    "engine": _check_engine,
}
