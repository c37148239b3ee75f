"""The record of a benchmark: every figure of every precision of one model, and what they were measured with.

Consumes a subject; produces the contents of record.json, the runs whose pictures are kept, and the reference. The
dozen figures of it that a person compares are stages.measurement.metrics'.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from stages.files import layout
from stages.generation import drawing
from stages.machine import description, fitting, overflow
from stages.measurement import ahead, clocks, curve, evaluations, figures, latency, likeness, peak, proof, tasks, turns
from stages.measurement import reference as references
from stages.measurement import subject as subjects
from stages.measurement.reference import Reference
from stages.measurement.subject import Subject
from stages.prompts import sets
from stages.settings import config


def measure(subject: Subject, tick: Callable[[], Any]) -> tuple[dict[str, Any], dict[str, list[tasks.Run]], Reference]:
    """All figures but CLIP's, the runs of every precision, whose pictures are kept, and what they are compared with."""
    reference = references.reference(subject, tick)
    groups = fitting.groups(subject.folders, subject.asked, subject.room.limit_gb)
    rows, runs, cut, costs = {}, {}, {}, turns.footprints(subject, reference, tick)
    stopwatch = subject.room.whole_clock
    with latency.disturbance(description.load_average()) as disturbance, clocks.compared(stopwatch) as clock:
        peaks = subject.kept.value("peaks", lambda: peak.peak_gops(subject.settings.device))
        for group in groups:
            loaded = {name: subjects.load(subject, name) for name in group}
            static = {name: proven(subject, name, pipes, reference) for name, pipes in loaded.items()}
            cut = cut or truncated(subject, next(iter(loaded.values())))
            runs |= turns.interleaved_runs(subject, loaded, reference, tick)
            times = turns.part_times(subject, loaded, reference)
            joules = turns.step_joules(subject, loaded, reference)
            for name, pipes in loaded.items():
                rows[name] = static[name] | row(subject, name, pipes, reference, runs[name], times[name])
                rows[name] |= figures.energy_figures(runs[name], joules.get(name), subject.main_task)
                rows[name] |= figures.work_figures(rows[name], peaks) | costs[name]
                tick()
            del loaded
            subjects.let_go(subject)
    together = len(groups) == 1
    figures.add_speedups(rows, layout.FP16, together, together and reference.drawn_by != layout.FP16)
    rows |= {
        name: figures.skipped(reason, subject.precisions[name].folder, rows[next(iter(rows))])
        for name, reason in subject.skipped.items()
    }
    about = header(subject, runs, disturbance, peaks)
    about |= {"reference": reference.name, "pictures_against": reference.drawn_by, "points": points(reference)}
    about |= {"elsewhere": ahead.elsewhere(run for mine in (*runs.values(), reference.runs) for run in mine)}
    about |= {"truncated": cut, "interleaved": together, "left_out": subject.left_out}
    about |= {"clock": clock, "energy": subject.meter.about()}
    return about | {"precisions": {name: rows[name] for name in sorted(rows, key=subject.order)}}, runs, reference


def proven(subject: Subject, name: str, pipes: dict[str, Any], reference: Reference) -> dict[str, Any]:
    """What a precision is before it is timed; `Unusable` where it is called INT8 and runs none: nothing is to be
    measured then."""
    found = subject.kept.value(
        f"static/{name}",
        lambda: figures.static_figures(subject.folders[name], pipes[subject.main_task], dict(reference.points[0])),
    )
    if name != layout.FP16:
        try:
            proof.require_int8(found, subject.key, name, subject.scheme(name))
        except ValueError as error:
            raise subjects.Unusable(name, str(error)) from error
    one = subject.precisions[name]
    return found | {"scheme": subject.scheme(name), "overflow": overflow.said(one.facts, one.device.name)}


def row(
    subject: Subject,
    name: str,
    pipes: dict[str, Any],
    reference: Reference,
    runs: list[tasks.Run],
    times: dict[str, list[float]],
) -> dict[str, Any]:
    """The measured figures of one precision but those that need another one."""
    found = figures.time_figures(runs, times, subject.main_task)
    for task, pipeline in pipes.items():
        mine, order = [run for run in runs if run.job.task == task], getattr(pipeline.scheduler, "order", 1)
        found["tasks"][task] |= evaluations.counted(mine, subject.steps, order)
    predictions: Sequence[Any] = []
    if reference.name is not None:
        how = reference.points, reference.owners, name
        predictions = references.predicted(subject, pipes[subject.main_task], *how)
    return found | likeness.likeness(reference, runs, predictions)


def header(
    subject: Subject, runs: dict[str, list[tasks.Run]], disturbance: dict[str, Any], peaks: dict[str, float]
) -> dict[str, Any]:
    settings, model = subject.settings, subject.settings.model
    main = next(run for run in next(iter(runs.values())) if run.job.task == subject.main_task)
    return {
        "model": subject.key,
        "family": model.family,
        "title": model.title,
        "role": model.role,
        "width_px": model.sampler.width,
        "height_px": model.sampler.height,
        "steps": subject.steps,
        "guidance": model.sampler.guidance,
        "scheduler": model.sampler.scheduler,
        "scheduler_options": model.sampler.options,
        "executed_steps": main.steps,
        "quantization": settings.quantization.name,
        "scheme": subject.precisions.get(settings.quantization.name) and subject.scheme(settings.quantization.name),
        "decode": "tiles" if subject.asked.tiles else "whole",
        "settings": {name: config.as_dict(getattr(settings, name)) for name in ("benchmark", "device", "prompts")},
        "peak_gops": peaks,
        "noise": disturbance,
    }


def truncated(subject: Subject, pipes: dict[str, Any]) -> dict[str, Any]:
    """Prompts whose end the text encoders do not see, see stages.prompts.sets."""
    negative = drawing.negative_of(subject.settings.model.sampler)
    return sets.truncated(subject.prompts, negative, pipes[subject.main_task].tokenizer_2)


def points(reference: Reference) -> list[list[str | float]]:
    """[prompt, timestep] of each point that predictions are compared at, in the order of `sqnr_by_sample`."""
    return [[owner, curve.timestep(point)] for owner, point in zip(reference.owners, reference.points, strict=True)]
