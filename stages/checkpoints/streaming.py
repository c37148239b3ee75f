"""Safetensors by name: what a file holds, without its numbers, and a file written tensor by tensor.

Consumes headers, and tensors as they come; produces the same bytes as safetensors' own writer, which wants all tensors
in memory at once. Changes no number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
INTEGER_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
ITEM_BYTES = FLOAT_BYTES | INTEGER_BYTES


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type as safetensors calls it (F16, BF16, I64), and its shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors of a file by name, and its metadata; reads no tensor."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}
            entries = {name: Entry(slice_.get_dtype(), tuple(slice_.get_shape())) for name, slice_ in slices.items()}
            return entries, file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def write(path: Path, entries: dict[str, Entry], tensor: Callable[[str], Any]) -> None:
    """Write a file of `entries`, asking `tensor` for each of them in turn; whole under its name, or not at all."""
    # The order of safetensors' own writer: wide types first, so that all are aligned, and by name.
    order = sorted(entries, key=lambda name: (-ITEM_BYTES[entries[name].dtype], name))
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(_header({name: entries[name] for name in order}))
            for name in order:
                values = tensor(name).contiguous().numpy()
                assert values.nbytes == entries[name].size_bytes, f"{name} is not what the header says"
                file.write(values.data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _header(entries: dict[str, Entry]) -> bytes:
    """8 bytes of length, then JSON, padded so that tensors begin at whole words."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in entries.items():
        start, end = end, end + entry.size_bytes
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
