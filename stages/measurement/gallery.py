"""Pictures of a benchmark on disk, with the list that says what each of them is.

Consumes a subject, its runs and the reference's; produces PNG files and images.json, the last of them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.files import layout, placing
from stages.measurement import fidelity, tasks
from stages.measurement.reference import Reference
from stages.measurement.subject import Subject


def write(target: Path, subject: Subject, runs: dict[str, list[tasks.Run]], reference: Reference) -> None:
    """The folder `target`, whole: every run's picture, the reference's own and a refiner's base's too, and their
    list."""
    shown = reference.name and reference.drawn_by not in runs and not subject.random_weights
    runs = runs | ({layout.REFERENCE: reference.runs} if shown else {})
    with placing.whole(target) as folder:
        entries = save_all(folder, subject.settings, runs) + base_pictures(folder, subject)
        write_list(folder, entries)


def write_runs(target: Path, settings: Any, runs: dict[str, list[tasks.Run]]) -> None:
    """The folder `target`, whole: every run's picture and their list, of one model's precisions or schemes."""
    with placing.whole(target) as folder:
        write_list(folder, save_all(folder, settings, runs))


def write_list(folder: Path, entries: list[dict[str, Any]]) -> None:
    placing.write_text(folder / "images.json", json.dumps(entries, indent=1, ensure_ascii=False) + "\n")


def save_all(folder: Path, settings: Any, runs: dict[str, list[tasks.Run]]) -> list[dict[str, Any]]:
    return [save(folder, settings, run, name) for name, mine in runs.items() for run in mine]


def save(folder: Path, settings: Any, run: tasks.Run, precision: str) -> dict[str, Any]:
    start = run.job.start or tasks.Start({})
    entry = describe(settings, settings.model_key, precision, run.job.task, run.job.prompt, run.job.seed)
    run.picture.save(folder / entry["file"])
    return entry | {"executed_steps": start.steps + run.steps, "seconds": fidelity.rounded(run.whole_s, 4)}


def base_pictures(folder: Path, subject: Subject) -> list[dict[str, Any]]:
    """What the base alone makes of the same prompts and total steps, to stand beside the two-stage pictures."""
    entries = []
    for n, start in enumerate(subject.first_stage.pictures if subject.first_stage else []):
        seed = subject.settings.benchmark.seed + n
        base = subject.settings.model.base
        entry = describe(subject.settings, base, layout.FP16, "text-to-image", subject.prompts[n], seed)
        start.image.save(folder / entry["file"])
        entries.append(entry | {"executed_steps": start.steps, "seconds": fidelity.rounded(start.seconds, 4)})
    return entries


def describe(settings: Any, model: str, precision: str, task: str, prompt: Any, seed: int) -> dict[str, Any]:
    return {
        "file": f"{task}-{precision}-{prompt.id}.png",
        "model": model,
        "precision": precision,
        "task": task,
        "prompt": prompt.text,
        "prompt_id": prompt.id,
        "seed": seed,
        "width": settings.model.sampler.width,
        "height": settings.model.sampler.height,
    }
