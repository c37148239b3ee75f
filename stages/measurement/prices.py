"""What single pieces of a benchmark take on this machine, foretold: pictures of every task, points, turns, loading.

Consumes settings, sizes of components and how precisions are stored; produces `Seconds`, out of which
stages.measurement.extent plans, and the GB that all of it keeps on disk. Measures nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stages.machine import budget, description, memory, speed
from stages.machine.costs import costs
from stages.machine.memory import Request
from stages.machine.sizes import Sizes
from stages.measurement import extent, tasks

if TYPE_CHECKING:
    from stages.measurement.extent import Extent
    from stages.settings.schema import Benchmark, Model


# UNet steps and decodings of each precision before it is measured: one of both when it loads, a step that proves what
# runs in INT8, two steps and a decoding in a process of their own, where it also encodes, which is half of a decoding.
STEPS_AT_FIRST, DECODINGS_AT_FIRST = 4, 2.5


@dataclass(frozen=True)
class Seconds:
    """Of single pieces, in all precisions that are run together.

    `pictures`: by task; `first`: what a refiner's base spends on one; `exact` and `alone`: a picture of the main task
    by the reference in float32, and by FP16 as it runs; `point`: a prediction by all and by the reference; `known`: one
    that need not be made, where FP16's own drawings are the reference's; `turn`: every part once; `once`: whatever is
    spent once, loading above all.
    """

    pictures: dict[str, float]
    first: dict[str, float]
    exact: float
    alone: float
    point: float
    turn: float
    once: float
    known: float = 0.0

    def of(self, found: Extent) -> float:
        seconds = self.once + sum((self.pictures[task] + self.first[task]) * n for task, n in found.prompts.items())
        point = self.point if found.exact else self.point - self.known
        seconds += found.main * found.points * point + (found.repetitions + found.warmup) * self.turn
        reference, main = (self.exact, next(iter(found.prompts))) if found.exact else (self.alone, "")
        seconds += found.main * self.exact if found.exact else 0.0
        if found.controls:
            seconds += (extent.again(found) + extent.others(found)) * (reference + self.first.get(main, 0.0))
        return seconds


def planned(
    model: Model, settings: Benchmark, sizes: Sizes, base: Sizes | None, asked: Request, stored: tuple[str, ...]
) -> tuple[Extent, Seconds, list[str]]:
    """How much is measured within `settings.minutes`, what single pieces of it take, and what is left out; the
    arguments are those of `foretold`."""
    seconds, run = foretold(model, settings, sizes, base, asked, stored), steps_by_task(model, settings)
    own, steps = list(run), next(iter(run.values()))
    whole, found = extent.everything(settings, own, steps), extent.fitting(settings, own, steps, seconds)
    return found, seconds, extent.left_out(found, whole, settings.minutes, seconds)


def foretold(
    model: Model, settings: Benchmark, sizes: Sizes, base: Sizes | None, asked: Request, stored: tuple[str, ...]
) -> Seconds:
    """`stored`: how the UNet of each precision is; `base`: sizes of the base that a refiner works with."""
    steps, fraction = settings.steps or model.sampler.steps, model.sampler.high_noise_fraction
    unet, exact = sizes["unet"], replace(asked, floats="f32")
    fits = memory.in_turn_gb(sizes, exact) <= memory.SHARE * description.memory_gb()
    precise = exact if fits else asked
    each, one = [speed.step_s(unet, asked, way) for way in stored], speed.step_s(unet, precise)
    decode, run = speed.decode_s(asked), steps_by_task(model, settings)
    own = list(run)
    encode = {task: 0.5 * decode if task == "image-to-image" else 0.0 for task in own}
    ready = 3 * costs()["load_s"] * unet.parameters / 1e9
    return Seconds(
        pictures={task: run[task] * sum(each) + len(each) * (decode + encode[task]) for task in own},
        first=first_stage(own, steps, fraction, base, asked),
        exact=run[own[0]] * one + speed.decode_s(precise),
        alone=run[own[0]] * speed.step_s(unet, asked) + decode,
        point=sum(each) + one,
        turn=sum(each) + decode,  # which all have in common
        once=sum(ready + STEPS_AT_FIRST * step + DECODINGS_AT_FIRST * decode for step in each) + ready,
        known=each[0],
    )


def kept_gb(model: Model, settings: Benchmark, found: Extent, sizes: Sizes, asked: Request, precisions: int) -> float:
    """What lies on disk before a benchmark is done: of every picture its pixels twice (once as PNG, which may be as
    large) and its latents after every step, the points of every prompt, and the predictions at them."""
    latents, pixels = budget.latents_gb(asked), 3 * asked.pixels / 1e9
    runs = {task: 2 * pixels + steps * latents for task, steps in steps_by_task(model, settings).items()}
    drawn = precisions * sum(count * runs[task] for task, count in found.prompts.items())
    drawn += found.main * next(iter(runs.values())) if found.exact else 0.0
    begun = found.main * (latents + 2 * pixels) if model.role == "refiner" else 0.0
    predictions = (precisions + 1) * memory.batch_of(sizes["unet"], asked) * latents
    return drawn + begun + found.main * found.points * (budget.sample_gb(sizes, asked) + predictions)


def first_stage(
    own: list[str], steps: int, fraction: float | None, base: Sizes | None, asked: Request
) -> dict[str, float]:
    """Seconds of a refiner's base for one picture of each task: half-finished latents, and finished ones once."""
    found = dict.fromkeys(own, 0.0)
    if base is None:
        return found
    step = speed.step_s(base["unet"], asked)
    found[own[0]] = (fraction or 1.0) * steps * step
    for task in own[1:2]:
        found[task] = steps * step + speed.decode_s(asked)
    return found


def steps_by_task(model: Model, settings: Benchmark) -> dict[str, int]:
    """UNet steps of a picture of each of the model's tasks, the main one first."""
    steps, fraction = settings.steps or model.sampler.steps, model.sampler.high_noise_fraction
    return {task: own_steps(task, steps, settings, fraction) for task in tasks.of_model(model)}


def own_steps(task: str, steps: int, settings: Benchmark, fraction: float | None) -> int:
    """UNet steps that a model itself runs in a picture of this task."""
    share = {
        "text-to-image": 1.0,
        "image-to-image": settings.strength,
        "two-stage": 1.0 - (fraction or 0.0),
        "two-stage-sdedit": settings.sdedit_strength,
    }[task]
    return max(1, math.floor(steps * share + 1e-9))
