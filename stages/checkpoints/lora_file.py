"""A LoRA's file read against a checkpoint: what it adds to which tensor, before a number is computed.

Consumes a safetensors file and the names and shapes of the checkpoint's tensors; produces a `Delta` for every tensor
that it changes. A file is used whole or refused: no tensor of it is left out. Changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import lora_names, lora_scaling, weights
from stages.checkpoints.streaming import INTEGER_BYTES, Entry, read_header

DTYPES = ("F32", "F16", "BF16")


@dataclass(frozen=True)
class Target:
    """What a file is read against: a component's tensors, where they are, and its modules by all names for them."""

    entries: dict[str, Entry]
    files: dict[str, Path]
    aliases: dict[str, str]


@dataclass(frozen=True)
class Delta:
    """What is added to one tensor: `scale` times the product of `factors`, tensors of the file `path`."""

    component: str
    tensor: str
    path: Path
    factors: tuple[str, ...]  # up and down, or up, mid and down, or a difference alone
    scale: float


@dataclass(frozen=True)
class _Layer:
    name: str  # as the file has it
    component: str
    module: str
    parts: dict[str, str]  # tensors by their part


def read(path: Path, scale: float, targets: dict[str, Target]) -> list[Delta]:
    """Everything that the file adds, times `scale`; ValueError, naming file and tensor, for what cannot be added."""
    entries, metadata = read_header(path)
    _check_kind(path, entries)
    layers = _layers(path, entries, targets)
    _check_dtypes(path, entries)
    for layer in layers:
        _check_pair(path, layer)
        _check_shapes(path, layer, entries, targets[layer.component].entries)
    weights.check_file(path)
    scalings = _scalings(path, layers, entries, metadata)
    return [
        Delta(layer.component, f"{layer.module}.{kind}", path, factors, scale * by)
        for layer, scaling in zip(layers, scalings, strict=True)
        for kind, factors, by in _additions(layer.parts, scaling)
    ]


def _additions(parts: dict[str, str], scaling: float) -> Iterator[tuple[str, tuple[str, ...], float]]:
    """What a layer's tensors are added to, weight or bias, which of them are multiplied, and by what in the end."""
    if "down" in parts:
        yield "weight", tuple(parts[part] for part in ("up", "mid", "down") if part in parts), scaling
    if "diff" in parts:
        yield "weight", (parts["diff"],), 1.0
    if "diff_b" in parts:
        yield "bias", (parts["diff_b"],), 1.0


def _check_kind(path: Path, entries: dict[str, Entry]) -> None:
    for tensor in entries:
        if kind := lora_names.unsupported(tensor):
            raise ValueError(f"{path}: {tensor} belongs to {kind}, which is not supported: only LoRA and LoCon are")
    unknown = [tensor for tensor in entries if lora_names.split(tensor) is None]
    if len(unknown) == len(entries):
        raise ValueError(f"{path} holds no LoRA: {f'its first tensor is {unknown[0]}' if unknown else 'it is empty'}")
    if unknown:
        raise ValueError(f"{path}: {unknown[0]} is no tensor of a LoRA, and a file is used whole or not at all")


def _check_dtypes(path: Path, entries: dict[str, Entry]) -> None:
    for tensor, entry in entries.items():
        # kohya's trainer writes an alpha that was left to its default as an integer.
        integer_alpha = lora_names.split(tensor)[1] == "alpha" and entry.dtype in INTEGER_BYTES.keys() - {"BOOL"}
        if entry.dtype not in DTYPES and not integer_alpha:
            raise ValueError(f"{path}: {tensor} is of type {entry.dtype}, allowed: {', '.join(DTYPES)}")


def _layers(path: Path, entries: dict[str, Entry], targets: dict[str, Target]) -> list[_Layer]:
    """The file's tensors by layer of the checkpoint, in the order of the file."""
    found: dict[tuple[str, str], _Layer] = {}
    for tensor in entries:
        name, part = lora_names.split(tensor)
        component, module = _module(path, name, targets)
        layer = found.setdefault((component, module), _Layer(name, component, module, {}))
        if part in layer.parts:
            raise ValueError(f"{path}: {layer.parts[part]} and {tensor} are two names for one thing")
        layer.parts[part] = tensor
    return list(found.values())


def _module(path: Path, layer: str, targets: dict[str, Target]) -> tuple[str, str]:
    """The component, and the module in it, that a layer adapts."""
    component, local = lora_names.locate(layer)
    if layer.startswith("lora_te_"):
        raise ValueError(f"{path}: layer {layer} is of the one text encoder of Stable Diffusion 1 or 2, not of SDXL")
    if component not in targets:
        raise ValueError(f"{path}: layer {layer} is of the {component}, which this checkpoint lacks")
    if local not in targets[component].aliases:
        reason = "the file adapts another architecture"
        raise ValueError(f"{path}: layer {layer} is not in this checkpoint's {component}: {reason}")
    return component, targets[component].aliases[local]


def _check_pair(path: Path, layer: _Layer) -> None:
    for part, needed in (("down", "up"), ("up", "down"), ("mid", "down"), ("alpha", "down")):
        if part in layer.parts and needed not in layer.parts:
            raise ValueError(f"{path}: {layer.parts[part]} is there without its {needed} matrix")


def _check_shapes(path: Path, layer: _Layer, entries: dict[str, Entry], wanted: dict[str, Entry]) -> None:
    for kind, factors, _ in _additions(layer.parts, 1.0):
        if f"{layer.module}.{kind}" not in wanted:
            raise ValueError(f"{path}: layer {layer.name} has no {kind} in this checkpoint's {layer.component}")
        shapes = [entries[factor].shape for factor in factors]
        target = wanted[f"{layer.module}.{kind}"].shape
        if _product(*map(plain, shapes)) != plain(target):
            has = ", ".join(f"{factor} {list(shape)}" for factor, shape in zip(factors, shapes, strict=True))
            raise ValueError(f"{path}: {has} do not fit the checkpoint's {layer.module}.{kind} {list(target)}")


def _product(*shapes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of up [out, r] times down [r, in, kernel], or of up, mid [r, r, kernel] and down; None without one."""
    *others, made = shapes
    for left in reversed(others):
        if len(left) < 2 or 0 in left or left[1:2] != made[:1] or (left[2:] and made[2:]):
            return None
        made = left[:1] + made[1:2] + left[2:] + made[2:]
    return made if not others or len(others[0]) == 2 else None


def plain(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without a kernel that has one place: a 1x1 convolution is a linear layer."""
    return shape[:2] if set(shape[2:]) <= {1} else shape


def _scalings(path: Path, layers: list[_Layer], entries: dict[str, Entry], metadata: dict[str, str]) -> list[float]:
    """alpha / rank of every layer; 1 for a layer without matrices."""
    from safetensors import safe_open

    configs = {name: lora_scaling.read_config(path, metadata, name) for name in {layer.component for layer in layers}}
    scalings = []
    with safe_open(path, framework="pt") as file:
        for layer in layers:
            if "down" not in layer.parts:
                scalings.append(1.0)
                continue
            rank = entries[layer.parts["down"]].shape[0]
            alpha = _number(path, layer.parts["alpha"], file) if "alpha" in layer.parts else None
            scalings.append(lora_scaling.scaling(path, layer.name, rank, alpha, configs[layer.component]))
    return scalings


def _number(path: Path, tensor: str, file: Any) -> float:
    value = file.get_tensor(tensor)
    if value.numel() != 1:
        raise ValueError(f"{path}: {tensor} must be one number, it is {list(value.shape)}")
    return value.item()
