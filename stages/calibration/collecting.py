"""UNet inputs collected while a model drafts prompts with its own scheduler, guidance and sizes; nothing is decoded.

Consumes IR folders (a refiner: its base's too) and prompts; produces one shard per prompt. What has a shard already is
not drawn again, so that a killed run goes on with the same result. Which timesteps are drawn is
stages.calibration.drafts'; which inputs are kept of those is chosen evenly here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.calibration import drafts, shards
from stages.files import pieces
from stages.generation import drawing, pipelines, recording
from stages.generation.residency import Room
from stages.ir import finite, runtime
from stages.machine import memory
from stages.prompts import sets
from stages.prompts.sets import Prompt

if TYPE_CHECKING:
    from stages.settings.schema import Sampler, Settings

FIRST_SEED = 1_000_000  # away from the benchmark's: no image is drawn from a noise that was calibrated on


def collect(settings: Settings, folders: dict[str, Path], chosen: list[Prompt], target: Path, room: Room) -> int:
    """Write the shards that `target` lacks; returns how many of all prompts the tokenizer cuts short, the negative
    one among them.

    `folders`: {"ir": the model's own}, and of a refiner {"base": its base's}.
    """
    sampler, device = memory.largest(_samplers(settings)), settings.device
    missing = [number for number in range(len(chosen)) if not pieces.is_there(shards.shard_path(target, number))]
    starts = _starts(folders["base"], settings, chosen, missing, room) if "base" in folders else {}
    task = "two-stage" if "base" in folders else "text-to-image"
    pipeline = pipelines.load(folders["ir"], task, sampler, device, room=room)
    for number, encoded in _encoded(pipeline, settings.model_key, chosen, missing, sampler, "calibrate"):
        with finite.of(f"{settings.model_key}, prompt {chosen[number].id!r}"):
            samples = _record_prompt(pipeline, settings, encoded, (number, len(chosen)), starts.get(number))
        path = shards.shard_path(target, number)
        shards.save_shard(path, samples, {"prompt": chosen[number].id})
        pieces.note(path)
    cut = sets.truncated(chosen, drawing.negative_of(sampler), pipeline.tokenizer_2)
    return len(cut["prompts"]) + cut["negative_prompt"]


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
) -> list[runtime.Inputs]:
    """The chosen inputs of one prompt, the n-th of so many. Inputs of all its steps are held for a moment."""
    samples = _drafted(pipeline, settings, encoded, turn[0], start)
    count, seed = settings.calibration.steps_per_prompt, settings.calibration.seed
    return [samples[step] for step in choose_steps(len(samples), count, *turn, seed=seed)]


def _drafted(
    pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int, start: Any
) -> list[runtime.Inputs]:
    """All inputs of the n-th prompt's draft."""
    sampler, seed, calibration = _sampler(settings, number), _seed(settings, number), settings.calibration
    if start is not None:
        return _refined(pipeline, settings, encoded, number, start)
    draft = drafts.draft(pipeline.scheduler, sampler, calibration, number)
    how: Any = {"output": "latent", "steps": draft.steps, "timesteps": draft.timesteps}
    with recording.recording(pipeline, lambda step: True, last=draft.inputs - 1) as samples:
        drawing.generate(pipeline, encoded, sampler, seed, **how)
    return samples


def _refined(
    pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int, start: Any
) -> list[runtime.Inputs]:
    """A refiner's inputs at all of its own steps, from where its base's draft hands over."""
    sampler, planned = _sampler(settings, number), _planned(pipeline, settings, number)
    how: Any = {"output": "latent", "image": start, "denoising_start": sampler.high_noise_fraction}
    how |= {"timesteps": planned.timesteps} if planned else {}
    with recording.recording(pipeline, lambda step: True, last=drafts.own_part(sampler) - 1) as samples:
        drawing.generate(pipeline, encoded, sampler, _seed(settings, number), **how)
    return samples


def _starts(base: Path, settings: Settings, chosen: list[Prompt], missing: list[int], room: Room) -> dict[int, Any]:
    """The base's unfinished latents for every missing prompt; the base is out of memory before the refiner comes in."""
    if not missing:
        return {}
    sampler = memory.largest(_samplers(settings))
    pipeline = pipelines.load(base, "text-to-image", sampler, settings.device, room=room)
    starts, name = {}, settings.model.base
    for number, encoded in _encoded(pipeline, name, chosen, missing, sampler, "base latents"):
        with finite.of(f"{name}, prompt {chosen[number].id!r}"):
            starts[number] = _start(pipeline, settings, encoded, number)
    room.clear()
    return starts


def _start(pipeline: Any, settings: Settings, encoded: drawing.Encoded, number: int) -> Any:
    """A draft's latents as the base hands them over, at the refiner's first timestep."""
    sampler = _sampler(settings, number)
    how: Any = {"output": "latent", "denoising_end": sampler.high_noise_fraction}
    if planned := _planned(pipeline, settings, number):
        how |= {"steps": planned.steps, "timesteps": planned.timesteps}
    return drawing.generate(pipeline, encoded, sampler, _seed(settings, number), **how)


def _planned(pipeline: Any, settings: Settings, number: int) -> drafts.Draft | None:
    return drafts.two_stage(pipeline.scheduler, _sampler(settings, number), settings.calibration, number)


def _encoded(
    pipeline: Any, model: str, chosen: list[Prompt], missing: list[int], sampler: Sampler, what: str
) -> Iterator[tuple[int, drawing.Encoded]]:
    """Numbers of the missing prompts with their embeddings, which are all made before the UNet is loaded."""
    with finite.of(model):
        encoded = drawing.encode_ahead(pipeline, [chosen[number].text for number in missing], sampler)
    yield from zip(_with_bar(missing, what), encoded, strict=True)


def _seed(settings: Settings, number: int) -> int:
    return FIRST_SEED * (settings.calibration.seed + 1) + number


def _with_bar(numbers: list[int], what: str) -> Any:
    from tqdm import tqdm

    return tqdm(numbers, desc=what, unit="prompt", disable=None, leave=False)
