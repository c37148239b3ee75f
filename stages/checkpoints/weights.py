"""Weights that may be trusted: safetensors that are whole and hold finite floating-point numbers, also in float16.

Consumes a folder or a file; produces the files of a component, or an error that names file and tensor. Numbers are
streamed past, a piece at a time; no framework is imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import components, streaming
from stages.checkpoints.streaming import Entry

if TYPE_CHECKING:
    import numpy as np

POSITIONS = "position_ids"  # whole numbers that old text encoders carry along
PIECE_BYTES = 2**25
INDEX = "safetensors.index.json"
HALF = 65504  # the largest number of float16


@dataclass(frozen=True)
class Bits:
    """How floats of one type lie in memory. Without their sign, their bits are ordered as whole numbers are."""

    unsigned: str
    infinite: int  # the bits of infinity; those of NaN are above
    beyond_half: int  # of the first number that is infinite once it is rounded to float16


FORMATS = {
    "F16": Bits("<u2", 0x7C00, 0x7C00),
    "BF16": Bits("<u2", 0x7F80, 0x4780),
    "F32": Bits("<u4", 0x7F80_0000, 0x477F_F000),
    "F64": Bits("<u8", 0x7FF0_0000_0000_0000, 0x40EF_FE00_0000_0000),
}


def check_weights(folder: Path, halved: bool = True) -> None:
    """Refuse safetensors that cannot be read, are no floats or hold a NaN or an infinity, naming file and tensor.

    `halved`: they will be float16, in which a number beyond +-65504 is infinite too.
    """
    for index in sorted(folder.rglob(f"*.{INDEX}")):
        shards(index)
    for path in sorted(folder.rglob("*.safetensors")):
        check_types(path, streaming.read_header(path)[0])
        check_file(path, halved)


def check_types(path: Path, entries: dict[str, Entry]) -> None:
    for name, entry in entries.items():
        if not name.endswith(POSITIONS):
            check_type(path, name, entry)


def check_type(path: Path, name: str, entry: Entry) -> None:
    if entry.dtype not in FORMATS:
        raise ValueError(
            f"{path}: tensor {name} is of type {entry.dtype}: weights must be float16, bfloat16 or float32, as "
            f"they were before somebody quantized them"
        )


def check_file(path: Path, halved: bool = False) -> None:
    """Refuse a file with a NaN or an infinity, or, where it will be `halved`, with a number beyond float16."""
    entries, _ = streaming.read_header(path)
    with path.open("rb") as file:
        for name, entry in entries.items():
            if entry.dtype in FORMATS:
                _check_tensor(f"{path}: tensor {name}", entry, FORMATS[entry.dtype], halved, file)


def component_files(folder: Path, stem: str) -> list[Path]:
    """The safetensors of one component: one file, or the shards of its index; ValueError where it has both."""
    single, index = folder / f"{stem}.safetensors", folder / f"{stem}.{INDEX}"
    if single.exists() and index.exists():
        raise ValueError(f"{folder} holds {single.name} and {index.name}: only one of them can be meant")
    return shards(index) if index.exists() else [single]


def shards(index: Path) -> list[Path]:
    """The files beside an index that hold its tensors, each of them where the index says, and no others."""
    content = components.read_json(index)
    where = content.get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise ValueError(f"{index}: weight_map must hold the name of a file for every tensor")
    files = [_shard(index, name) for name in sorted(set(where.values()))]
    if not isinstance(content.get("metadata"), dict):
        raise ValueError(f"{index}: metadata must be an object, as libraries that load shards ask for it")
    found: dict[str, str] = {}
    for path in files:
        for tensor in streaming.read_header(path)[0]:
            if where.get(tensor) != path.name or tensor in found:
                raise ValueError(f"{index}: tensor {tensor} is in {path.name}, which its weight_map does not say")
            found[tensor] = path.name
    if missing := sorted(where.keys() - found.keys()):
        raise ValueError(f"{index}: tensor {missing[0]} should be in {where[missing[0]]}, which does not hold it")
    return files


def _shard(index: Path, name: str) -> Path:
    if set(name) & set("/\\:\0") or not name.endswith(".safetensors"):
        raise ValueError(f"{index} names {name!r}, which is refused: only safetensors beside it are allowed")
    if not (index.parent / name).is_file():
        raise ValueError(f"{index} names {name!r}, which is not a file beside it")
    return index.parent / name


def _check_tensor(where: str, entry: Entry, bits: Bits, halved: bool, file: Any) -> None:
    largest = max((int(piece.max()) for piece in _magnitudes(entry, bits, file)), default=0)
    if largest >= bits.infinite:
        raise ValueError(f"{where} holds NaN or infinite values")
    if halved and largest >= bits.beyond_half:
        raise ValueError(f"{where} holds numbers beyond float16, +-{HALF}: in it they would be infinite")


def _magnitudes(entry: Entry, bits: Bits, file: Any) -> Iterable[np.ndarray]:
    """The bits of a tensor without their signs, in pieces."""
    import numpy as np

    kind = np.dtype(bits.unsigned)
    mask = kind.type(2 ** (8 * kind.itemsize - 1) - 1)
    file.seek(entry.begin)
    left = entry.size_bytes // kind.itemsize
    while left:
        piece = np.fromfile(file, kind, min(left, PIECE_BYTES // kind.itemsize))
        left -= len(piece)
        yield np.bitwise_and(piece, mask, out=piece)
