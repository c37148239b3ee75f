"""How strongly a LoRA's layer counts: alpha / rank, out of a tensor or of the metadata that diffusers' savers write.

Consumes a file's metadata, and a layer's name, rank and alpha tensor; produces a factor. Opens no file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from stages.checkpoints import lora_names, strict_json

KEY = "lora_adapter_metadata"  # a peft LoraConfig as JSON, its keys prefixed by component: "unet.lora_alpha"
TYPES = {"rank_pattern": dict, "alpha_pattern": dict, "use_rslora": bool, "use_dora": bool}
OTHER_BASES = ("pissa", "olora", "loftq", "corda")  # initializations that change the weights which are adapted


def read_config(path: Path, metadata: dict[str, str], component: str) -> dict[str, Any]:
    """The peft configuration of one component, {} where the file has none."""
    if KEY not in metadata:
        return {}
    try:
        whole = strict_json.parse(metadata[KEY])
    except ValueError as error:
        raise ValueError(f"{path}: its metadata {KEY} is not valid JSON: {error}") from error
    prefix = f"{component}."
    config = {name.removeprefix(prefix): value for name, value in whole.items() if name.startswith(prefix)}
    if not config and component == "unet":  # as a model saves its own adapter, outside of a pipeline
        config = {name: value for name, value in whole.items() if "." not in name}
    _check_config(path, config)
    return config


def scaling(path: Path, layer: str, rank: int, alpha: float | None, config: dict[str, Any]) -> float:
    """alpha / rank, with rank for alpha where the file says nothing.

    kohya's ss_network_alpha is never asked: that trainer writes alpha tensors, and its own loader and all others take
    the rank where there are none. Tools that resize or merge files leave it behind as it was.
    """
    if alpha is not None:
        if not alpha > 0:
            raise ValueError(f"{path}: the alpha of layer {layer} must be > 0, got {alpha:g}")
        return alpha / rank
    if not config:
        return 1.0
    said = _of_layer(path, config.get("rank_pattern"), layer, config.get("r", rank))
    if said != rank:
        raise ValueError(f"{path}: layer {layer} has rank {rank}, {said} in its metadata {KEY}")
    alpha = _of_layer(path, config.get("alpha_pattern"), layer, config.get("lora_alpha", rank))
    if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not 0 < alpha < float("inf"):
        raise ValueError(f"{path}: the alpha of layer {layer} must be a number > 0, got {alpha!r} in {KEY}")
    return alpha / (rank**0.5 if config.get("use_rslora") else rank)


def _check_config(path: Path, config: dict[str, Any]) -> None:
    for key, kind in TYPES.items():
        if not isinstance(config.get(key), kind | None):
            said = "true or false" if kind is bool else "an object"
            raise ValueError(f"{path}: {key} in its metadata {KEY} must be {said}, got {config[key]!r}")
    if config.get("use_dora"):
        raise ValueError(f"{path} is DoRA, as its metadata says (use_dora), which is not supported")
    if str(config.get("init_lora_weights")).startswith(OTHER_BASES):
        kind = config["init_lora_weights"]
        raise ValueError(f"{path} adapts weights that {kind} has changed, as its metadata says (init_lora_weights)")


def _of_layer(path: Path, patterns: dict[str, Any] | None, layer: str, default: Any) -> Any:
    """The value of the first pattern, a regular expression for the end of a name, as peft's get_pattern_key has it."""
    _, local = lora_names.locate(layer)
    for pattern, value in (patterns or {}).items():
        try:
            found = re.match(rf"(.*\.)?({pattern})$", local)
        except re.error as error:
            raise ValueError(f"{path}: {pattern!r} in its metadata {KEY} is no pattern: {error}") from error
        if found:
            return value
    return default
