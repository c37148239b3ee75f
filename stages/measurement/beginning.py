"""A base's part in its refiner's pictures, drawn ahead by the workers of a cluster, into what a benchmark keeps.

Consumes an engine, the base's IR and prompts; produces half-finished latents of every prompt, finished ones with their
pictures of the first, under the names that stages.measurement.tasks looks for, without a time. The first few of each
are left to this machine, alone, to be timed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.engines.engine import Engine
from stages.generation import drawing
from stages.generation.at_work import PipelineWork
from stages.generation.residency import Room
from stages.ir import finite
from stages.measurement import tasks
from stages.measurement.kept import Kept

if TYPE_CHECKING:
    from stages.prompts.sets import Prompt
    from stages.settings.schema import Device, Sampler


@dataclass(frozen=True)
class Item:
    """A prompt to draw to where the refiner takes over, or to the end."""

    prompt: Prompt
    seed: int
    finished: bool


@dataclass(frozen=True)
class Begun:
    """`latents` (1, 4, h, w); of finished ones the `picture` too."""

    latents: np.ndarray
    steps: int
    picture: np.ndarray | None


class Base(PipelineWork):
    """The base's pipeline, with its refiner's settings; `model` names it in errors."""

    def __init__(self, folder: Path, model: str, sampler: Sampler, steps: int, device: Device, room_gb: float) -> None:
        super().__init__(folder, sampler, device, room_gb)
        self.model, self.steps = model, steps

    def do(self, loaded: tuple[Any, Room], item: Item) -> Begun:
        pipeline, _ = loaded
        how = {} if item.finished else {"denoising_end": self.sampler.high_noise_fraction}
        with finite.of(f"{self.model}, prompt {item.prompt.id!r}"):
            given = pipeline, item.prompt.text, self.sampler, item.seed
            latents = drawing.generate(*given, steps=self.steps, output="latent", **how)
        steps = drawing.executed_steps(pipeline)
        picture = np.asarray(drawing.decode(pipeline, latents)) if item.finished else None
        return Begun(latents.numpy(), steps, picture)


def draw(engine: Engine, work: Base, kept: Kept, prompts: list[Prompt], seed: int, finished: int) -> None:
    """What is not timed and not kept already; the n-th prompt with `seed` + n, the first `finished` to the end too."""
    items = [item for item in _items(prompts, seed, finished) if not _is_there(kept, item)]
    for item, found in zip(items, engine.map(work, items, work.model, "start"), strict=True):
        facts = {"steps": found.steps, "seconds": None}
        kept.put(tasks.begun_name(_kind(item), item.seed), {tasks.LATENTS: found.latents}, facts)
        if found.picture is not None:
            kept.put(tasks.begun_name("picture", item.seed), {tasks.PICTURE: found.picture}, {"seconds": None})
    engine.rest()  # what follows is timed here


def _items(prompts: list[Prompt], seed: int, finished: int) -> Iterator[Item]:
    for whole, count in ((False, len(prompts)), (True, finished)):
        for number in range(tasks.TIMED, count):
            yield Item(prompts[number], seed + number, whole)


def _is_there(kept: Kept, item: Item) -> bool:
    """With its picture, if it has one: that is kept last."""
    return kept.has(tasks.begun_name("picture" if item.finished else "half", item.seed))


def _kind(item: Item) -> str:
    return "finished" if item.finished else "half"
