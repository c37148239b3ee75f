"""What a benchmark measures: one model, its settings, precisions (an IR folder each, on a device), and how they are
loaded.

Consumes settings and IR folders; produces a `Subject`, its pipelines and its jobs. Decides what memory holds by
stages.machine.fitting; measures nothing.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.engines.engine import LOCAL, Engine
from stages.files import belonging, layout, manifest, placing
from stages.generation import drawing, pipelines
from stages.generation.residency import Room
from stages.ir import anatomy, finite, parts
from stages.machine import energy, fitting, memory, sizes
from stages.measurement import beginning, evaluations, extent, prices, stored, tasks
from stages.measurement.extent import Extent
from stages.measurement.kept import Kept
from stages.measurement.stored import Arrays
from stages.prompts import sets
from stages.quantization import schemes

if TYPE_CHECKING:
    from stages.settings.schema import Device, Settings


WARM_STEPS = 2  # of a picture that warms up


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

    def files(self, parts: Sequence[str]) -> dict[str, Any]:
        """Those of these parts by name, with their digests."""
        found = manifest.read(self.folder, rerun="quantize")["files"]
        return {name: digest for name, digest in found.items() if name.split("/")[0] in parts}


@dataclass(frozen=True)
class Subject:
    """Names, settings, and precisions by name, the one compared against first.

    `skipped`: why a precision is not run; `room`: the memory that all of it shares; `extent`: how much is measured,
    and `left_out` what is not; `kept`: what an earlier run of the same finished; `meter`: of energy.
    """

    key: str
    settings: Any
    precisions: dict[str, Precision]
    skipped: dict[str, str]
    prompts: list[Any]
    steps: int
    room: Room
    extent: Extent
    left_out: list[str] = field(default_factory=list)
    kept: Kept = field(default_factory=Kept)
    first_stage: tasks.FirstStage | None = None
    meter: energy.Meter = field(default_factory=energy.Meter)

    @property
    def folders(self) -> dict[str, Path]:
        """Of the precisions that are run."""
        return {name: one.folder for name, one in self.precisions.items() if name not in self.skipped}

    @property
    def main_task(self) -> str:
        return next(iter(self.extent.prompts))

    @property
    def asked(self) -> memory.Request:
        return memory.request(self.settings.model.sampler, self.settings.device)

    @property
    def all_tasks(self) -> list[str]:
        """Those that pictures are drawn of, the main one first."""
        return [task for task, count in self.extent.prompts.items() if count]

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
        pictures = len(self.prompts) + len(self.folders) * sum(self.extent.prompts.values()) + sum(self.controls)
        return pictures + 2 * len(self.folders)

    @property
    def controls(self) -> tuple[int, int]:
        """Pictures of the reference that are drawn again, and drawn with another seed; none where pictures mean
        nothing."""
        return (0, 0) if self.random_weights else (extent.again(self.extent), extent.others(self.extent))


def first_alike(subject: Subject, precision: str, parts: Sequence[str]) -> str:
    """The first precision that is run and has the very files of these parts that `precision` has, on a device with the
    same settings."""
    own = subject.precisions[precision]
    others = (name for name in subject.folders if subject.precisions[name].device == own.device)
    return next(name for name in others if subject.precisions[name].files(parts) == own.files(parts))


def subject(settings: Settings) -> Subject:
    """The subject of these settings: FP16 and the selected scheme."""
    names = (layout.FP16, settings.quantization.name)
    precisions = {name: Precision(layout.ir(settings.model_key, name), settings.device) for name in names}
    return of(settings, precisions)


def of(settings: Settings, precisions: dict[str, Precision]) -> Subject:
    """A subject of any precisions, run as far as this machine's memory holds them and `benchmark.minutes` reach."""
    folders = {name: one.folder for name, one in precisions.items()}
    run, skipped = fitting.which(folders, memory.request(settings.model.sampler, settings.device))
    found, _, said = planned(settings, tuple(map(anatomy.stored, run.values())))
    evaluation = sets.load_prompts(settings.prompts, "evaluation", found.main)
    how = evaluation, steps_of(settings), Room(memory.room_gb()), found, said
    return Subject(settings.model_key, settings, precisions, skipped, *how)


def whole_folders(settings: Settings) -> list[Path]:
    """IR folders of FP16 and of the selected scheme, both whole; an error that says what to run where one is not."""
    key, names = settings.model_key, (layout.FP16, settings.quantization.name)
    for name in names:
        manifest.read_whole(layout.ir(key, name), rerun=f"{'export' if name == layout.FP16 else 'quantize'}@{key}")
        belonging.require_ir(key, name)
        parts.require_size(layout.ir(key, name), [settings.model.sampler])
    return [layout.ir(key, name) for name in names]


def planned(settings: Settings, stored: tuple[str, ...]) -> tuple[Extent, prices.Seconds, list[str]]:
    """How much of a benchmark of precisions that are `stored` so fits its time, see stages.measurement.prices."""
    model, asked = settings.model, memory.request(settings.model.sampler, settings.device)
    found = sizes.of_ir(layout.ir(settings.model_key, layout.FP16))
    base = sizes.of_ir(layout.ir(model.base, layout.FP16)) if model.role == "refiner" else None
    return prices.planned(model, settings.benchmark, found, base, asked, stored)


def steps_of(settings: Settings) -> int:
    return settings.benchmark.steps or settings.model.sampler.steps


def with_first_stage(subject: Subject, engine: Engine = LOCAL) -> Subject:
    """A refiner's subject with what its base hands over, drawn by the base's FP16 IR with the refiner's settings; what
    is not timed by the engine."""
    model, settings = subject.settings.model, subject.settings
    if model.role != "refiner":
        return subject
    source = layout.ir(model.base, layout.FP16)
    unet = memory.recording_unet("auto", sizes.of_ir(source), subject.asked)
    with placing.unfinished(layout.ir(subject.key, "base"), manifest.digest(source)) as kept:
        folder = source if unet == memory.FP16 else schemes.light_pipeline(source, kept / "light")
        finished = max([count for task, count in subject.extent.prompts.items() if task != subject.main_task] or [0])
        if engine is not LOCAL:
            work = beginning.Base(
                folder, model.base, model.sampler, subject.steps, settings.device, subject.room.limit_gb
            )
            beginning.draw(engine, work, subject.kept, subject.prompts, settings.benchmark.seed, finished)
        base = pipelines.load(folder, "text-to-image", model.sampler, settings.device, room=subject.room)
        if subject.extent.warmup and not subject.kept.has(tasks.begun_name("half", settings.benchmark.seed)):
            drawing.generate(base, subject.prompts[0].text, model.sampler, settings.benchmark.seed, steps=2)
        how = model.sampler, subject.steps, settings.benchmark, subject.room.clock
        much = {"finished": finished, "others": subject.controls[1], "kept": subject.kept}
        with finite.of(model.base):
            stage = tasks.first_stage(base, subject.prompts, *how, **much)
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


def jobs(subject: Subject, task: str, runs: Sequence[Arrays] = ()) -> list[tasks.Job]:
    """One for each prompt that the task is drawn of.

    Image-to-image starts from the base's pictures: those of `runs`, as they are kept, where the model is its own base.
    """
    starts = None
    if subject.first_stage is not None:
        starts = subject.first_stage.starts(task)
    elif task == "image-to-image":
        starts = [tasks.Start(stored.chosen(arrays, {tasks.PICTURE: tasks.PICTURE})) for arrays in runs]
    prompts = subject.prompts[: subject.extent.prompts[task]]
    return tasks.jobs(task, prompts, starts, subject.settings.benchmark, subject.settings.model.sampler)


def other_jobs(subject: Subject) -> list[tasks.Job]:
    """The main task's first prompts with all their noise from other seeds: what the same prompt may look like too."""
    starts = subject.first_stage.others if subject.first_stage else None
    prompts, settings = subject.prompts[: subject.controls[1]], subject.settings
    return tasks.jobs(
        subject.main_task, prompts, starts, settings.benchmark, settings.model.sampler, further=tasks.OTHER_SEED
    )


def run(subject: Subject, pipeline: Any, job: tasks.Job, precision: str) -> tasks.Run:
    """One job's picture, drawn now or before; `Unusable` where it is none, or where OpenVINO does not come to one."""
    name = run_name(job, precision)
    return tasks.kept_run(subject.kept, name, job, lambda: drawn(subject, pipeline, job, precision))


def drawn(subject: Subject, pipeline: Any, job: tasks.Job, precision: str) -> tasks.Run:
    """The same, drawn now."""
    result = draw(subject, pipeline, job, precision, subject.steps)
    try:
        tasks.require_picture(result, subject.key, precision)
    except ValueError as error:
        raise Unusable(precision, str(error)) from error
    return result


def run_name(job: tasks.Job, precision: str) -> str:
    return f"{precision}/{job.task}/{job.seed}"


def draw(subject: Subject, pipeline: Any, job: tasks.Job, precision: str, steps: int) -> tasks.Run:
    """A picture of so many steps, whatever it shows, with the calls of the UNet and the joules that it took."""
    how, calls = (subject.settings.model.sampler, steps, subject.room.clock), subject.room.calls
    before = calls["unet"]
    try:
        with finite.of(f"{subject.key} {precision}, prompt {job.prompt.id!r}, seed {job.seed}"):
            found, joules = subject.meter.spent(lambda: tasks.run(pipeline, job, *how))
        return replace(found, unet_calls=calls["unet"] - before, joules=joules)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise Unusable(precision, f"{subject.key} {precision} does not run: {reason}") from error
    except ValueError as error:
        raise Unusable(precision, str(error)) from error


def warm_up(subject: Subject, pipeline: Any, job: tasks.Job, precision: str) -> None:
    """A picture of few steps: kernels are chosen and memory laid out by the first one, not by the twentieth."""
    draw(subject, pipeline, job, precision, fewest_steps(job, subject.steps))


def fewest_steps(job: tasks.Job, steps: int) -> int:
    """As few as run two of them, where a picture has so many: image-to-image runs a share."""
    return min(steps, math.ceil(WARM_STEPS / evaluations.share(job)))
