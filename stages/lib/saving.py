"""A converted model written to disk without its weights ever being in memory all at once.

OpenVINO's own writer reads every constant of the model in one go: weights that lie in a memory-mapped checkpoint
become resident, all 5 GB of SDXL's UNet. Here large constants are replaced by empty stand-ins before the graph is
written, and then copied into their places one after the other, each given back to the system before the next.
Produces the very bytes that `openvino.save_model` writes. Knows nothing of what the model computes.
"""

from __future__ import annotations

import ctypes
import mmap
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np

LARGE = 2**20  # bytes
FLOATS = ("f16", "f32")
PIECE = 2**24
TAG = 2  # numbers at the beginning of a stand-in that tell it from others, exact in float16
BASE = 1024
HEAD = 64  # bytes that are looked at: the tag, then nothing
PAGE_OUT = 21  # MADV_PAGEOUT: give the pages back; they are read again from their file when touched


def save(model: Any, target: Path) -> None:
    """Write `target`, an .xml path, and the .bin beside it, floats in float16; `model` cannot be used afterwards."""
    import openvino as ov

    weights = _set_aside(model)
    target.parent.mkdir(parents=True, exist_ok=True)
    ov.save_model(model, target, compress_to_fp16=True)
    _fill(target, weights)


def _set_aside(model: Any) -> list[Any]:
    """The model's large constants as arrays, in the order of their tags; stand-ins take their places."""
    from openvino import opset13 as ops

    weights: list[Any] = []
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Constant" or operation.get_byte_size() < LARGE:
            continue
        if operation.get_element_type().get_type_name() not in FLOATS:
            continue
        weights.append(operation.data)
        stand_in = ops.constant(_nothing(operation.data, len(weights) - 1), shared_memory=True)
        stand_in.set_friendly_name(operation.get_friendly_name())
        stand_in.output(0).get_tensor().set_names(operation.output(0).get_tensor().get_names())
        operation.output(0).replace(stand_in.output(0))
    return weights


def _nothing(like: np.ndarray, number: int) -> np.ndarray:
    """An array of that shape and type which takes one page of memory: a tag, then zeros that nobody wrote."""
    memory = mmap.mmap(-1, like.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    array = np.frombuffer(memory, dtype=like.dtype)
    array[:TAG] = 1 + number // BASE, 1 + number % BASE
    return array.reshape(like.shape)


def _fill(target: Path, weights: list[Any]) -> None:
    """Copy the weights to where their stand-ins came to lie."""
    written = set()
    with target.with_suffix(".bin").open("r+b") as file:
        for _, element in ElementTree.iterparse(target):
            if element.tag != "data" or element.get("element_type") != "f16":
                continue
            file.seek(int(element.get("offset")))
            number = _number(file.read(HEAD))
            if number < len(weights) and int(element.get("size")) == 2 * weights[number].size:
                file.seek(int(element.get("offset")))
                _copy(weights[number], file)
                written.add(number)
    assert len(written) == len(weights), "a stand-in was not found where the graph says it is"


def _number(head: bytes) -> int:
    """The number in a stand-in's tag; of anything else, one that is too large."""
    values = np.frombuffer(head[: len(head) // 2 * 2], np.float16).astype(np.float64)
    if len(values) < HEAD // 2 or values[TAG:].any() or (values[:TAG] < 1).any() or (values % 1).any():
        return sys.maxsize
    return int((values[0] - 1) * BASE + values[1] - 1)


def _copy(array: np.ndarray, file: Any) -> None:
    content = array.reshape(-1)
    for start in range(0, len(content), PIECE):
        piece = content[start : start + PIECE]
        file.write(np.ascontiguousarray(piece, dtype=np.float16).data)
        _release(piece)


def _release(piece: np.ndarray) -> None:
    """Give mapped pages back; only whole ones, and only on Linux: elsewhere the system takes them when it must."""
    if sys.platform != "linux":
        return
    first = -(-piece.ctypes.data // mmap.PAGESIZE) * mmap.PAGESIZE
    length = (piece.ctypes.data + piece.nbytes - first) // mmap.PAGESIZE * mmap.PAGESIZE
    if length > 0:
        ctypes.CDLL(None).madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), PAGE_OUT)
