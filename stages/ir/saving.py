"""A converted model written to disk without its weights ever being in memory all at once.

OpenVINO's own writer reads every constant of the model in one go: weights that lie in a memory-mapped checkpoint
become resident, all 5 GB of SDXL's UNet. Here large constants are replaced by empty stand-ins, which the writer stores
once for all of one size; then the file of weights is laid out anew with the true ones, each given back to the system
before the next. Produces the very bytes that `openvino.save_model` writes. Knows nothing of what the model computes.
"""

from __future__ import annotations

import ctypes
import html
import mmap
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

LARGE = 2**20  # bytes
FLOATS = ("f16", "f32")  # written as float16
BYTES = ("i8", "u8")  # written as they are
PIECE = 2**24
PAGE_OUT = 21  # MADV_PAGEOUT: give the pages back; they are read again from their file when touched
CONSTANT = re.compile(r'<layer id="\d+" name="([^"]*)" type="Const"[^>]*>\s*<data [^>]*?offset="(\d+)" size="(\d+)"')


def save(model: Any, target: Path) -> None:
    """Write `target`, an .xml path, and the .bin beside it, floats in float16; `model` cannot be used afterwards."""
    import openvino as ov

    weights = _set_aside(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, target, compress_to_fp16=True)
    if weights:
        _lay_out(target, weights)


def _set_aside(model: Any) -> dict[str, np.ndarray]:
    """The model's large constants by name, floats and bytes; stand-ins of all zeros take their places."""
    from openvino import opset13 as ops

    operations = model.get_ordered_ops()
    names = Counter(operation.get_friendly_name() for operation in operations)
    large = [operation for operation in operations if _is_large(operation)]
    nothing = _nothing(max((operation.get_byte_size() for operation in large), default=0))
    weights: dict[str, np.ndarray] = {}
    for operation in large:
        name, data = operation.get_friendly_name(), operation.data
        if names[name] > 1:  # the writer would choose one
            continue
        empty = np.frombuffer(nothing, dtype=data.dtype, count=data.size).reshape(data.shape)
        stand_in = ops.constant(empty, shared_memory=True)
        stand_in.set_friendly_name(name)
        stand_in.output(0).get_tensor().set_names(operation.output(0).get_tensor().get_names())
        operation.output(0).replace(stand_in.output(0))
        weights[name] = data
    return weights


def _is_large(operation: Any) -> bool:
    if operation.get_type_name() != "Constant" or operation.get_byte_size() < LARGE:
        return False
    return operation.get_element_type().get_type_name() in FLOATS + BYTES


def _nothing(size: int) -> mmap.mmap:
    """Zeros that take no memory, as nobody writes them."""
    memory = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def _lay_out(target: Path, weights: dict[str, np.ndarray]) -> None:
    """Write the .bin anew in the order of the graph's constants, as OpenVINO does, and their offsets into the .xml."""
    graph, old = target.read_text(encoding="utf-8"), target.with_suffix(".bin")
    new = old.with_suffix(".partial")
    left, pieces, end = dict(weights), [], 0
    moved: dict[tuple[int, int], int] = {}  # small constants: equal ones are stored once
    with old.open("rb") as source, new.open("wb") as file:
        for found in CONSTANT.finditer(graph):
            name, place = html.unescape(found[1]), (int(found[2]), int(found[3]))
            weight = left.pop(name, None)
            if weight is None:  # a float32 constant is renamed when it is compressed
                weight = left.pop(name.removesuffix("_compressed"), None)
            if weight is None and place in moved:
                offset = moved[place]
            else:
                offset = file.tell()
                if weight is None:
                    moved[place] = offset
                    _copy_bytes(source, *place, file)
                else:
                    _copy_weight(weight, file)
                assert file.tell() - offset == place[1], f"{name} has another size than the graph says"
            pieces += [graph[end : found.start(2)], str(offset)]
            end = found.end(2)
    assert not left, f"the graph has no constant named {next(iter(left))}"
    new.replace(old)
    target.write_text("".join([*pieces, graph[end:]]), encoding="utf-8")


def _copy_bytes(source: Any, offset: int, size: int, file: Any) -> None:
    source.seek(offset)
    file.write(source.read(size))


def _copy_weight(array: np.ndarray, file: Any) -> None:
    content = array.reshape(-1)
    dtype = np.float16 if content.dtype.kind == "f" else content.dtype
    for start in range(0, len(content), PIECE):
        piece = content[start : start + PIECE]
        file.write(np.ascontiguousarray(piece, dtype=dtype).data)
        _release(piece)


def _release(piece: np.ndarray) -> None:
    """Give mapped pages back; only whole ones, and only on Linux: elsewhere the system takes them when it must."""
    if sys.platform != "linux":
        return
    first = -(-piece.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (piece.ctypes.data + piece.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), PAGE_OUT)
