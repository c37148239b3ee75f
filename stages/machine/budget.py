"""What a stage will need of this machine (memory, disk, seconds), foretold before it starts.

Consumes sizes of components and what a picture asks of them; corrected by what the same stage took here before
(stages.machine.usage). Refuses what cannot work, with the reason. Measures nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.files import disk
from stages.machine import description
from stages.machine.costs import costs
from stages.machine.memory import (
    FLOAT_BYTES,
    INT8,
    INT8_WEIGHTS,
    SHARE,
    UNPACKED_BYTES,
    Request,
    batch_of,
    in_turn_gb,
    part_gb,
)
from stages.machine.sizes import Size, Sizes, total
from stages.machine.speed import statistics_s, step_s
from stages.settings.schema import LATENT_PX

if TYPE_CHECKING:
    from stages.settings.schema import Quantization


@dataclass(frozen=True)
class Need:
    """GB of memory and of disk (1e9 bytes), and seconds; None where they depend on something outside.

    `takes_more`: the memory is the least that it works with; it takes what is there to load parts less often.
    """

    memory_gb: float
    disk_gb: float
    seconds: float | None
    takes_more: bool = False

    def __add__(self, other: Need) -> Need:
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        return Need(max(self.memory_gb, other.memory_gb), self.disk_gb + other.disk_gb, seconds)


def download(sizes: Sizes, kind: str) -> Need:
    billions, known = total(sizes) / 1e9, costs()
    seconds = {"synthetic": known["process_s"] + known["synthetic_s"] * billions, "local": known["process_s"]}
    return Need(known["process_gb"], 2 * billions, seconds.get(kind))


def export(sizes: Sizes) -> Need:
    billions, known = total(sizes) / 1e9, costs()
    memory = known["process_gb"] + UNPACKED_BYTES * known["export_share"] * sizes["unet"].convolution / 1e9
    return Need(memory, 2 * billions, known["process_s"] + known["export_s"] * billions)


@dataclass(frozen=True)
class Drafts:
    """How often UNets are evaluated for a calibration, as they are stored and as a drafter in INT8: the model's `own`,
    a row of it beside those (`finished`), and a refiner's base's; how many inputs are `kept`, and of how many of them
    the extremes of what layers were given (`told`)."""

    own: tuple[int, int]
    kept: int
    told: int = 0
    finished: tuple[int, int] = (0, 0)
    of_base: tuple[int, int] = (0, 0)


def calibrate(sizes: Sizes, asked: Request, unet: str, drafts: Drafts, base: Sizes | None = None) -> Need:
    """`unet`: how it is stored that drafts first; `base`: of what a refiner works with, which draws before it."""
    known, seconds, told = costs(), 0.0, bool(drafts.told)
    own = _drafting_s(sizes["unet"], asked, unet, drafts.own, told)
    own += _drafting_s(sizes["unet"], replace(asked, batch=1), unet, drafts.finished, told)
    drawing = [(sizes, own)]
    if base is not None:
        drawing.insert(0, (base, _drafting_s(base["unet"], asked, unet, drafts.of_base, told=False)))
    memory = max(in_turn_gb(one, asked, unet) for one, _ in drawing)
    if told and batch_of(sizes["unet"], asked) == 1:  # extremes take what a second row would
        memory += known["working_gb"]["unet"] * asked.pixels / 1e6 * FLOAT_BYTES[asked.floats]
    for one, evaluating in drawing:
        billions = one["unet"].parameters / 1e9
        preparing = known["load_s"] + (known["compress_s"] if unet == INT8_WEIGHTS else 0.0)
        seconds += billions * preparing + evaluating
    billions = sum(one["unet"].parameters for one, _ in drawing) / 1e9
    disk_gb = billions if unet == INT8_WEIGHTS else 0.0
    disk_gb += drafts.kept * sample_gb(sizes, asked)
    disk_gb += drafts.told * known["extremes_gb"] * sizes["unet"].parameters / 1e9
    making = [_drafter(one["unet"], asked) for one, _ in drawing] if drafts.own[1] else []
    return replace(sum(making, Need(memory, disk_gb, known["process_s"] + seconds)), takes_more=True)


def _drafter(size: Size, asked: Request) -> Need:
    """To make one: its weights stand on the disk beside it; how near it stays is seen at two inputs."""
    billions, known = size.parameters / 1e9, costs()
    seconds = known["process_s"] + billions * (known["compress_s"] + known["insert_s"] + 2 * known["load_s"])
    memory = known["process_gb"] + known["compress_gb"] * billions
    return Need(memory, 2 * billions, seconds + 2 * step_s(size, asked, INT8))


def _drafting_s(size: Size, asked: Request, unet: str, evaluations: tuple[int, int], told: bool) -> float:
    """Of evaluations in float and by a drafter, which finds scales on the way."""
    step, (floats, ints) = statistics_s if told else step_s, evaluations
    finding = (costs()["drafter_share"] - 1) * step_s(size, asked, INT8)
    return floats * step(size, asked, unet) + ints * (step(size, asked, INT8) + finding)


def latents_gb(asked: Request) -> float:
    """Of one picture, in float32."""
    return 4 * asked.pixels / LATENT_PX**2 * 4 / 1e9


def sample_gb(sizes: Sizes, asked: Request) -> float:
    """Of one input of the UNet, in float32."""
    return batch_of(sizes["unet"], asked) * (math.prod(sizes["unet"].text) * 4 / 1e9 + latents_gb(asked))


def compress(sizes: Sizes) -> Need:
    """Weights alone, without data."""
    billions, known = sizes["unet"].parameters / 1e9, costs()
    seconds = known["process_s"] + known["compress_s"] * billions
    return Need(known["process_gb"] + known["compress_gb"] * billions, 2 * billions, seconds)


def quantize(sizes: Sizes, asked: Request, samples: int, settings: Quantization, told: int = 0) -> Need:
    """Weights first, then ranges of one row of `samples` inputs each, but for those `told` already, with float
    convolutions, and the search's questions in float32; the notebooks' scheme takes all at once. `asked`: what ranges
    are computed for, and in."""
    unet, known, ranging = sizes["unet"], costs(), replace(asked, batch=1)
    billions = unet.parameters / 1e9
    linear, wide = unet.parameters - unet.convolution, FLOAT_BYTES[asked.floats]
    memory = known["process_gb"] + (linear + wide * unet.convolution) / 1e9 + part_gb("unet", Size(0, 0), ranging)
    if settings.scheme == "notebook":
        memory, ranging = known["process_gb"] + known["notebook_gb"] * billions, replace(asked, floats="f32")
        told = 0  # NNCF asks for them itself
    seconds = billions * (known["compress_s"] + known["insert_s"])
    seconds += max(0, samples - told) * statistics_s(unet, ranging)
    if settings.search is not None:
        crops = Request(known["search_px"], known["search_points"], "f32")
        questions = known["search_questions"] * known["search_share"]
        seconds += min(60 * settings.search.minutes, questions * step_s(unet, crops))
    if settings.rounding == "gptq":
        seconds += known["round_s"] * billions
        moments = min(known["moments_gb"], known["round_gb"] * 4 * billions)
        memory = max(memory, known["process_gb"] + known["round_gb"] * billions + moments)
    copies = 1 if settings.search is None else 2  # one of them until the search is done
    return Need(memory, 2 * copies * billions, known["process_s"] + seconds)


def benchmark(sizes: Sizes, asked: Request, stored: tuple[str, ...], seconds: float, kept_gb: float = 0.0) -> Need:
    """`seconds`: of what is to be drawn and measured, as stages.measurement.extent plans it; `kept_gb`: what of it is
    kept on disk until all is done."""
    memory = min(in_turn_gb(sizes, asked, one) for one in stored)
    return Need(memory, 0.05 + kept_gb, costs()["process_s"] + seconds, takes_more=True)


def require(need: Need, what: str, folder: Path) -> None:
    """ValueError if this machine cannot do it: the key figure, what is there, and a way out."""
    free, whole = description.available_memory_gb(), description.memory_gb()
    if need.memory_gb > free:
        way = (
            "close other programs"
            if need.memory_gb <= SHARE * whole
            else "`make plan` shows which models and settings fit (sampler.width, calibration.unet=int8-weights)"
        )
        free_of = f"{free:.1f} of this machine's {whole:.1f} GB are free"
        raise ValueError(f"{what} needs {need.memory_gb:.1f} GB of memory, {free_of}: {way}")
    disk.require_space(folder, round(need.disk_gb * 1e9))
