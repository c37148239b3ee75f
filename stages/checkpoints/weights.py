"""Weights that may be trusted: safetensors that are whole and hold finite floating-point numbers.

Consumes a folder or a file; produces nothing but an error that names file and tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from stages.checkpoints import components, streaming
from stages.files import manifest

POSITIONS = "position_ids"  # whole numbers that old text encoders carry along


def check_weights(folder: Path) -> None:
    """Refuse safetensors that cannot be read or hold a NaN or an infinity, naming file and tensor."""
    _check_shards(folder)
    for path in sorted(folder.rglob("*.safetensors")):
        _check_types(path)
        check_file(path)


def _check_types(path: Path) -> None:
    for name, entry in streaming.read_header(path)[0].items():
        if entry.dtype not in streaming.FLOAT_BYTES and not name.endswith(POSITIONS):
            raise ValueError(
                f"{path}: tensor {name} is of type {entry.dtype}: weights must be float16, bfloat16 or float32, as "
                f"they were before somebody quantized them"
            )


def check_file(path: Path) -> None:
    for name, finite in _finite_tensors(path):
        if not finite:
            raise ValueError(f"{path}: tensor {name} holds NaN or infinite values")


def _check_shards(folder: Path) -> None:
    for path in folder.rglob("*.safetensors.index.json"):
        for name in sorted(set(components.read_json(path).get("weight_map", {}).values())):
            if "/" in manifest.safe_name(name) or not (path.parent / name).is_file():
                raise ValueError(f"{path} names {name!r}, which is not a file beside it")


def _finite_tensors(path: Path) -> Iterator[tuple[str, bool]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            bfloat = any(file.get_slice(name).get_dtype() == "BF16" for name in names)
        framework, isfinite = _torch_isfinite() if bfloat else _numpy_isfinite()
        with safe_open(path, framework=framework) as file:
            for name in names:
                yield name, bool(isfinite(file.get_tensor(name)).all())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _numpy_isfinite() -> tuple[str, Callable]:
    import numpy as np

    return "np", np.isfinite


def _torch_isfinite() -> tuple[str, Callable]:
    """numpy has no bfloat16; torch takes seconds to import, so it is used for that alone."""
    import torch

    return "pt", torch.isfinite
