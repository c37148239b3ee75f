"""Memory that the parts of a pipeline take while they run, and how a picture's request decides it.

Consumes sizes of components, a `Request` and costs.yaml; produces GB (1e9 bytes). Measures nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from stages.ir.anatomy import FP16, INT8, INT8_WEIGHTS
from stages.machine import description
from stages.machine.costs import costs
from stages.machine.sizes import Size, Sizes

FLOAT_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
SHARE = 0.9  # of a machine's memory that one job may plan with: the system wants some
UNPACKED_BYTES = 4
TILE_PX, OVERLAP_PX = 512, 128  # half of what SDXL was trained on: smaller tiles shift tones


@dataclass(frozen=True)
class Request:
    """What drawing asks of the parts: the side in pixels of a square as large as the picture, the UNet's batch, how
    floats are computed, and whether pictures are decoded in tiles."""

    size_px: float
    batch: int
    floats: str  # f32, bf16 or f16
    tiles: bool = False

    @property
    def pixels(self) -> int:
        return round(self.size_px**2)


def request(sampler: Any, device: Any) -> Request:
    """Guidance doubles the UNet's batch (but see `batch_of`)."""
    whole = Request(side_px(sampler), 2 if sampler.guidance > 1 else 1, floats(device))
    short = decoding_gb(whole) > SHARE * description.memory_gb()
    return replace(whole, tiles=device.decode == "tiles" or (device.decode == "auto" and short))


def side_px(sampler: Any) -> float:
    """Side of a square with as many pixels as the pictures have: what memory and time go by."""
    return math.sqrt(sampler.width * sampler.height)


def batch_of(unet: Size, asked: Request) -> int:
    return 1 if unet.embeds_guidance else asked.batch


def floats(device: Any) -> str:
    """The precision that OpenVINO computes floats in: as the settings say, else the processor's fastest."""
    if device.inference_precision != "default":
        return device.inference_precision
    return "bf16" if device.name == "CPU" and description.widest("bf16") else "f32" if device.name == "CPU" else "f16"


def part_gb(part: str, size: Size, asked: Request, stored: str = FP16) -> float:
    """GB that one compiled part takes while it runs: its weights as they are laid out, and room to work."""
    billions, wide = size.parameters / 1e9, FLOAT_BYTES[asked.floats]
    batch = batch_of(size, asked) if part == "unet" else 1
    pixels = min(asked.pixels, TILE_PX**2) if asked.tiles and part == "vae_decoder" else asked.pixels
    working = costs()["working_gb"][part] * pixels / 1e6 * batch * wide
    if part != "unet" or stored == FP16:
        return billions * wide + working
    if stored == INT8:
        return billions * costs()["int8_gb"] + working
    convolution = size.convolution / 1e9
    return billions + convolution * (UNPACKED_BYTES + wide - 1) + working


def parts_gb(sizes: Sizes, asked: Request, stored: str = FP16) -> dict[str, float]:
    """GB of every part of a pipeline; the VAE's two halves apart."""
    found = {}
    for folder, size in sizes.items():
        for part in ("vae_decoder", "vae_encoder") if folder == "vae" else (folder,):
            half = replace(size, parameters=size.parameters // 2) if folder == "vae" else size
            found[part] = part_gb(part, half, asked, stored)
    return found


def decoding_gb(asked: Request) -> float:
    """GB of a process that decodes one picture, but for the VAE's weights, which are small."""
    return costs()["process_gb"] + part_gb("vae_decoder", Size(0, 0), asked)


def in_turn_gb(sizes: Sizes, asked: Request, stored: str = FP16) -> float:
    """GB of a process that draws with one part in memory at a time."""
    return costs()["process_gb"] + max(parts_gb(sizes, asked, stored).values())


def together_gb(sizes: Sizes, asked: Request, stored: str = FP16) -> float:
    """GB of a process that draws with all parts in memory."""
    return costs()["process_gb"] + sum(parts_gb(sizes, asked, stored).values())


def room_gb() -> float:
    """GB for compiled parts in this process: what is free now, but for a reserve."""
    return max(0.0, SHARE * description.available_memory_gb() - costs()["process_gb"] / 2)


def recording_unet(choice: str, sizes: Sizes, asked: Request) -> str:
    """The UNet that calibration inputs are recorded with: `auto` is FP16 where this machine's memory holds it."""
    if choice != "auto":
        return choice
    return FP16 if in_turn_gb(sizes, asked) <= SHARE * description.memory_gb() else INT8_WEIGHTS
