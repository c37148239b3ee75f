"""Seconds that comparing speeds takes on this machine, foretold: pictures of all of them in turns, each warmed up.

Consumes a sampler, ways to draw, sizes of components and settings; produces seconds. Measures nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.generation import pacing
from stages.machine import speed as speeds_of
from stages.machine.costs import costs
from stages.machine.memory import FP16, INT8, Request
from stages.measurement.paces import WARM_STEPS
from stages.settings import speeds
from stages.settings.schema import TIMESTEPS
from stages.settings.speeds import Way

if TYPE_CHECKING:
    from stages.machine.sizes import Size, Sizes
    from stages.settings.schema import Benchmark, Sampler, Speed

SHALLOW = 0.17  # of a whole evaluation: what the outer part of mini-SDXL's UNet takes (proofs/README.md)
DECODERS = {"fp16": 1.0, "int8": 0.65, "tiny": 0.03}  # of the VAE's time: VegaRT at true size (proofs/README.md)


def foretold(
    own: Sampler, ways: list[Way], found: Sizes, asked: Request, settings: Benchmark, stored: str = INT8
) -> float:
    """Of FP16 as it is and every way of the quantized IR, `exact` first, as stages.measurement.paces draws them.

    0 where nothing is spared.
    """
    if len(ways) < 2:
        return 0.0
    unet = found["unet"]
    drawn = [(ways[0].speed, FP16), *((way.speed, stored) for way in ways)]
    pictures = [picture_s(own, one, unet, asked, kind) for one, kind in drawn]
    short = [warm_up_s(own, one, unet, asked, kind) for one, kind in drawn]
    first = [
        picture if speeds.spares(one) else warm for picture, warm, (one, _) in zip(pictures, short, drawn, strict=True)
    ]
    count = settings.prompts
    if settings.minutes is not None:
        count = min(count, max(1, int(60 * settings.minutes / sum(pictures))))
    ready = costs()["load_s"] * unet.parameters / 1e9 * len(drawn)
    return ready + sum(first) + (count - 1) * sum(short) + count * sum(pictures)


def picture_s(own: Sampler, speed: Speed, unet: Size, asked: Request, stored: str) -> float:
    """Of one picture: as much of every step as is evaluated, and decoding."""
    steps, spared = speeds.sampler(own, speed).steps, speeds.within(own, speed)
    ways = [pacing.step(spared, number, steps, TIMESTEPS * (1 - number / steps)) for number in range(steps)]
    each = speeds_of.step_s(unet, asked, stored)
    return each * sum(_share(way, asked.batch) for way in ways) + _decode_s(speed, asked)


def warm_up_s(own: Sampler, speed: Speed, unet: Size, asked: Request, stored: str) -> float:
    steps = min(WARM_STEPS, speeds.sampler(own, speed).steps)
    return steps * speeds_of.step_s(unet, asked, stored) + _decode_s(speed, asked)


def _share(way: pacing.Step, rows: int) -> float:
    """Of a whole evaluation, one row in place of two where the step is drawn without guidance."""
    share = {pacing.WHOLE: 1.0, pacing.SHALLOW: SHALLOW, pacing.FORECAST: 0.0}[way.way]
    return share if way.guided else share / rows


def _decode_s(speed: Speed, asked: Request) -> float:
    return DECODERS[speed.decoder] * speeds_of.decode_s(asked)
