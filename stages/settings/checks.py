"""Checks of params.yaml: every key known and present, every value of its type and in its range, the whole consistent.

Consumes the plain dictionaries of params.yaml and raises ValueError with the full key, the value and what is allowed
for the first mistake. Knows the shape from stages.settings.schema; does not read files.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from typing import Annotated, Any, Literal

from stages.files import layout
from stages.settings.schema import LAYOUT, NEEDS_SAMPLES, SECTIONS, Model


def check(params: dict[str, Any]) -> None:
    """Raise ValueError, with the full key, on the first setting of the whole file that is not allowed."""
    _check_keys("", params, ["layout", "model", *SECTIONS])
    if params["layout"] != LAYOUT:
        raise ValueError(f"layout must be {LAYOUT}, got {params['layout']!r}: these are settings of another version")
    for name, section in SECTIONS.items():
        _check(section, params[name], name)
    if not isinstance(params["model"], dict) or not params["model"]:
        raise ValueError("model must name at least one model, for instance -S 'model=[mini-vega]'")
    for key, model in params["model"].items():
        _check(Model, model, f"model.{key}")
        _check_model(key, model, params["model"])
    _check_together(params)


def _check(kind: Any, value: Any, key: str) -> None:
    """Check `value` against an annotation: a dataclass, Literal, Annotated[number, Range], list[...], X | None."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        _check_keys(key, value, list(hints))
        for name, hint in hints.items():
            _check(hint, value[name], f"{key}.{name}")
        return
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is not None:
            _check(next(option for option in inner if option is not types.NoneType), value, key)
    elif origin is Literal:
        if value not in inner:
            raise ValueError(_not_allowed(key, value, list(inner)))
    elif origin is Annotated:
        _check(inner[0], value, key)
        if not inner[1].holds(value):
            raise ValueError(f"{key} must be {inner[1]}, got {value!r}")
    elif origin is list:
        _check(list, value, key)
        for index, item in enumerate(value):
            _check(inner[0], item, f"{key}[{index}]")
    elif not _is_a(value, kind):
        raise ValueError(f"{key} must be {_NAMES[kind]}, got {value!r}")


_NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", list: "a list"}


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _check_keys(key: str, value: Any, fields: list[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{key or 'params.yaml'} must hold {', '.join(fields)}, got {value!r}")
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in fields:
            raise ValueError(unknown(f"{prefix}{name}", fields))
    for name in fields:
        if name not in value:
            raise ValueError(f"{prefix}{name} is missing; allowed in {key or 'params.yaml'}: {', '.join(fields)}")


def _check_model(key: str, model: dict[str, Any], models: dict[str, Any]) -> None:
    base, source, sampler = model["base"], model["source"], model["sampler"]
    where = f"model.{key}"
    if model["role"] == "base" and base != key:
        raise ValueError(f"{where}.base must be {key!r} itself where role is base, got {base!r}")
    if model["role"] == "refiner" and base == key:
        raise ValueError(f"{where}.base must name the model whose latents are refined, got {base!r} itself")
    if base not in models:
        raise ValueError(f"{where}.base is {base!r}, which is not selected: {key} needs it, -S 'model=[{base},{key}]'")
    if sampler["scheduler"] == "LCMScheduler" and sampler["steps"] > 50:
        raise ValueError(f"{where}.sampler.steps must be at most 50 with LCMScheduler, got {sampler['steps']}")
    if (sampler["high_noise_fraction"] is None) != (model["role"] == "base"):
        raise ValueError(
            f"{where}.sampler.high_noise_fraction must be a number for a refiner and null for a base, "
            f"got {sampler['high_noise_fraction']!r} for a {model['role']}"
        )
    given = "architecture" if source["kind"] == "synthetic" else "repo"
    if not source[given]:
        raise ValueError(f"{where}.source.{given} must be given where kind is {source['kind']}, got {source[given]!r}")
    if source["kind"] == "synthetic" and source["repo"]:
        raise ValueError(f"{where}.source.repo must be null where kind is synthetic, got {source['repo']!r}")
    if source["kind"] == "synthetic" and (source["unet"] or source["vae"] or source["lora"]):
        raise ValueError(
            f"{where}.source.unet, .vae and .lora must be null where kind is synthetic: the architecture has all"
        )
    wrong = {"base": "two-stage", "refiner": "text-to-image"}[model["role"]]
    if wrong in model["tasks"] or not model["tasks"]:
        raise ValueError(
            f"{where}.tasks must be at least one, without {wrong} for a {model['role']}; got {model['tasks']}"
        )
    for name in ("", "unet", "vae", "lora"):
        part = source[name] if name else source
        if source["kind"] == "hub" and part and not part["revision"]:
            dotted = f"{where}.source.{name}.".replace("..", ".")
            raise ValueError(f"{dotted}revision must be a commit or main where kind is hub, got {part['revision']!r}")


def _check_together(params: dict[str, Any]) -> None:
    prompts, quantization, device = params["prompts"], params["quantization"], params["device"]
    needed = {"embedded": ("file",), "hub": ("repo", "revision", "split")}[prompts["source"]]
    for name in needed:
        if not prompts[name]:
            raise ValueError(f"prompts.{name} must be given where prompts.source is {prompts['source']}")
    _check_clip(params["clip"])
    name = quantization["name"]
    if name == layout.FP16 or not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"quantization.name must be letters, digits, - and _ and not fp16, got {name!r}")
    if quantization["scheme"] in NEEDS_SAMPLES and not quantization["samples"]:
        raise ValueError(f"quantization.samples must be at least 1 with scheme {quantization['scheme']}, got 0")
    if quantization["scheme"] in ("weights_first", "weights_only") and not quantization["weights"]:
        raise ValueError(f"quantization.weights must be a weight format with scheme {quantization['scheme']}, got null")
    if not quantization["group_size"]:
        raise ValueError("quantization.group_size must be -1 (a whole channel) or at least 1, got 0")
    if not device["name"]:
        raise ValueError("device.name must be an OpenVINO device such as CPU, GPU or NPU, got ''")


def _check_clip(clip: dict[str, Any]) -> None:
    if clip["kind"] != "none" and not clip["repo"]:
        raise ValueError(f"clip.repo must be a folder or a repository where clip.kind is {clip['kind']}, got null")
    if clip["kind"] == "hub" and not clip["revision"]:
        raise ValueError(f"clip.revision must be a commit or main where clip.kind is hub, got {clip['revision']!r}")


def model_key(models: dict[str, Any], model: str) -> None:
    if model not in models:
        near = _nearest(model, list(models))
        raise ValueError(f"model {model!r} is not selected in params.yaml{near}; selected: {', '.join(models)}")


def unknown(key: str, known: list[str]) -> str:
    return f"{key} is not a setting{_nearest(key.rpartition('.')[2], known)}; allowed: {', '.join(known) or 'nothing'}"


def _not_allowed(key: str, value: Any, allowed: list[str]) -> str:
    return f"{key} must be one of {', '.join(allowed)}; got {value!r}{_nearest(str(value), allowed)}"


def _nearest(word: str, words: list[str]) -> str:
    near = difflib.get_close_matches(word, [str(known) for known in words], n=1)
    return f" (did you mean {near[0]}?)" if near else ""
