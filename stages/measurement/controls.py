"""Controls: what figures of fidelity are worth, shown by two pairs whose likeness is known beforehand.

Consumes the reference's pipeline, jobs and runs; produces the same pictures and predictions once more, which must be
identical, and a few pictures of the same prompts with other seeds, which share the prompt and nothing else: the floor.
The third control, FP16 as it runs against float32, is FP16's own row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.generation import drawing
from stages.measurement import clip, fidelity, tasks
from stages.measurement import subject as subjects
from stages.measurement.fidelity import rounded
from stages.measurement.subject import Subject


@dataclass(frozen=True)
class Controls:
    """The first jobs of the reference run again, its predictions at their points again, and runs with other seeds."""

    again: list[tasks.Run]
    predictions: list[np.ndarray]
    others: list[tasks.Run]


def draw(
    subject: Subject, pipeline: Any, runs: list[tasks.Run], points: list[Any], tick: Callable[[], Any]
) -> Controls:
    """Few of each, see Subject.controls; `points`: UNet inputs along the first of the runs."""

    def run(job: tasks.Job) -> tasks.Run:
        found = subjects.run(subject, pipeline, job, "reference")
        tick()
        return found

    again = [run(found.job) for found in runs[: subject.controls[0]]]
    predictions = [drawing.predict(pipeline, dict(point)) for point in points] if again else []
    return Controls(again, predictions, [run(job) for job in subjects.other_jobs(subject)])


def figures(
    runs: list[tasks.Run], predictions: list[np.ndarray], controls: Controls, model: clip.Clip | None = None
) -> dict[str, dict[str, Any]]:
    """`reference_again` and `other_seed` beside the reference's own runs and predictions, with counts; a cosine where
    there is a CLIP `model`."""
    count = len(controls.predictions)
    again = pictures(runs, controls.again, model) | {"points": count, "sqnr_db": None}
    if count:
        again["sqnr_db"] = rounded(fidelity.pooled_sqnr_db(predictions[:count], controls.predictions))
        again["identical"] = bool(again["identical"]) and again["sqnr_db"] is None
    return {"reference_again": again, "other_seed": pictures(runs, controls.others, model)}


def pictures(expected: list[tasks.Run], found: list[tasks.Run], model: clip.Clip | None) -> dict[str, Any]:
    """Medians over the pictures that have a counterpart; PSNR null where each is the same, and `identical` true."""
    row: dict[str, Any] = {"prompts": len(found), "identical": None, "psnr_db": None, "ssim": None}
    row |= {"clip_similarity": None}
    if not found:
        return row
    both = [
        (np.asarray(one.picture), np.asarray(other.picture))
        for one, other in zip(expected[: len(found)], found, strict=True)
    ]
    decibels = [value for pair in both if (value := fidelity.psnr_db(*pair)) is not None]
    row["identical"] = not decibels
    row["psnr_db"] = rounded(float(np.median(decibels)) if decibels else None)
    row["ssim"] = rounded(float(np.median([fidelity.ssim(*pair) for pair in both])), 4)
    if model is not None:
        features = [model.picture_features(tasks.pictures(runs)) for runs in (expected[: len(found)], found)]
        row["clip_similarity"] = rounded(fidelity.clip_similarity(*features), 4)
    return row
