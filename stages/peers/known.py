"""The peers: what each is, how it loads, and what memory it will want.

Consumes their modules; produces one table that everything else goes by. A peer more is an entry more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from stages.files.layout import FP16
from stages.ir import anatomy
from stages.machine import memory, sizes
from stages.peers import on_genai, on_openvino, on_sdcpp, on_torch
from stages.peers.on_openvino import FULL, HYBRID
from stages.peers.work import Draw, Painter, Work

if TYPE_CHECKING:
    from stages.settings.schema import Prompts

OURS, INT8, TORCH, RUNTIME = "ours", "INT8", "PyTorch", "our IR"  # kinds: what a row is compared as
OWN, QUANTIZED, REFERENCE = "fp16", "int8", "reference"  # ours; the reference is a row of no table
COPIES = 2  # of a UNet whose weights are frozen into compiled code


@dataclass(frozen=True)
class Peer:
    """`gb`: forecast of the process that draws with it. `same_noise`: whether it starts from the latents of all.

    `make`: what it draws with, once, out of prompts and so many samples; seconds that it took, where they are known.
    """

    kind: str
    about: Callable[[], str]
    load: Callable[[Work], Draw]
    gb: Callable[[Work], float]
    same_noise: bool = True
    make: Callable[[Work, Prompts, int], float | None] | None = None


def _of_ir(precision: str, work: Work) -> float:
    folder = work.ir(precision)
    return memory.together_gb(sizes.of_ir(folder), memory.request(work.sampler, work.device), anatomy.stored(folder))


def _in_floats(floats: str, copies: int, work: Work) -> float:
    asked = replace(memory.request(work.sampler, work.device), floats=floats, tiles=False)
    found = sizes.of_ir(work.ir(FP16))
    unet = found["unet"].parameters * memory.FLOAT_BYTES[floats] / 1e9
    return memory.together_gb(found, asked) + (copies - 1) * unet


def _of_int8(work: Work) -> float:
    return memory.together_gb(sizes.of_ir(work.ir(FP16)), memory.request(work.sampler, work.device), anatomy.INT8)


def _compiled(work: Work) -> Draw:
    return on_torch.load(on_torch.fastest_floats(), True, work)


def _compiled_gb(work: Work) -> float:
    return _in_floats({"bfloat16": "bf16", "float32": "f32"}[on_torch.fastest_floats()], COPIES, work)


def _ours_int8(work: Work) -> Draw:
    return on_openvino.ours(work.quantized, work)


def _ours_int8_gb(work: Work) -> float:
    return _of_ir(work.quantized, work)


def _diffusers(floats: str, short: str) -> Peer:
    about = f"diffusers on PyTorch, {floats}"
    return Peer(TORCH, lambda: about, partial(on_torch.load, floats, False), partial(_in_floats, short, 1))


PEERS = {
    OWN: Peer(OURS, lambda: "our FP16 IR, optimum-intel", partial(on_openvino.ours, FP16), partial(_of_ir, FP16)),
    QUANTIZED: Peer(OURS, lambda: "our quantized IR, optimum-intel", _ours_int8, _ours_int8_gb),
    "torch-f32": _diffusers("float32", "f32"),
    "torch-bf16": _diffusers("bfloat16", "bf16"),
    "torch-compile": Peer(
        TORCH,
        lambda: f"torch.compile of UNet and decoder, {on_torch.fastest_floats()}, weights frozen",
        _compiled,
        _compiled_gb,
    ),
    FULL: Peer(
        INT8,
        lambda: "optimum-intel --quant-mode int8 (static, SmoothQuant; other parts INT8 weights), on our prompts",
        partial(on_openvino.theirs, FULL),
        _of_int8,
        make=partial(on_openvino.make, FULL),
    ),
    HYBRID: Peer(
        INT8,
        lambda: "optimum-intel hybrid (INT8 weights, static convolutions; other parts INT8 weights), on our prompts",
        partial(on_openvino.theirs, HYBRID),
        _of_int8,
        make=partial(on_openvino.make, HYBRID),
    ),
    "genai": Peer(RUNTIME, lambda: "openvino.genai on our quantized IR", on_genai.load, _ours_int8_gb),
    on_sdcpp.NAME: Peer(
        INT8,
        lambda: "stable-diffusion.cpp, weights in q8_0; noise of its own",
        on_sdcpp.load,
        _of_int8,
        same_noise=False,
        make=lambda work, _prompts, _samples: on_sdcpp.make(work),
    ),
}
NAMES = [name for name, peer in PEERS.items() if peer.kind != OURS]


def painter(name: str, work: Work) -> Painter:
    """For the process that draws."""
    return Painter(on_openvino.reference if name == REFERENCE else PEERS[name].load, work)


def chosen(words: list[str]) -> list[str]:
    """Peers by name, all of them without; ValueError that says which there are."""
    for word in words:
        if word not in NAMES:
            raise ValueError(f"peer {word!r} is not known; there are {', '.join(NAMES)}")
    return list(dict.fromkeys(words)) or NAMES


def gb(name: str, work: Work) -> float:
    if name != REFERENCE:
        return PEERS[name].gb(work)
    return _in_floats("f32", 1, work)
