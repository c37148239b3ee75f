"""What a benchmark measures: one model, its settings, precisions (an IR folder each, on a device), and how they are
loaded.

Consumes settings and IR folders; produces a `Subject`, its pipelines and its jobs. Decides what memory holds by
stages.machine.fitting; measures nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.files import layout, manifest, placing
from stages.generation import drawing, pipelines
from stages.generation.residency import Room
from stages.machine import fitting, memory, sizes
from stages.measurement import tasks
from stages.prompts import sets
from stages.quantization import schemes

if TYPE_CHECKING:
    from stages.settings.schema import Device, Settings


class Unusable(ValueError):
    """A precision that does not load or draws no picture: the others could do without it."""

    def __init__(self, precision: str, reason: str) -> None:
        super().__init__(reason)
        self.precision = precision


@dataclass(frozen=True)
class Precision:
    """An IR folder, and the device that it runs on: the same folder under two settings makes two precisions."""

    folder: Path
    device: Device

    @property
    def facts(self) -> dict[str, Any]:
        """What the folder's manifest states of it."""
        return manifest.read(self.folder, rerun="quantize")["facts"]


AGAIN, OTHERS = 1, 2  # pictures, see Subject.controls


@dataclass(frozen=True)
class Subject:
    """Names, settings, and precisions by name, the one compared against first.

    `skipped`: why a precision is not run; `room`: the memory that all of it shares.
    """

    key: str
    settings: Any
    precisions: dict[str, Precision]
    skipped: dict[str, str]
    prompts: list[Any]
    steps: int
    room: Room
    first_stage: tasks.FirstStage | None = None

    @property
    def folders(self) -> dict[str, Path]:
        """Of the precisions that are run."""
        return {name: one.folder for name, one in self.precisions.items() if name not in self.skipped}

    @property
    def main_task(self) -> str:
        return "two-stage" if self.settings.model.role == "refiner" else "text-to-image"

    @property
    def asked(self) -> memory.Request:
        return memory.request(self.settings.model.sampler, self.settings.device)

    @property
    def all_tasks(self) -> list[str]:
        """The model's own, the main one first; where two-stage is among them, both of its ways."""
        own = set(self.settings.model.tasks) | {self.main_task}
        own |= {"two-stage-sdedit"} if "two-stage" in own else set()
        return sorted(own & set(tasks.TASKS), key=lambda task: (task != self.main_task, tasks.TASKS.index(task)))

    @property
    def random_weights(self) -> bool:
        """Whether pictures mean nothing."""
        return any(one.facts.get("random_weights") for one in self.precisions.values())

    def scheme(self, precision: str) -> str | None:
        """What an IR says it was made by; None of FP16."""
        return self.precisions[precision].facts.get("scheme")

    def order(self, precision: str) -> int:
        return list(self.precisions).index(precision)

    def runs(self) -> int:
        """Pictures and other pieces of work, for a progress bar."""
        pictures = len(self.prompts) * (1 + len(self.folders) * len(self.all_tasks)) + sum(self.controls)
        return pictures + 2 * len(self.folders)

    @property
    def controls(self) -> tuple[int, int]:
        """Pictures of the reference that are drawn again, and drawn with another seed: few, for they are its dearest
        kind; none where pictures mean nothing."""
        return (0, 0) if self.random_weights else (min(AGAIN, len(self.prompts)), min(OTHERS, len(self.prompts)))


def subject(settings: Settings) -> Subject:
    """The subject of these settings: FP16 and the selected scheme."""
    names = (layout.FP16, settings.quantization.name)
    return of(settings, {name: Precision(layout.ir(settings.model_key, name), settings.device) for name in names})


def of(settings: Settings, precisions: dict[str, Precision]) -> Subject:
    """A subject of any precisions, run as far as this machine's memory holds them."""
    evaluation = sets.load_prompts(settings.prompts, "evaluation", settings.benchmark.prompts)
    folders = {name: one.folder for name, one in precisions.items()}
    _, skipped = fitting.which(folders, memory.request(settings.model.sampler, settings.device))
    how = evaluation, steps_of(settings), Room(memory.room_gb())
    return Subject(settings.model_key, settings, precisions, skipped, *how)


def steps_of(settings: Settings) -> int:
    return settings.benchmark.steps or settings.model.sampler.steps


def with_first_stage(subject: Subject) -> Subject:
    """A refiner's subject with what its base hands over, drawn by the base's FP16 IR with the refiner's settings."""
    model, settings = subject.settings.model, subject.settings
    if model.role != "refiner":
        return subject
    source = layout.ir(model.base, layout.FP16)
    unet = memory.recording_unet("auto", sizes.of_ir(source), subject.asked)
    with placing.unfinished(layout.ir(subject.key, "base"), manifest.digest(source)) as kept:
        folder = source if unet == memory.FP16 else schemes.light_pipeline(source, kept / "light")
        base = pipelines.load(folder, "text-to-image", model.sampler, settings.device, room=subject.room)
        drawing.generate(base, subject.prompts[0].text, model.sampler, settings.benchmark.seed, steps=2)  # warm-up
        how = model.sampler, subject.steps, settings.benchmark, subject.room.clock
        stage = tasks.first_stage(base, subject.prompts, *how, others=subject.controls[1])
        del base
        let_go(subject)
    return replace(subject, first_stage=stage)


def load(subject: Subject, name: str, *, reference: bool = False) -> dict[str, Any]:
    """Pipelines of one precision by task, on one set of compiled parts."""
    sampler, one = subject.settings.model.sampler, subject.precisions[name]
    how = {"reference": reference, "room": subject.room}
    main = pipelines.load(one.folder, subject.main_task, sampler, one.device, **how)
    return {subject.main_task: main} | {
        task: pipelines.also(main, "image-to-image") for task in subject.all_tasks if task != subject.main_task
    }


def let_go(subject: Subject) -> None:
    """Of everything that is compiled: pipelines hold on to themselves until they are collected."""
    subject.room.clear()
    gc.collect()


def jobs(subject: Subject, task: str, pictures: Sequence[Any] = ()) -> list[tasks.Job]:
    """One per prompt. Image-to-image starts from the base's pictures: `pictures` where the model is its own base."""
    starts = None
    if subject.first_stage is not None:
        starts = subject.first_stage.starts(task)
    elif task == "image-to-image":
        starts = [tasks.Start(picture) for picture in pictures]
    return tasks.jobs(task, subject.prompts, starts, subject.settings.benchmark, subject.settings.model.sampler)


def other_jobs(subject: Subject) -> list[tasks.Job]:
    """The main task's first prompts with all their noise from other seeds: what the same prompt may look like too."""
    starts = subject.first_stage.others if subject.first_stage else None
    prompts, settings = subject.prompts[: subject.controls[1]], subject.settings
    return tasks.jobs(
        subject.main_task, prompts, starts, settings.benchmark, settings.model.sampler, further=tasks.OTHER_SEED
    )


def run(subject: Subject, pipeline: Any, job: tasks.Job, precision: str) -> tasks.Run:
    """One job's picture; `Unusable` where it is none, or where OpenVINO does not come to one."""
    try:
        result = tasks.run(pipeline, job, subject.settings.model.sampler, subject.steps, subject.room.clock)
        tasks.require_picture(result, subject.key, precision)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise Unusable(precision, f"{subject.key} {precision} does not run: {reason}") from error
    except ValueError as error:
        raise Unusable(precision, str(error)) from error
    return result
