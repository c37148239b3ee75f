"""What fidelity is measured against: the FP16 IR computed in float32, where memory holds it.

Consumes a subject; produces its runs of the main task, UNet inputs along them, and the predictions for those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stages.files import layout
from stages.generation import drawing, recording
from stages.machine import fitting
from stages.measurement import controls, tasks
from stages.measurement import subject as subjects
from stages.measurement.subject import Subject

POINTS = 8  # UNet inputs kept of each prompt's trajectory: both ends, and two in each quarter of a long schedule


@dataclass(frozen=True)
class Reference:
    """What pictures are compared with: its runs of the main task, UNet inputs along them, its predictions for those.

    `name` says how it was computed; None where memory holds no float model, and it is no reference for fidelity.
    `owners`: the prompt of each point, by identifier.
    """

    name: str | None
    runs: list[tasks.Run]
    points: list[dict[str, np.ndarray]]
    predictions: list[np.ndarray]
    owners: list[str] = field(default_factory=list)
    controls: controls.Controls | None = None

    def same_task(self, runs: list[tasks.Run]) -> list[tasks.Run]:
        """Those of a precision's runs that have a counterpart here, in the same order."""
        return [run for run in runs if run.job.task == self.runs[0].job.task]


def reference(subject: Subject, tick: Callable[[], Any]) -> Reference:
    """The main task, recorded, and the prediction at every recorded point: FP16 in float32 where memory holds it."""
    precision, exact, name = fitting.reference(subject.folders, subject.asked, layout.FP16)
    pipeline = subjects.load(subject, precision, reference=exact)[subject.main_task]
    runs, points, owners = [], [], []
    for job in subjects.jobs(subject, subject.main_task):
        with recording.recording(pipeline, lambda step: True) as recorded:
            runs.append(subjects.run(subject, pipeline, job, name or precision))
        chosen = spread(recorded, POINTS)
        points += chosen
        owners += [job.prompt.id] * len(chosen)
        tick()
    predictions = [drawing.predict(pipeline, point) for point in points]
    control = controls.draw(subject, pipeline, runs, points[: owners.count(owners[0])], tick) if name else None
    del pipeline
    subjects.let_go(subject)
    return Reference(name, runs, points, predictions, owners, control)


def spread(items: list[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, ends included: `spread([1, 2, 3, 4, 5], 3)` is [1, 3, 5]."""
    positions = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[position] for position in positions]
