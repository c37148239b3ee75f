"""UNet inputs collected while a model drafts prompts with its own scheduler, guidance and sizes; nothing is decoded.

Consumes IR folders (a refiner: its base's too) and prompts; produces one shard per prompt. What has a shard already is
not drawn again, so that a killed run goes on with the same result. Who drafts them is an engine's to say; texts are
encoded here. Which timesteps are drawn is stages.calibration.drafts'; which inputs are kept of those is chosen evenly
here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.calibration import drafts, shards
from stages.engines.engine import LOCAL, Engine
from stages.files import pieces
from stages.generation import drawing, recording
from stages.generation.at_work import PipelineWork
from stages.generation.residency import Room
from stages.ir import extremes, finite, runtime
from stages.machine import memory
from stages.prompts import sets
from stages.prompts.sets import Prompt

if TYPE_CHECKING:
    from stages.settings.schema import Sampler, Settings

FIRST_SEED = 1_000_000  # away from the benchmark's: no image is drawn from a noise that was calibrated on


def collect(
    settings: Settings,
    folders: dict[str, Path],
    chosen: list[Prompt],
    target: Path,
    room_gb: float,
    engine: Engine = LOCAL,
) -> int:
    """Write the shards that `target` lacks, in the order of the prompts; returns how many of all prompts the tokenizer
    cuts short, the negative one among them.

    `folders`: {"ir": the model's own}, and of a refiner {"base": its base's}; `room_gb`: for compiled parts.
    """
    missing = [number for number in range(len(chosen)) if not _is_there(shards.shard_path(target, number))]
    prompts = {number: chosen[number] for number in missing}
    starts = {}
    if "base" in folders and missing:
        base = Starting(settings, folders["base"], settings.model.base, len(chosen), room_gb)
        found = engine.map(base, encoded(base, prompts, {}), "base latents", "prompt")
        starts = dict(zip(missing, found, strict=True))
        base.let_go()
    work = Recording(settings, folders["ir"], settings.model_key, len(chosen), room_gb)
    if "base" in folders:
        work.task = "two-stage"
    items = encoded(work, prompts, starts)
    tokenizer = work.loaded()[0].tokenizer_2
    for number, samples in zip(missing, engine.map(work, items, "calibrate", "prompt"), strict=True):
        path = shards.shard_path(target, number)
        if any(one.extremes for one in samples):
            shards.save_extremes(path, [one.extremes for one in samples])
            pieces.note(shards.beside(path))  # before the shard, which says that both are there
        shards.save_shard(path, [one.inputs for one in samples], {"prompt": chosen[number].id})
        pieces.note(path)
    engine.rest()
    cut = sets.truncated(chosen, drawing.negative_of(work.sampler), tokenizer)
    return len(cut["prompts"]) + cut["negative_prompt"]


def _is_there(path: Path) -> bool:
    """A shard, and what was saved beside it before."""
    beside = shards.beside(path)
    return pieces.is_there(path) and (not beside.exists() or pieces.is_there(beside))


@dataclass(frozen=True)
class Item:
    """The n-th prompt, encoded by the pipeline that is to draw it; of a refiner, what its base hands over."""

    number: int
    prompt: Prompt
    encoded: drawing.Encoded
    start: Any


class Drafting(PipelineWork):
    """Prompts drafted by one pipeline, one of `count` at a time; `model` is who draws them, in errors."""

    def __init__(self, settings: Settings, folder: Path, model: str, count: int, room_gb: float) -> None:
        super().__init__(folder, memory.largest(_samplers(settings)), settings.device, room_gb)
        self.settings, self.model, self.count = settings, model, count

    def let_go(self) -> None:
        """Of everything that is compiled here."""
        self.loaded()[1].clear()

    def do(self, loaded: tuple[Any, Room], item: Item) -> Any:
        with finite.of(f"{self.model}, prompt {item.prompt.id!r}"):
            return self.draft(loaded[0], item)

    def draft(self, pipeline: Any, item: Item) -> Any:
        raise NotImplementedError


class Starting(Drafting):
    """A base's unfinished latents, at the refiner's first timestep."""

    def draft(self, pipeline: Any, item: Item) -> Any:
        return _start(pipeline, self.settings, item.encoded, item.number)


@dataclass(frozen=True)
class Sample:
    """Inputs of the UNet, and the extremes of what its layers were given with them, if it was evaluated and asked."""

    inputs: runtime.Inputs
    extremes: runtime.Inputs | None


class Recording(Drafting):
    """The chosen inputs of the UNet that is quantized."""

    def load(self) -> Any:
        pipeline, room = super().load()
        if _told(self.settings):
            pipeline.unet.model = extremes.beside(pipeline.unet.model)
        return pipeline, room

    def draft(self, pipeline: Any, item: Item) -> list[Sample]:
        return _record_prompt(pipeline, self.settings, item.encoded, (item.number, self.count), item.start)


def encoded(work: Drafting, prompts: dict[int, Prompt], starts: dict[int, Any]) -> list[Item]:
    """The prompts with their embeddings, which are all made here, before the UNet is loaded anywhere."""
    with finite.of(work.model):
        texts = drawing.encode_ahead(work.loaded()[0], [prompt.text for prompt in prompts.values()], work.sampler)
    pairs = zip(prompts.items(), texts, strict=True)
    return [Item(number, prompt, found, starts.get(number)) for (number, prompt), found in pairs]


def choose_steps(total: int, count: int, turn: int, turns: int, seed: int = 0) -> list[int]:
    """`count` of `total` steps, one in each of `count` equal stretches; `turns` prompts sweep their stretch evenly.

    >>> [choose_steps(8, 2, turn, 4) for turn in range(4)]
    [[2, 6], [0, 4], [1, 5], [3, 7]]
    """
    count = min(count, total)
    order = np.random.default_rng(seed).permutation(turns)
    place = (order[turn] + 0.5) / turns  # of this prompt within each stretch
    return [int((stretch + place) * total / count) for stretch in range(count)]


def _samplers(settings: Settings) -> list[Sampler]:
    return memory.at_sizes(settings.model.sampler, settings.calibration.sizes)


def _sampler(settings: Settings, number: int) -> Sampler:
    """The n-th prompt's: neighbours share a size, as OpenVINO prepares for one shape at a time."""
    samplers = _samplers(settings)
    return samplers[number * len(samplers) // drafts.prompts(settings.calibration, settings.model)]


def _record_prompt(
    pipeline: Any, settings: Settings, encoded: drawing.Encoded, turn: tuple[int, int], start: Any
) -> list[Sample]:
    """The chosen inputs of one prompt, the n-th of so many. Inputs of all its steps are held for a moment."""
    samples = _drafted(pipeline, settings, encoded, turn[0], start)
    count, seed = settings.calibration.steps_per_prompt, settings.calibration.seed
    return [samples[step] for step in choose_steps(len(samples), count, *turn, seed=seed)]


def _drafted(pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int, start: Any) -> list[Sample]:
    """All inputs of the n-th prompt's draft."""
    sampler, seed, calibration = _sampler(settings, number), _seed(settings, number), settings.calibration
    if start is not None:
        return _refined(pipeline, settings, encoded, number, start)
    draft = drafts.draft(pipeline.scheduler, sampler, calibration, number)
    how: Any = {"output": "latent", "steps": draft.steps, "timesteps": draft.timesteps}
    return _recorded(pipeline, settings, encoded, sampler, draft.inputs, seed=seed, **how)


def _refined(pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int, start: Any) -> list[Sample]:
    """A refiner's inputs at all of its own steps, from where its base's draft hands over."""
    sampler, planned = _sampler(settings, number), _planned(pipeline, settings, number)
    how: Any = {"output": "latent", "image": start, "denoising_start": sampler.high_noise_fraction}
    how |= {"timesteps": planned.timesteps} if planned else {}
    return _recorded(
        pipeline, settings, encoded, sampler, drafts.own_part(sampler), seed=_seed(settings, number), **how
    )


def _recorded(
    pipeline: Any, settings: Settings, encoded: drawing.Encoded, sampler: Sampler, inputs: int, **how: Any
) -> list[Sample]:
    """So many inputs of a drawing, which ends with the last one."""
    beside: list[runtime.Inputs | None] | None = [] if _told(settings) else None
    with recording.recording(pipeline, lambda step: True, inputs - 1, beside) as samples:
        drawing.generate(pipeline, encoded, sampler, **how)
    return [Sample(*pair) for pair in zip(samples, beside or [None] * len(samples), strict=True)]


def _start(pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int) -> Any:
    """A draft's latents as the base hands them over, at the refiner's first timestep."""
    sampler = _sampler(settings, number)
    how: Any = {"output": "latent", "denoising_end": sampler.high_noise_fraction}
    if planned := _planned(pipeline, settings, number):
        how |= {"steps": planned.steps, "timesteps": planned.timesteps}
    return drawing.generate(pipeline, encoded, sampler, _seed(settings, number), **how)


def _planned(pipeline: Any, settings: Settings, number: int) -> drafts.Draft | None:
    return drafts.two_stage(pipeline.scheduler, _sampler(settings, number), settings.calibration, number)


def _told(settings: Settings) -> bool:
    return drafts.told(settings.calibration, settings.model, settings.device) > 0


def _seed(settings: Settings, number: int) -> int:
    return FIRST_SEED * (settings.calibration.seed + 1) + number
