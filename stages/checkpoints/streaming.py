"""Safetensors by name: what a file holds, without its numbers, and a file written tensor by tensor.

Consumes headers, and tensors as they come; produces the same bytes as safetensors' own writer, which wants all tensors
in memory at once. Changes no number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from stages.checkpoints import mistaken, strict_json

FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
INTEGER_BYTES = {"I64": 8, "U64": 8, "I32": 4, "U32": 4, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1}
ITEM_BYTES = FLOAT_BYTES | INTEGER_BYTES
OTHER_BYTES = {"C64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1, "F8_E4M3FNUZ": 1, "F8_E5M2FNUZ": 1}
LENGTH_BYTES = 8
LONGEST_HEADER = 100_000_000  # bytes, safetensors' own limit
METADATA = "__metadata__"


@dataclass(frozen=True)
class Entry:
    """One tensor of a file: its type as safetensors calls it (F16, BF16, I64), its shape, and where its bytes begin."""

    dtype: str
    shape: tuple[int, ...]
    begin: int | None = field(default=None, compare=False)

    @property
    def size_bytes(self) -> int:
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


def read_header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    """The tensors of a file by name, and its metadata; reads no tensor.

    ValueError, naming the file, unless the header describes every byte of the file once and in order: whatever reads
    its tensors later finds them. FileNotFoundError where it is missing.
    """
    mistaken.require_file(path)
    try:
        with path.open("rb") as file:
            header, left = _read_json(file, path.stat().st_size)
        metadata = header.pop(METADATA, {})
        if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
            raise ValueError(f"its {METADATA} must hold texts by name")
        return _entries(header, path.stat().st_size - left, left), metadata
    except (ValueError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _read_json(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header, and how many bytes follow it."""
    start = file.read(mistaken.START_BYTES)
    if other := mistaken.instead(start):
        raise ValueError(other)
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if len(start) < LENGTH_BYTES or length > min(size - LENGTH_BYTES, LONGEST_HEADER):
        raise ValueError(f"it has {size} bytes, its header alone should have {length}")
    file.seek(LENGTH_BYTES)
    try:
        return strict_json.parse(file.read(length)), size - LENGTH_BYTES - length
    except ValueError as error:
        raise ValueError(f"its header is no JSON object that says what it holds: {error}") from error


def _entries(header: dict[str, Any], start: int, size: int) -> dict[str, Entry]:
    """Tensors that lie one after the other from `start` and fill `size` bytes."""
    spans = {name: _span(name, tensor) for name, tensor in header.items()}
    end = 0
    for name, (first, last) in sorted(spans.items(), key=lambda item: item[1]):
        if first != end:
            raise ValueError(f"tensor {name} begins at byte {first} of the tensors instead of {end}")
        end = last
    if end != size:
        raise ValueError(f"its tensors should have {end} bytes, {size} are there")
    tensors = {name: (header[name]["dtype"], tuple(header[name]["shape"])) for name in header}
    return {name: Entry(*tensors[name], begin=start + spans[name][0]) for name in tensors}


def _span(name: str, tensor: Any) -> tuple[int, int]:
    """First byte and end of a tensor; ValueError unless its type and shape ask for as many."""
    if not isinstance(tensor, dict) or not isinstance(tensor.get("dtype"), str):
        raise ValueError(f"tensor {name} has no type")
    shape, offsets = tensor.get("shape"), tensor.get("data_offsets")
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise ValueError(f"tensor {name} has no shape, or no place in the file")
    item = (ITEM_BYTES | OTHER_BYTES).get(tensor["dtype"])
    if item is not None and offsets[1] - offsets[0] != math.prod(shape) * item:
        raise ValueError(
            f"tensor {name} is {tensor['dtype']} {shape}, for which it has {offsets[1] - offsets[0]} bytes"
        )
    return offsets[0], max(offsets)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and value >= 0 for value in values)


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
    header: dict[str, Any] = {METADATA: {"format": "pt"}}
    end = 0
    for name, entry in entries.items():
        start, end = end, end + entry.size_bytes
        header[name] = {"dtype": entry.dtype, "shape": entry.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text
