"""Drafts: a prompt drawn at few of the model's own timesteps, for the inputs that its UNet is given on the way.

Consumes a scheduler, a model's sampler and the settings of calibration; tells at which timesteps a prompt is drawn, and
how often a UNet is evaluated for so many prompts. Both ends of the schedule belong to every draft, prompts share the
timesteps between them out, and nothing is drawn of the last input. The scheduler stays the model's own: inputs on the
way of a better solver, or of a finished draft that noise was added to again, are less loud than those that the model
will see (proofs/README.md).
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.machine.budget import Drafts
from stages.settings.schema import TIMESTEPS

if TYPE_CHECKING:
    from stages.settings.schema import Calibration, Device, Model, Sampler

FEW = 4  # steps: a model made for fewer is never drawn in fewer still
TURNS = 8  # prompts that share the timesteps between the ends out among them


@dataclass(frozen=True)
class Draft:
    """`steps`, or `timesteps` where there are such, to draw at; `inputs` that its UNet is given."""

    steps: int
    timesteps: list[float] | None
    inputs: int


def evaluations(calibration: Calibration, model: Model) -> tuple[int, int]:
    """Of a refiner's base's UNet (else 0) and of the model's own for one prompt, where a step evaluates it once."""
    steps, count = model.sampler.steps, inputs_of(calibration, model.sampler.steps)
    if model.role != "refiner":
        return 0, max(1, count - 1)
    own = own_part(model.sampler)
    return steps - own if count == steps else of_base(count), max(1, own - 1)


def of_base(count: int) -> int:
    """Evaluations of a refiner's base for a draft of so many inputs."""
    return max(1, count - 2)


def inputs_of(calibration: Calibration, steps: int) -> int:
    """Of one draft: fewer than the model's own steps, if those are FEW at least."""
    if calibration.draft_steps is None or steps < FEW:
        return steps
    return min(calibration.draft_steps, steps - 1)


def prompts(calibration: Calibration, model: Model) -> int:
    """As many as are asked for, or as the evaluations that are allowed reach for."""
    limit = calibration.refiner_evaluations if model.role == "refiner" else calibration.evaluations
    if limit is None:
        return calibration.prompts
    return min(calibration.prompts, max(1, limit // sum(evaluations(calibration, model))))


def kept(calibration: Calibration, model: Model) -> int:
    """Inputs that are kept of all prompts."""
    return prompts(calibration, model) * min(calibration.steps_per_prompt, _own_inputs(calibration, model))


def told(calibration: Calibration, model: Model, device: Device) -> int:
    """Inputs that are kept and evaluated, whose evaluations tell the extremes of what layers are given too. None where
    most evaluations are of inputs that nobody keeps, as extremes at all of them would cost more than they spare, and
    none but on a CPU, which computes ranges otherwise."""
    if device.name != "CPU":
        return 0
    evaluated, inputs = evaluations(calibration, model)[1], _own_inputs(calibration, model)
    each = min(calibration.steps_per_prompt, inputs - 1)
    if 2 * each <= evaluated:
        return 0
    return prompts(calibration, model) * (each + finishes(calibration, inputs))


def finishes(calibration: Calibration, inputs: int) -> bool:
    """Whether a draft's last input, of which nothing is drawn, is evaluated for what it tells: if it is kept."""
    return calibration.steps_per_prompt >= inputs > 1


def _own_inputs(calibration: Calibration, model: Model) -> int:
    """Inputs of one draft of the model's own UNet."""
    return own_part(model.sampler) if model.role == "refiner" else inputs_of(calibration, model.sampler.steps)


def in_float(calibration: Calibration, model: Model, device: Device) -> int:
    """Prompts that the float UNet drafts, before one in INT8 drafts the others; all of them where it is asked for, and
    where nothing is told of layers, as ranges come of that."""
    count = prompts(calibration, model)
    if calibration.float_evaluations is None or not told(calibration, model, device):
        return count
    return min(count, math.ceil(calibration.float_evaluations / evaluations(calibration, model)[1]))


def foretold(calibration: Calibration, model: Model, device: Device) -> Drafts:
    """All of a calibration, for what it needs of a machine."""
    first = in_float(calibration, model, device)
    parted = first, prompts(calibration, model) - first
    of_base, own = ((parted[0] * each, parted[1] * each) for each in evaluations(calibration, model))
    known = told(calibration, model, device)
    finishing = known and finishes(calibration, _own_inputs(calibration, model))
    return Drafts(own, kept(calibration, model), known, parted if finishing else (0, 0), of_base)


def own_part(sampler: Sampler) -> int:
    """Steps of a picture that a refiner draws, out of its base's and its own."""
    return sampler.steps - round(sampler.steps * (sampler.high_noise_fraction or 0))


def draft(scheduler: Any, sampler: Sampler, calibration: Calibration, number: int) -> Draft:
    """Of the n-th prompt. Schedulers that take no timesteps draw in as many steps of their own choice."""
    own, count = timesteps(scheduler, sampler.steps), inputs_of(calibration, sampler.steps)
    if count >= len(set(own)):
        return Draft(sampler.steps, None, len(own))
    chosen = spread(sorted(set(own), reverse=True), count, number)
    try:
        return Draft(count, chosen, len(timesteps(scheduler, chosen)))
    except (TypeError, ValueError):  # TypeError: no such argument; ValueError: not with these options
        return Draft(count, None, len(timesteps(scheduler, count)))


def two_stage(scheduler: Any, sampler: Sampler, calibration: Calibration, number: int) -> Draft | None:
    """Of base and refiner together: few of the base's timesteps, and all of the refiner's, which alone are recorded.

    None where every step is to be drawn, or where the scheduler takes no timesteps.
    """
    own, count = timesteps(scheduler, sampler.steps), inputs_of(calibration, sampler.steps)
    cut = round(TIMESTEPS * (1 - (sampler.high_noise_fraction or 0)))
    base, last = [step for step in own if step >= cut], [step for step in own if step < cut]
    if count >= len(set(own)):
        return None
    chosen = spread(base, of_base(count), number, both_ends=False) + last
    try:
        return Draft(len(chosen), chosen, len(timesteps(scheduler, chosen)))
    except (TypeError, ValueError):
        return None


def spread(own: list[float], count: int, number: int, both_ends: bool = True) -> list[float]:
    """`count` of a schedule's timesteps for the n-th prompt, as evenly as may be from the first to the last, or, where
    more follow, to what follows; prompts fall to either side of a place between two.

    >>> [spread([3, 2, 1, 0], 3, number) for number in (0, 7)]
    [[3, 2, 0], [3, 1, 0]]
    """
    stretches = count - 1 if both_ends else count
    if count >= len(own) or not stretches:
        return own[:count]
    aside = (number % TURNS + 0.5) / TURNS
    length = len(own) - 1 if both_ends else len(own)
    return [own[min(len(own) - 1, int(place * length / stretches + aside))] for place in range(count)]


def timesteps(scheduler: Any, how: int | list[float]) -> list[float]:
    """What a scheduler steps through, for so many steps or at these timesteps; the scheduler itself is left alone."""
    planned = copy.deepcopy(scheduler)
    planned.set_timesteps(**({"num_inference_steps": how} if isinstance(how, int) else {"timesteps": how}))
    return [int(step) if float(step).is_integer() else float(step) for step in planned.timesteps]
