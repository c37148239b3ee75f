"""The record of a benchmark: every figure of every precision of one model, and what they were measured with.

Consumes a subject; produces the contents of record.json, the runs whose pictures are kept, and the reference. The
dozen figures of it that a person compares are stages.measurement.metrics'.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.files import layout
from stages.machine import description, fitting
from stages.measurement import figures, latency, peak, tasks, turns
from stages.measurement import reference as references
from stages.measurement import subject as subjects
from stages.measurement.reference import Reference
from stages.measurement.subject import Subject
from stages.settings import config


def measure(subject: Subject, tick: Callable[[], Any]) -> tuple[dict[str, Any], dict[str, list[tasks.Run]], Reference]:
    """All figures but CLIP's, the runs of every precision, whose pictures are kept, and what they are compared with."""
    reference = references.reference(subject, tick)
    groups = fitting.groups(subject.folders, subject.asked, subject.room.limit_gb)
    rows, runs, costs = {}, {}, turns.footprints(subject, reference, tick)
    with latency.disturbance(description.load_average()) as disturbance:
        peaks = peak.peak_gops(subject.settings.device)
        for group in groups:
            loaded = {name: subjects.load(subject, name) for name in group}
            runs |= turns.interleaved_runs(subject, loaded, reference, tick)
            times = turns.part_times(subject, loaded, reference)
            for name, pipes in loaded.items():
                rows[name] = row(subject, name, pipes[subject.main_task], reference, runs[name], times[name], peaks)
                rows[name] |= costs[name]
                tick()
            del loaded
            subjects.let_go(subject)
    figures.add_speedups(rows, layout.FP16, paired=len(groups) == 1)
    rows |= {
        name: figures.skipped(reason, subject.precisions[name].folder, rows[next(iter(rows))])
        for name, reason in subject.skipped.items()
    }
    about = header(subject, runs, disturbance, peaks)
    about |= {"reference": reference.name, "interleaved": len(groups) == 1}
    return about | {"precisions": {name: rows[name] for name in sorted(rows, key=subject.order)}}, runs, reference


def row(
    subject: Subject,
    name: str,
    pipeline: Any,
    reference: Reference,
    runs: list[tasks.Run],
    times: dict[str, list[float]],
    peaks: dict[str, float],
) -> dict[str, Any]:
    """The figures of one precision but those that need another one."""
    folder = subject.folders[name]
    found = figures.static_figures(folder, pipeline) | figures.time_figures(runs, times, subject.main_task)
    found |= figures.work_figures(found, folder, reference.points[0], peaks)
    return found | figures.fidelity_figures(reference, runs, pipeline)


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
        "decode": "tiles" if subject.asked.tiles else "whole",
        "settings": {name: config.as_dict(getattr(settings, name)) for name in ("benchmark", "device", "prompts")},
        "peak_gops": peaks,
        "noise": disturbance,
    }
