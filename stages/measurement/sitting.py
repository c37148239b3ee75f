"""One sitting: every precision of one model measured in turns, with CLIP's figures; and, if asked, without those that
turn out not to run.

Consumes a subject or its precisions, the CLIP model that `scorer` verified and an engine for it; produces a record, the
runs whose pictures are kept, and the reasons of what was left out. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stages.engines.engine import LOCAL, Engine
from stages.files import layout
from stages.measurement import controls, likeness, record, retrieval, tasks
from stages.measurement import subject as subjects
from stages.measurement.encoding import Encoder, Encoding
from stages.measurement.reference import Reference
from stages.measurement.subject import Precision, Subject, Unusable

Runs = dict[str, list[tasks.Run]]  # by precision


def measure(
    subject: Subject,
    scorer: Any,
    judge: retrieval.Judge | None,
    tick: Callable[[], Any],
    engine: Engine = LOCAL,
) -> tuple[dict[str, Any], Runs, Reference]:
    """All figures, the runs, and the reference; `scorer`: facts of the CLIP model, None where nothing is scored."""
    found, runs, reference = record.measure(subject, tick)
    found |= {"controls": None, "retrieval": None}
    if subject.random_weights:
        likeness.forget(found["precisions"])
    elif reference.name:
        model = encoder(subject, reference, runs, engine) if scorer else None
        found |= compared(found["precisions"], reference, runs, model, judge)
    return found, runs, reference


def encoder(subject: Subject, reference: Reference, runs: Runs, engine: Engine) -> Encoder:
    """CLIP, which has looked at all that figures will ask it for."""
    found = Encoder(engine, Encoding(layout.SCORER, subject.settings.device))
    control = reference.controls
    lists = [reference.runs, *map(reference.same_task, runs.values())]
    if control:
        lists += [mine for again in (control.again, control.others) for mine in (reference.runs[: len(again)], again)]
    texts = [run.job.prompt.text for run in reference.runs]
    found.look_ahead(texts, *map(tasks.pictures, lists))
    engine.rest()
    return found


def compared(
    rows: dict[str, Any],
    reference: Reference,
    runs: dict[str, Any],
    model: Encoder | None,
    judge: retrieval.Judge | None,
) -> dict[str, Any]:
    """What CLIP and the judge of prompts say of the pictures, as far as there are such: into the rows of precisions;
    returned of the reference and its controls."""
    if model:
        likeness.add_clip_figures(rows, reference, runs, model)
    found = {"controls": controls.figures(reference.runs, reference.predictions, reference.controls, model)}
    if judge:
        same = {name: reference.same_task(mine) for name, mine in runs.items()}
        found["retrieval"] = retrieval.add_retrieval(rows, reference.runs, same, judge)
    return found


def measure_what_runs(
    settings: Any, precisions: dict[str, Precision], scorer: Any
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
                found, runs, _ = measure(subject, scorer, None, bar.update)
            main = {name: [run for run in mine if run.job.task == subject.main_task] for name, mine in runs.items()}
            return found, main, reasons
        except Unusable as error:
            if error.precision not in precisions or error.precision == layout.FP16:
                raise
            reasons[error.precision] = f"not run: {error}"
        subjects.let_go(subject)
