"""UNet inputs collected while a model drafts prompts with its own scheduler, guidance and sizes; nothing is decoded.

Consumes IR folders (a refiner: its base's too) and prompts; produces one shard per prompt. What has a shard already is
not drawn again, so that a killed run goes on with the same result. Who drafts them is an engine's to say; texts are
encoded here. Which timesteps are drawn is stages.calibration.drafts'; which inputs are kept of those is chosen evenly
here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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


@dataclass(frozen=True)
class Turn:
    """Of several, in each of which other pipelines draft: the prompts' numbers; `seen`: a folder for what this turn's
    UNets are given and answer, by part; `taps`: the operations of this turn's UNet whose extremes are taken, by the
    names that they go by."""

    numbers: range
    seen: Path | None = None
    taps: dict[str, str] | None = None


def collect(
    settings: Settings,
    folders: dict[str, Path],
    chosen: list[Prompt],
    target: Path,
    room_gb: float,
    engine: Engine = LOCAL,
    turn: Turn | None = None,
) -> int:
    """Write the shards that `target` lacks, in the order of the prompts, or of those of a turn; returns how many of all
    prompts the tokenizer cuts short, the negative one among them.

    `folders`: {"ir": the model's own}, and of a refiner {"base": its base's}; `room_gb`: for compiled parts.
    """
    turn = turn or Turn(range(len(chosen)))
    prompts = {number: chosen[number] for number in turn.numbers if not _is_there(target, number, turn, folders)}
    starts = {}
    if "base" in folders and prompts:
        base = Starting(settings, folders["base"], settings.model.base, len(chosen), room_gb)
        base.watched = turn.seen is not None
        for item, found in _done(base, encoded(base, prompts, {}), engine, "base latents"):
            starts[item.number], samples = found
            _keep_seen(turn, "base", item.number, samples)
        base.let_go()
    work = Recording(settings, folders["ir"], settings.model_key, len(chosen), room_gb)
    work.taps = turn.taps
    if "base" in folders:
        work.task = "two-stage"
    for item, samples in _done(work, encoded(work, prompts, starts), engine, "calibrate"):
        _keep_seen(turn, "ir", item.number, samples)
        _save(shards.shard_path(target, item.number), samples, item.prompt)
    engine.rest()
    work.let_go()  # what is done in another turn, or in between, is not to stand beside it
    cut = sets.truncated(chosen, drawing.negative_of(work.sampler), work.loaded()[0].tokenizer_2)
    return len(cut["prompts"]) + cut["negative_prompt"]


def _done(work: Drafting, items: list[Item], engine: Engine, what: str) -> Iterator[tuple[Item, Any]]:
    return zip(items, engine.map(work, items, what, "prompt"), strict=True)


def _save(path: Path, samples: list[Sample], prompt: Prompt) -> None:
    """The shard, and before it what is beside it: where it is, that is too."""
    if any(one.extremes for one in samples):
        shards.save_extremes(path, [one.extremes for one in samples])
        pieces.note(shards.beside(path))
    shards.save_shard(path, [one.inputs for one in samples], {"prompt": prompt.id})
    pieces.note(path)


def _keep_seen(turn: Turn, part: str, number: int, samples: list[Sample]) -> None:
    """Of a part's UNet, what it was evaluated at."""
    if turn.seen is not None:
        path = shards.shard_path(turn.seen / part, number)
        known = [(one.inputs, one.extremes, one.answer) for one in samples if one.extremes and one.answer is not None]
        shards.save_seen(path, *map(list, zip(*known, strict=True)))
        pieces.note(path)


def _is_there(target: Path, number: int, turn: Turn, parts: Iterable[str]) -> bool:
    """A prompt's shard, and what was saved beside it and seen on the way before."""
    path = shards.shard_path(target, number)
    seen = [shards.shard_path(turn.seen / part, number) for part in parts] if turn.seen is not None else []
    whole = not shards.beside(path).exists() or pieces.is_there(shards.beside(path))
    return pieces.is_there(path) and whole and all(map(pieces.is_there, seen))


@dataclass(frozen=True)
class Item:
    """The n-th prompt, encoded by the pipeline that is to draw it; of a refiner, what its base hands over."""

    number: int
    prompt: Prompt
    encoded: drawing.Encoded
    start: Any


class Drafting(PipelineWork):
    """Prompts drafted by one pipeline, one of `count` at a time; `model` is who draws them, in errors; `watched`:
    extremes are taken of what its UNet's layers are given, or of the operations `taps`."""

    def __init__(self, settings: Settings, folder: Path, model: str, count: int, room_gb: float) -> None:
        super().__init__(folder, memory.largest(_samplers(settings)), settings.device, room_gb)
        self.settings, self.model, self.count = settings, model, count
        self.watched, self.taps = _told(settings), None

    def load(self) -> tuple[Any, Room]:
        pipeline, room = super().load()
        if self.watched:
            pipeline.unet.model = extremes.beside(pipeline.unet.model, self.taps)
        return pipeline, room

    def let_go(self) -> None:
        """Of everything that is compiled here."""
        self.loaded()[1].clear()

    def do(self, loaded: tuple[Any, Room], item: Item) -> Any:
        with finite.of(f"{self.model}, prompt {item.prompt.id!r}"):
            return self.draft(loaded[0], item)

    def draft(self, pipeline: Any, item: Item) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Sample:
    """Inputs of the UNet, and if it was evaluated and asked, the extremes of what its layers were given with them, and
    what it answered."""

    inputs: runtime.Inputs
    extremes: runtime.Inputs | None
    answer: np.ndarray | None


class Starting(Drafting):
    """A base's unfinished latents, at the refiner's first timestep, and what its UNet was given on the way."""

    def draft(self, pipeline: Any, item: Item) -> tuple[Any, list[Sample]]:
        if not self.watched:
            return _start(pipeline, self.settings, item.encoded, item.number), []
        with _recorded(pipeline, self.watched) as samples:
            latents = _start(pipeline, self.settings, item.encoded, item.number)
        return latents, samples


class Recording(Drafting):
    """The chosen inputs of the UNet that is quantized, or of one that stands in for it."""

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
    if start is not None:
        return _refined(pipeline, settings, encoded, number, start)
    draft = drafts.draft(pipeline.scheduler, _sampler(settings, number), settings.calibration, number)
    how: Any = {"output": "latent", "steps": draft.steps, "timesteps": draft.timesteps}
    return _drawn(pipeline, settings, encoded, number, draft.inputs, **how)


def _refined(pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int, start: Any) -> list[Sample]:
    """A refiner's inputs at all of its own steps, from where its base's draft hands over."""
    sampler, planned = _sampler(settings, number), _planned(pipeline, settings, number)
    how: Any = {"output": "latent", "image": start, "denoising_start": sampler.high_noise_fraction}
    how |= {"timesteps": planned.timesteps} if planned else {}
    return _drawn(pipeline, settings, encoded, number, drafts.own_part(sampler), **how)


def _drawn(
    pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int, inputs: int, **how: Any
) -> list[Sample]:
    """So many inputs of the n-th prompt's drawing, which ends with the last one."""
    sampler, how = _sampler(settings, number), {"seed": _seed(settings, number)} | how
    lot = number if drafts.finishes(settings.calibration, inputs) else None
    with _recorded(pipeline, _told(settings), inputs - 1, lot) as samples:
        drawing.generate(pipeline, encoded, sampler, **how)
    return samples


@contextmanager
def _recorded(pipeline: Any, watched: bool, last: int | None = None, lot: int | None = None) -> Iterator[list[Sample]]:
    """A list that is filled when the block is left, with what the UNet was given, up to the input `last`: of a
    `watched` one, one row of that is evaluated, by a `lot`."""
    found: list[Sample] = []
    beside: list[runtime.Inputs | None] | None = [] if watched else None
    answers: list[np.ndarray] = []
    with recording.recording(pipeline, lambda step: True, last, beside, answers, lot) as inputs:
        yield found
    found += map(Sample, inputs, beside or [None] * len(inputs), [*answers, *[None] * (len(inputs) - len(answers))])


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
