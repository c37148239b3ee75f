"""One sitting: every precision of one model measured in turns, with CLIP's figures; and, if asked, without those that
turn out not to run.

Consumes a subject or its precisions, and the CLIP model that `scorer` verified; produces a record, the runs whose
pictures are kept, and the reasons of what was left out. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.files import layout
from stages.measurement import clip, figures, record, tasks
from stages.measurement import subject as subjects
from stages.measurement.subject import Precision, Subject, Unusable

Runs = dict[str, list[tasks.Run]]  # by precision


def measure(
    subject: Subject, scorer: dict[str, Any], random_weights: bool, tick: Callable[[], Any]
) -> tuple[dict[str, Any], Runs]:
    """All figures and runs; `scorer`: the CLIP model's manifest, without facts where nothing is scored."""
    found, runs, reference = record.measure(subject, tick)
    if random_weights:
        figures.forget_fidelity(found["precisions"])
    elif scorer["facts"] and reference.name:
        figures.add_clip_figures(found["precisions"], reference, runs, clip.load(layout.SCORER))
    return found, runs


def measure_what_runs(
    settings: Any, precisions: dict[str, Precision], scorer: dict[str, Any], random_weights: bool
) -> tuple[dict[str, Any], Runs, dict[str, str]]:
    """The same without precisions that do not load or draw no picture; runs of the main task, and those reasons.

    Turns want to be whole: the others are measured from the start. FP16 is what all are compared with: its own failure
    is raised, a ValueError.
    """
    from tqdm import tqdm

    reasons: dict[str, str] = {}
    while True:
        subject = subjects.of(settings, {name: one for name, one in precisions.items() if name not in reasons})
        label = f"measuring {settings.model_key}"
        try:
            with tqdm(total=subject.runs(), desc=label, unit="run", leave=False, disable=None) as bar:
                subject = subjects.with_first_stage(subject)
                found, runs = measure(subject, scorer, random_weights, bar.update)
            main = {name: [run for run in mine if run.job.task == subject.main_task] for name, mine in runs.items()}
            return found, main, reasons
        except Unusable as error:
            if error.precision not in precisions or error.precision == layout.FP16:
                raise
            reasons[error.precision] = f"not run: {error}"
        subjects.let_go(subject)
