"""What a checkpoint's configuration files say, held to what their classes take: every key's type and range.

Consumes the dictionary of a `config.json` or a `scheduler_config.json`, and configurations.yaml beside this file;
produces nothing but an error that names file, key, value and what is allowed. Imports no framework and builds nothing:
a number that would take all memory is refused here.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.settings import samplers

FILE = Path(__file__).with_name("configurations.yaml")
LEVELS = "block_out_channels"
BY_LEVEL = {  # lists with one entry for each of the levels that another key counts
    "UNet2DConditionModel": (LEVELS, (
        "down_block_types", "up_block_types", "only_cross_attention", "layers_per_block", "attention_head_dim",
        "transformer_layers_per_block", "reverse_transformer_layers_per_block",
    )),
    "AutoencoderKL": (LEVELS, ("down_block_types", "up_block_types")),
    "AutoencoderTiny": ("decoder_block_out_channels", (
        "num_encoder_blocks", "num_decoder_blocks", "encoder_block_out_channels", LEVELS,
    )),
}  # fmt: skip
ALIKE = ", as in all SDXL models"
NOISE_LEVELS = "EDM"  # schedulers of this name have sigmas of their own, and no betas
Settings = dict[str, Any]
Spec = dict[str, Any]


def check(path: Path, class_name: str, settings: Settings) -> None:
    """Refuse a component's configuration that its class cannot mean; `path` is what errors name."""
    _check_keys(path, _read()["classes"][class_name], settings)
    if settings.get("quantization_config") is not None:
        raise ValueError(f"{path}: quantization_config must not be there: the weights from before it are wanted")
    for problem in _problems(class_name, settings):
        raise ValueError(f"{path}: {problem}")


def check_scheduler(path: Path, settings: Settings) -> None:
    """The same of a scheduler, whichever class it is of: settings choose the one that is run."""
    _check_keys(path, _scheduler(), settings)
    for key in _scheduler_needs(settings.get("_class_name")):
        if settings.get(key) is None:
            raise ValueError(f"{path}: {key} is missing, which says what noise the model knows")
    if settings.get("beta_start", 0) > settings.get("beta_end", 1):
        raise ValueError(f"{path}: beta_start must be <= beta_end, got {settings['beta_start']}")
    betas, steps = settings.get("trained_betas"), settings.get("num_train_timesteps") or 1000
    if betas is not None and len(betas) != steps:
        raise ValueError(f"{path}: trained_betas must hold num_train_timesteps = {steps} numbers, got {len(betas)}")


def known(class_name: str, settings: Settings) -> Settings:
    """What of a configuration has an effect: the parameters that the class takes."""
    takes, about = _read()["classes"][class_name], _read()["shared"]
    takes = takes.keys() - about["about"].keys() - about["written"].keys() - {"_class_name"}
    return {key: value for key, value in settings.items() if key in takes}


def leftovers(part: str) -> dict[str, str]:
    """Patterns of tensors that may lie in a component's files beside its own, and why nothing is lost without them."""
    return _read()["leftovers"].get(part, {})


def _check_keys(path: Path, specs: dict[str, Spec], settings: Settings) -> None:
    for key, spec in specs.items():
        if key in settings:
            if not _holds(spec, settings[key]):
                raise ValueError(f"{path}: {key} must be {_allowed(spec)}, got {_shown(settings[key])}")
        elif spec.get("needed"):
            raise ValueError(f"{path}: {key} is missing; it must be {_allowed(spec)}")


def _holds(spec: Spec, value: Any) -> bool:
    if value is None:
        return bool(spec.get("null"))
    least = int(spec.get("list", False))
    return _is_nested(spec, value, least, max(least, spec.get("lists", 0)))


def _is_nested(spec: Spec, value: Any, least: int, most: int) -> bool:
    """Whether a value is allowed at the depth of lists that is left, from `least` to `most`."""
    if isinstance(value, list):
        inside = most > 0 and all(_is_nested(spec, item, least - 1, most - 1) for item in value)
        return inside and (bool(value) or "empty" in spec)
    return least <= 0 and _is_one(spec, value)


def _is_one(spec: Spec, value: Any) -> bool:
    """Whether a value by itself is allowed: true and false are no numbers here."""
    if "switch" in spec:
        return isinstance(value, bool)
    if "text" in spec:
        return isinstance(value, str)
    if "is" in spec:
        return any(type(value) is type(one) and value == one for one in spec["is"])
    if isinstance(value, bool) or not isinstance(value, int if "whole" in spec else int | float):
        return False
    low, high = spec["whole" if "whole" in spec else "number"]
    return low <= value <= high  # false of NaN


def _allowed(spec: Spec) -> str:
    if "switch" in spec:
        said = "true or false"
    elif "text" in spec:
        said = "text"
    elif "is" in spec:
        said = " or ".join(str(one).lower() if isinstance(one, bool) else str(one) for one in spec["is"])
    else:
        low, high = spec["whole" if "whole" in spec else "number"]
        said = f"a {'whole number' if 'whole' in spec else 'number'} from {low} to {high}"
    if spec.get("list") and said:
        said = f"a list, each of it {said}"
    elif spec.get("lists"):
        said = f"{said}, or a list of such"
    return " or ".join([*filter(None, [said]), *(["null"] if spec.get("null") else [])])


def _shown(value: Any) -> str:
    shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _problems(class_name: str, settings: Settings) -> Iterator[str]:
    """What is wrong between the keys of one configuration."""
    if class_name.startswith("CLIP"):
        yield from _clip_problems(class_name, settings)
        return
    counted, listed = BY_LEVEL[class_name]
    levels = settings.get(counted)
    for key in listed if levels else ():
        if isinstance(settings.get(key), list) and len(settings[key]) != len(levels):
            yield f"{key} must have an entry for each of {counted}, {len(levels)}, got {len(settings[key])}"
    if groups := settings.get("norm_num_groups"):
        if wrong := [width for width in levels if width % groups]:
            yield f"norm_num_groups must divide {counted}, got {groups} for {wrong[0]}"
        if max(levels) >= (usual := _read()["groups"])["from"] and groups != usual["are"]:
            yield f"norm_num_groups must be {usual['are']} for {counted} of {max(levels)}{ALIKE}, got {groups}"
    if class_name == "UNet2DConditionModel":
        yield from _head_problems(settings)
    for key in ("latents_mean", "latents_std"):
        if settings.get(key) is not None and len(settings[key]) != settings.get("latent_channels", 4):
            yield f"{key} must have a number for each of latent_channels, got {len(settings[key])}"


def _head_problems(settings: Settings) -> Iterator[str]:
    """attention_head_dim is the number of heads, by an old mistake of diffusers that all checkpoints keep."""
    widths, heads = settings[LEVELS], settings["attention_head_dim"]
    heads = heads if isinstance(heads, list) else [heads] * len(widths)
    for width, count, block in zip(widths, heads, settings["down_block_types"], strict=True):
        if block.startswith("CrossAttn"):
            yield from _of_heads("attention_head_dim", count, LEVELS, width)


def _of_heads(key: str, count: int, widths: str, width: int) -> Iterator[str]:
    usual = _read()["heads"]
    if width % count:
        yield f"{key} must divide {widths}, got {count} for {width}"
    elif width >= usual["from"] and count * usual["wide"] != width:
        yield f"{key} must be {width / usual['wide']:g} for {widths} of {width}{ALIKE}, got {count}"


def _clip_problems(class_name: str, settings: Settings) -> Iterator[str]:
    yield from _of_heads("num_attention_heads", settings["num_attention_heads"], "hidden_size", settings["hidden_size"])
    usual, said = _read()["hidden_act"], settings["hidden_act"]
    if settings["hidden_size"] >= usual["from"] and said != usual[class_name]:
        yield f"hidden_act must be {usual[class_name]} for hidden_size of {settings['hidden_size']}{ALIKE}, got {said}"
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if (settings.get(key) or 0) >= settings["vocab_size"]:
            yield f"{key} must be below vocab_size, {settings['vocab_size']}, got {settings[key]}"


def _scheduler_needs(class_name: str | None) -> list[str]:
    """What must be there, of what a class takes; of one that is not known here, what says how the model was trained."""
    if class_name in samplers.known()["classes"]:
        takes = samplers.known()["classes"][class_name]["takes"]
        return [key for key in _read()["scheduler_needs"] if key in takes]
    return [] if (class_name or "").startswith(NOISE_LEVELS) else _read()["scheduler_needs"][:4]


@functools.cache
def _scheduler() -> dict[str, Spec]:
    said = {name: {"is": kind} for name, kind in samplers.known()["options"].items() if isinstance(kind, list)}
    said |= {name: {"switch": True} for name, kind in samplers.known()["options"].items() if kind == "switch"}
    return {name: spec | {"null": True} for name, spec in said.items()} | _read()["scheduler"]


@functools.cache
def _read() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
