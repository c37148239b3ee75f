"""How much of a benchmark fits a time: what every one has, then more of everything, the most telling first.

Consumes seconds of single pieces, foretold, and the settings; produces an `Extent`, which says how many pictures of
which task are drawn, at how many points predictions are compared, and what is left out. The same on a machine and for
a model, whatever else runs meanwhile. Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stages.files.layout import FP16

if TYPE_CHECKING:
    from stages.measurement.prices import Seconds
    from stages.settings.schema import Benchmark

POINTS = 8  # UNet inputs kept of each prompt's trajectory: both ends, and two in each quarter of a long schedule
LEAST_PROMPTS, LEAST_POINTS, LEAST_REPETITIONS = 1, 4, 3
AGAIN, OTHERS = 1, 2  # control pictures, see stages.measurement.controls


@dataclass(frozen=True)
class Extent:
    """`prompts`: pictures of each task in every precision, the main task first; `points`: of each prompt of the main
    task; `exact`: whether the reference's pictures are drawn in float32, and not only its predictions at the points;
    `controls`: whether some are drawn again; `repetitions`: timed turns of UNet steps, and `warmup` before them."""

    prompts: dict[str, int]
    points: int
    exact: bool
    controls: bool
    repetitions: int
    warmup: int

    @property
    def main(self) -> int:
        return next(iter(self.prompts.values()))


def again(found: Extent) -> int:
    """Pictures of the reference that are drawn again: few, for they are its dearest kind."""
    return min(AGAIN, found.main) if found.controls else 0


def others(found: Extent) -> int:
    """Pictures of the reference that are drawn with another seed."""
    return min(OTHERS, found.main) if found.controls else 0


def everything(settings: Benchmark, tasks: list[str], steps: int) -> Extent:
    """All that the settings ask for; `tasks`: the main one first, of so many steps."""
    prompts = dict.fromkeys(tasks, settings.prompts)
    return Extent(prompts, min(POINTS, steps), True, True, settings.repetitions, settings.warmup)


def least(settings: Benchmark, tasks: list[str], steps: int) -> Extent:
    """What is measured whatever it takes. Nothing warms up: a part's first call is never timed (stages.generation.
    residency), and what is left to warm up takes milliseconds, which count where more than this fits."""
    prompts = {tasks[0]: min(LEAST_PROMPTS, settings.prompts)}
    repetitions = min(LEAST_REPETITIONS, settings.repetitions)
    return Extent(prompts, min(LEAST_POINTS, steps), False, False, repetitions, 0)


def fitting(settings: Benchmark, tasks: list[str], steps: int, seconds: Seconds) -> Extent:
    """The least, and of the rest as much as `settings.minutes` hold, in the order of what it tells."""
    whole = everything(settings, tasks, steps)
    if settings.minutes is None or seconds.of(whole) <= 60 * settings.minutes:
        return whole
    found = least(settings, tasks, steps)
    for more in wishes(whole):
        wider = more(found)
        if seconds.of(wider) <= 60 * settings.minutes:
            found = wider
    return found


def wishes(whole: Extent) -> Iterator[Callable[[Extent], Extent]]:
    """Steps from the least to the `whole`, the most telling first."""
    main, *others = whole.prompts
    for task in others:
        yield lambda found, task=task: replace(found, prompts=found.prompts | {task: 1})
    yield lambda found: replace(found, points=whole.points)
    for count in range(LEAST_PROMPTS + 1, whole.main + 1):
        yield lambda found, count=count: replace(found, prompts=found.prompts | {main: count})
    for task in others:
        yield lambda found, task=task: replace(found, prompts=found.prompts | {task: found.main})
    yield lambda found: replace(found, repetitions=whole.repetitions, warmup=whole.warmup)
    yield lambda found: replace(found, exact=True)
    yield lambda found: replace(found, controls=True)


def left_out(found: Extent, whole: Extent, minutes: float | None, seconds: Seconds) -> list[str]:
    """Sentences that say what of the `whole` was not measured; none where nothing is missing."""
    if found == whole:
        return []
    said = [
        f"{task}: {found.prompts.get(task, 0)} of {count} prompts"
        for task, count in whole.prompts.items()
        if found.prompts.get(task, 0) < count
    ]
    if found.points < whole.points:
        said.append(f"{found.points} of {whole.points} points of each prompt's schedule")
    if found.repetitions < whole.repetitions:
        said.append(f"{found.repetitions} of {whole.repetitions} timed turns")
    if found.exact != whole.exact:
        said.append(f"pictures in float32: {FP16}'s own are what pictures are compared with")
    if found.controls != whole.controls:
        said.append("controls")
    hours = seconds.of(whole) / 3600
    return [f"{'; '.join(said)} (benchmark.minutes {minutes:g}; all of it would take about {hours:.1f} h)"]
