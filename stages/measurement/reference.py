"""What fidelity is measured against: the FP16 IR computed in float32, where memory holds it.

Consumes a subject; produces its runs of the main task, UNet inputs along them, and the predictions for those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.files import layout
from stages.generation import drawing, recording
from stages.ir import finite
from stages.machine import fitting
from stages.measurement import controls, stored, tasks
from stages.measurement import subject as subjects
from stages.measurement.stored import Arrays
from stages.measurement.subject import Subject


@dataclass(frozen=True)
class Reference:
    """What is compared with: predictions at UNet inputs along the runs of the main task, and the pictures of those.

    `name` says how predictions were computed; None where memory holds no float model, and it is no reference for
    fidelity. `drawn_by` says the same of the runs; if that is a precision's own name, they are its own runs.
    `owners`: the prompt of each point, by identifier. What of it is kept on disk is read at every look.
    """

    name: str | None
    runs: list[tasks.Run]
    points: list[Arrays]
    predictions: Sequence[np.ndarray]
    owners: list[str] = field(default_factory=list)
    controls: controls.Controls | None = None
    drawn_by: str | None = None

    def same_task(self, runs: list[tasks.Run]) -> list[tasks.Run]:
        """Those of a precision's runs that have a counterpart here, in the same order."""
        return [run for run in runs if run.job.task == self.runs[0].job.task]

    def own_runs(self, precision: str, task: str) -> list[tasks.Run]:
        """What a precision need not draw once more."""
        return self.runs if (precision, task) == (self.drawn_by, self.runs[0].job.task) else []


@dataclass(frozen=True)
class Plan:
    """How a reference comes about: the precision, `exact` where it is predicted by in float32, and `drawn_exact` where
    drawn; what predictions and pictures are called, see Reference."""

    precision: str
    exact: bool
    drawn_exact: bool
    name: str | None
    drawn_by: str

    @property
    def predicted_by(self) -> str:
        return self.name or self.precision


def plan(subject: Subject) -> Plan:
    precision, exact, name = fitting.reference(subject.folders, subject.asked, layout.FP16)
    drawn_by = (name or precision) if subject.extent.exact else precision
    return Plan(precision, exact, exact and subject.extent.exact, name, drawn_by)


def reference(subject: Subject, tick: Callable[[], Any]) -> Reference:
    """The main task, recorded, and the prediction at every recorded point: FP16 in float32 where memory holds it.

    Where the extent leaves out pictures in float32, those of FP16 as it runs are taken, and its inputs on the way: both
    precisions are then compared at points of the same trajectories, and pictures with FP16's.
    """
    how = plan(subject)
    precision, name, drawn_by = how.precision, how.name, how.drawn_by
    pipeline = subjects.load(subject, precision, reference=how.drawn_exact)[subject.main_task]
    jobs = subjects.jobs(subject, subject.main_task)
    timed = drawn_by == precision and not all(subject.kept.has(subjects.run_name(job, drawn_by)) for job in jobs)
    if timed and subject.extent.warmup:
        subjects.warm_up(subject, pipeline, jobs[0], precision)
    runs, points, owners = [], [], []
    for job in jobs:
        run, chosen = recorded(subject, pipeline, job, drawn_by)
        runs.append(run)
        points += chosen
        owners += [job.prompt.id] * len(chosen)
        tick()
    if how.exact and not how.drawn_exact:
        del pipeline
        subjects.let_go(subject)
        pipeline = subjects.load(subject, precision, reference=True)[subject.main_task]
    with subject.room.untimed():
        predictions = predicted(subject, pipeline, points, owners, how.predicted_by)
        control = controls.draw(subject, pipeline, runs, points[: owners.count(owners[0])], tick) if name else None
    del pipeline
    subjects.let_go(subject)
    return Reference(name, runs, points, predictions, owners, control, drawn_by)


def recorded(subject: Subject, pipeline: Any, job: tasks.Job, name: str) -> tuple[tasks.Run, list[Arrays]]:
    """One job's run and UNet inputs along it; what a precision itself predicts at those on the way is kept as its own
    predictions there."""
    run_name = subjects.run_name(job, name)

    def draw() -> tasks.Run:
        answers: list[np.ndarray] = []
        with recording.recording(pipeline, lambda step: True, answers=answers) as inputs:
            run = subjects.drawn(subject, pipeline, job, name)
        keep_points(subject, run_name, spread(inputs, subject.extent.points))  # before the run that they belong to
        if name in subject.folders:
            own = numbered(spread(answers, subject.extent.points))
            subject.kept.put(predictions_name(name, job.prompt.id), own, {})
        return run

    run = tasks.kept_run(subject.kept, run_name, job, draw)
    return run, kept_points(subject, run_name)


def keep_points(subject: Subject, run_name: str, points: Sequence[Arrays]) -> None:
    subject.kept.put(f"points/{run_name}", flat(points), {"points": len(points)})


def kept_points(subject: Subject, run_name: str) -> list[Arrays]:
    """Of a run whose points are there."""
    arrays, facts = subject.kept.found(f"points/{run_name}")
    return unflat(arrays, facts["points"])


def predicted(
    subject: Subject, pipeline: Any, points: Sequence[Arrays], owners: list[str], name: str
) -> Sequence[np.ndarray]:
    """The UNet's prediction at every point, those of one prompt kept together."""
    found: list[tuple[Arrays, str]] = []
    for owner in dict.fromkeys(owners):
        mine = [point for point, other in zip(points, owners, strict=True) if other == owner]

        def make(mine: list[Any] = mine, owner: str = owner) -> tuple[Arrays, dict[str, Any]]:
            return predict(pipeline, mine, f"{subject.key} {name}, prompt {owner!r}"), {}

        arrays, _ = subject.kept.arrays(predictions_name(name, owner), make)
        found += [(arrays, number) for number in arrays]
    return stored.each(found)


def predictions_name(name: str, owner: str) -> str:
    """Of what a precision, or the reference, predicts at the points of one prompt, as it is kept."""
    return f"predictions/{name}/{owner}"


def predict(pipeline: Any, points: Sequence[Arrays], what: str) -> dict[str, np.ndarray]:
    """Predictions at points by number; `what` names them in an error."""
    found = numbered(drawing.predict(pipeline, dict(point)) for point in points)
    with finite.of(what):
        finite.require(found, "the UNet's noise predictions, by point")
    return found


def numbered(predictions: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{number:04d}": prediction for number, prediction in enumerate(predictions)}


def flat(points: Sequence[Arrays]) -> dict[str, np.ndarray]:
    return {f"{number:04d}/{name}": array for number, point in enumerate(points) for name, array in point.items()}


def unflat(arrays: Arrays, count: int) -> list[Arrays]:
    names: list[dict[str, str]] = [{} for _ in range(count)]
    for key in arrays:
        number, name = key.split("/", 1)
        names[int(number)][name] = key
    return [stored.chosen(arrays, mine) for mine in names]


def spread(items: list[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, ends included: `spread([1, 2, 3, 4, 5], 3)` is [1, 3, 5]."""
    positions = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[position] for position in positions]
