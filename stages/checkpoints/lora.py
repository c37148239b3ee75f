"""LoRAs fused into a checkpoint: W + scale * (alpha / rank) * B A for every layer that an adapter names.

Consumes a plain diffusers folder and adapters' safetensors; rewrites the components that they touch in float16,
without any trace of the adapters. Tensors are read, added to and written one at a time: no model is loaded. What an
adapter's file may hold, lora_file.py knows.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from stages.checkpoints import components, lora_file, lora_names, streaming
from stages.checkpoints.lora_file import Delta, Target
from stages.checkpoints.streaming import Entry
from stages.files import disk

COMPONENTS = ("unet", "text_encoder", "text_encoder_2")


def fuse(checkpoint: Path, adapters: list[tuple[Path, float]]) -> None:
    """Add every adapter, times its scale, to the weights in `checkpoint`, in float32 and in the order given.

    All adapters are read and checked before anything is written; ValueError names the file and what is wrong in it.
    """
    folders = {name: checkpoint / name for name in COMPONENTS if (checkpoint / name / "config.json").is_file()}
    targets = {name: _target(name, folder) for name, folder in folders.items()}
    changes: dict[str, dict[str, list[Delta]]] = {}
    for path, scale in adapters:
        for delta in lora_file.read(path, scale, targets):
            changes.setdefault(delta.component, {}).setdefault(delta.tensor, []).append(delta)
    for name, deltas in changes.items():
        _rewrite(folders[name], components.STEMS[name], targets[name], deltas)


def _target(name: str, folder: Path) -> Target:
    entries: dict[str, Entry] = {}
    files: dict[str, Path] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for tensor, entry in streaming.read_header(path)[0].items():
            if tensor in files:
                raise ValueError(f"{tensor} is in {files[tensor]} and in {path}: weights in one variant are wanted")
            if entry.dtype not in streaming.ITEM_BYTES:
                raise ValueError(f"{path}: {tensor} is of type {entry.dtype}, which cannot be added to")
            entries[tensor], files[tensor] = entry, path
    modules = dict.fromkeys(tensor.rpartition(".")[0] for tensor in entries)
    return Target(entries, files, lora_names.aliases(name, modules, components.read_json(folder / "config.json")))


def _rewrite(folder: Path, stem: str, target: Target, deltas: dict[str, list[Delta]]) -> None:
    """One float16 file in the place of the component's files, which stay until it is whole."""
    after = {tensor: _rewritten(entry) for tensor, entry in target.entries.items()}
    disk.require_space(folder, sum(entry.size_bytes for entry in after.values()))
    fused = folder / f"{stem}.safetensors"
    with ExitStack() as stack:
        opened = _open({*target.files.values(), *(delta.path for own in deltas.values() for delta in own)}, stack)

        def value(tensor: str) -> Any:
            weight = opened[target.files[tensor]].get_tensor(tensor)
            if not weight.is_floating_point():
                return weight
            return _added(f"{folder}: {tensor}", weight, deltas.get(tensor, []), opened)

        streaming.write(fused, after, value)
    for old in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
        if old != fused:
            old.unlink()


def _rewritten(entry: Entry) -> Entry:
    """Float16; integers, such as the numbers of positions, stay as they are."""
    return Entry("F16", entry.shape) if entry.dtype in streaming.FLOAT_BYTES else entry


def _open(paths: set[Path], stack: ExitStack) -> dict[Path, Any]:
    from safetensors import safe_open

    return {path: stack.enter_context(safe_open(path, framework="pt")) for path in paths}


def _added(where: str, weight: Any, deltas: list[Delta], opened: dict[Path, Any]) -> Any:
    """The weight in float16 after all deltas, each computed and added in float32."""
    import torch

    for delta in deltas:
        weight = _product(delta, opened[delta.path]).reshape(weight.shape).add_(weight)  # in place: tensors are large
    weight = weight.half()
    if weight.numel() and not all(map(torch.isfinite, torch.aminmax(weight))):  # far quicker than isfinite
        after = "".join(f" + {delta.path}" for delta in deltas)
        raise ValueError(f"{where}{after} leaves the range of float16, +-65504: a smaller scale is wanted")
    return weight


def _product(delta: Delta, file: Any) -> Any:
    """scale * B A: up is [out, r], down [r, in] or [r, in, kernel]; mid, where there is one, has the kernel instead."""
    import torch

    tensors = [file.get_tensor(name).float() for name in delta.factors]
    *others, product = (tensor.reshape(lora_file.plain(tensor.shape)) for tensor in tensors)
    if len(others) == 2:
        product = torch.einsum("rs...,si...->ri...", others[1], product)
    if others:
        product = others[0] @ product.flatten(1)
    return product * delta.scale
