"""Pictures and reference points that the workers of a cluster draw ahead, into what a benchmark keeps.

Consumes a subject and an engine; produces finished pieces under the names that the benchmark looks for, which then goes
on as after a kill: it draws and times what is not there. So every picture is the one that this machine would draw, and
none that was drawn elsewhere has a time. The first pictures of every task are left to this machine, alone, to be timed.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.engines.engine import Engine
from stages.generation import pipelines, recording
from stages.generation.at_work import PipelineWork
from stages.generation.residency import Room
from stages.ir import finite
from stages.measurement import reference as references
from stages.measurement import subject as subjects
from stages.measurement import tasks
from stages.measurement.stored import Arrays
from stages.measurement.subject import Subject


@dataclass(frozen=True)
class Item:
    """A picture to draw, if any, and UNet inputs to predict the noise for; of a recorded picture its own."""

    owner: str
    job: tasks.Job | None
    points: Sequence[Arrays] | None = None


@dataclass(frozen=True)
class Found:
    run: tasks.Run | None
    points: list[dict[str, np.ndarray]] | None
    predictions: Arrays | None


class Easel(PipelineWork):
    """One precision, or the reference, at work on items: what is computed of a prompt goes there and back once.

    `record`: so many UNet inputs are kept of each picture, none where it is 0; `predict`: whether noise is predicted.
    """

    def __init__(self, subject: Subject, precision: str, *, exact: bool, record: int, predict: bool) -> None:
        one = subject.precisions[precision]
        super().__init__(one.folder, subject.settings.model.sampler, one.device, subject.room.limit_gb)
        self.key, self.precision, self.exact, self.record, self.predict = (
            subject.key, precision, exact, record, predict,
        )  # fmt: skip
        self.steps, self.all_tasks, self.task = subject.steps, subject.all_tasks, subject.main_task

    def load(self) -> tuple[dict[str, Any], Room]:
        main, room = super().load()
        others = [task for task in self.all_tasks if task != self.task]
        return {self.task: main} | {task: pipelines.also(main, "image-to-image") for task in others}, room

    def do(self, loaded: tuple[dict[str, Any], Room], item: Item) -> Found:
        run, inputs = self.drawn(loaded, item.job) if item.job else (None, [])
        points = references.spread(inputs, self.record) if self.record else item.points
        predictions = self.predicted(loaded[0][self.task], item.owner, points) if self.predict and points else None
        return Found(run, points if self.record else None, predictions)

    def drawn(self, loaded: tuple[dict[str, Any], Room], job: tasks.Job) -> tuple[tasks.Run, list[Any]]:
        """A picture without a time, and all UNet inputs on the way where such are kept."""
        pipes, room = loaded
        before, pipeline = room.calls["unet"], pipes[job.task]
        with finite.of(f"{self.key} {self.precision}, prompt {job.prompt.id!r}, seed {job.seed}"):
            with recording.recording(pipeline, lambda step: bool(self.record)) as inputs:
                run = tasks.run(pipeline, job, self.sampler, self.steps)
        tasks.require_picture(run, self.key, self.precision)
        calls = room.calls["unet"] - before
        return replace(run, seconds=None, unet_calls=calls, node=socket.gethostname()), inputs

    def predicted(self, pipeline: Any, owner: str, points: Sequence[Arrays]) -> Arrays:
        return references.predict(pipeline, points, f"{self.key} {self.precision}, prompt {owner!r}")


def draw(subject: Subject, engine: Engine) -> None:
    """All pictures but those that are timed, and predictions at all points, as far as they are not kept already."""
    plan = references.plan(subject)
    _reference(subject, engine, plan)
    runs = _runs(subject, plan)
    for name in subject.folders:
        work = Easel(subject, name, exact=False, record=0, predict=plan.name is not None)
        items = list(_of_precision(subject, name, plan, runs))
        _spread(subject, engine, work, items, name, name)
    engine.rest()  # what follows is timed here


def elsewhere(runs: Iterable[tasks.Run]) -> dict[str, Any] | None:
    """How many pictures were drawn by which nodes of a cluster, and not timed; None where all were drawn here."""
    nodes = Counter(run.node for run in runs if run.node is not None)
    return {"pictures": nodes.total(), "nodes": dict(sorted(nodes.items()))} if nodes else None


def _reference(subject: Subject, engine: Engine, plan: references.Plan) -> None:
    """Its pictures with their points, and the predictions; apart, where other floats draw than predict."""
    same = plan.drawn_exact == plan.exact
    record = subject.extent.points
    easel = Easel(subject, plan.precision, exact=plan.drawn_exact, record=record, predict=same)
    jobs = subjects.jobs(subject, subject.main_task)
    mine = tasks.TIMED if plan.drawn_by in subject.folders else 0  # a precision's own pictures are its timed ones too
    items = [Item(job.prompt.id, job) for job in jobs[mine:] if not _has(subject, job, plan)]
    _spread(subject, engine, easel, items, plan.drawn_by, plan.predicted_by)
    if same:
        return
    missing = [job for job in jobs if _has(subject, job, plan) and not _predicted(subject, plan.predicted_by, job)]
    items = [Item(job.prompt.id, None, _points(subject, job, plan)) for job in missing]
    easel = Easel(subject, plan.precision, exact=plan.exact, record=0, predict=True)
    _spread(subject, engine, easel, items, plan.drawn_by, plan.predicted_by)


def _of_precision(subject: Subject, name: str, plan: references.Plan, runs: list[Arrays]) -> Iterable[Item]:
    """What a precision has to draw and to predict, but for what is timed."""
    for task in subject.all_tasks:
        main = task == subject.main_task
        if task == "image-to-image" and subject.first_stage is None and not runs:
            continue  # it starts from pictures some of which this machine has to draw first
        for number, job in enumerate(subjects.jobs(subject, task, runs)):
            drawn = subject.kept.has(subjects.run_name(job, name)) or number < tasks.TIMED
            wanted = None if drawn or (main and name == plan.drawn_by) else job
            known = _predicted(subject, name, job) or plan.name is None
            points = _points(subject, job, plan) if main and not known and _has(subject, job, plan) else None
            if wanted or points:
                yield Item(job.prompt.id, wanted, points)


def _spread(subject: Subject, engine: Engine, work: Easel, items: list[Item], drawn_by: str, predicted_by: str) -> None:
    """Keep each item's pieces as they come, in the order of the items; the run last, as what it consists of is there
    then."""
    results = engine.map(work, items, f"{subject.key} {drawn_by}", "picture")
    for item, found in zip(items, results, strict=True):
        if found.predictions is not None:
            subject.kept.put(references.predictions_name(predicted_by, item.owner), found.predictions, {})
        if item.job is None or found.run is None:
            continue
        name = subjects.run_name(item.job, drawn_by)
        if found.points is not None:
            references.keep_points(subject, name, found.points)
        tasks.kept_run(subject.kept, name, item.job, _given(found.run))


def _given(run: tasks.Run) -> Callable[[], tasks.Run]:
    return lambda: run


def _has(subject: Subject, job: tasks.Job, plan: references.Plan) -> bool:
    return subject.kept.has(subjects.run_name(job, plan.drawn_by))


def _predicted(subject: Subject, name: str, job: tasks.Job) -> bool:
    return subject.kept.has(references.predictions_name(name, job.prompt.id))


def _runs(subject: Subject, plan: references.Plan) -> list[Arrays]:
    """The reference's runs, if all are there."""
    jobs = subjects.jobs(subject, subject.main_task)
    if not all(_has(subject, job, plan) for job in jobs):
        return []
    return [subject.kept.found(subjects.run_name(job, plan.drawn_by))[0] for job in jobs]


def _points(subject: Subject, job: tasks.Job, plan: references.Plan) -> list[Arrays]:
    return references.kept_points(subject, subjects.run_name(job, plan.drawn_by))
