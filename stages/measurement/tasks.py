"""What the benchmark runs: one job is one (task, prompt, seed) and depends on nothing else that runs.

Consumes prompts, and for image-to-image and the two-stage tasks what they start from; produces pictures, latents,
executed steps and seconds. A job gives the same picture wherever and in whatever order it is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.generation import drawing
from stages.ir import finite
from stages.measurement import fidelity, latency, stored
from stages.measurement.kept import Kept
from stages.measurement.stored import Arrays

if TYPE_CHECKING:
    from stages.prompts.sets import Prompt
    from stages.settings.schema import Benchmark, Model, Sampler

TASKS = ("text-to-image", "image-to-image", "two-stage", "two-stage-sdedit")
Clock = Callable[[], float]  # seconds
PICTURE, LATENTS = "picture", "latents"  # names of arrays, of a run's picture and of what a base hands over
FACTS = ("steps", "seconds", "unet_calls", "joules", "node")  # of a run, kept beside its arrays
TIMED = 4  # pictures of each task that the asking machine draws: latency is never measured through a cluster
OTHER_SEED = 20_000  # what control pictures are drawn with, apart from both


@dataclass(frozen=True)
class Start:
    """What a later stage begins with, the steps and seconds that an earlier stage spent on it."""

    given: Arrays  # PICTURE (height, width, 3), or LATENTS (1, 4, h, w)
    steps: int = 0
    seconds: float | None = 0.0  # None where it was drawn by a node of a cluster

    @property
    def image(self) -> Any:
        """A picture, or latents as a tensor."""
        return picture(self.given) if PICTURE in self.given else drawing.tensor(self.given[LATENTS])


@dataclass(frozen=True)
class Job:
    task: str
    prompt: Prompt
    seed: int
    start: Start | None
    settings: dict[str, float]


@dataclass(frozen=True)
class Run:
    job: Job
    drawn: Arrays  # as `drawn` makes them of the picture, and of latents after every step
    steps: int  # of this pipeline alone, as its sampler says
    seconds: float | None  # None where it was drawn by a node of a cluster
    unet_calls: int | None = None  # as the compiled model was called
    joules: float | None = None  # of all processor packages meanwhile, loading that came between included
    node: str | None = None  # of a cluster, that drew it; None: this machine

    @property
    def picture(self) -> Any:
        return picture(self.drawn)

    @property
    def latents(self) -> Sequence[np.ndarray]:
        """(1, 4, h, w) after every step."""
        return stored.each([(self.drawn, name) for name in self.drawn if name != PICTURE])

    @property
    def whole_s(self) -> float | None:
        """Its own seconds and those of what it started from; None where a node of a cluster spent some of them."""
        before = self.job.start.seconds if self.job.start else 0.0
        return None if before is None or self.seconds is None else before + self.seconds


def of_model(model: Model) -> list[str]:
    """A model's own tasks, the main one first; where two-stage is among them, both of its ways."""
    main = "two-stage" if model.role == "refiner" else "text-to-image"
    own = {*model.tasks, main}
    own |= {"two-stage-sdedit"} if "two-stage" in own else set()
    return sorted(own & set(TASKS), key=lambda task: (task != main, TASKS.index(task)))


def jobs(
    task: str,
    prompts: list[Prompt],
    starts: list[Start] | None,
    settings: Benchmark,
    sampler: Sampler,
    further: int = 0,
) -> list[Job]:
    """One job per prompt, the n-th with seed `settings.seed` + n, and so much `further`."""
    how = {
        "text-to-image": {},
        "image-to-image": {"strength": settings.strength},
        "two-stage": {"denoising_start": sampler.high_noise_fraction},
        "two-stage-sdedit": {"strength": settings.sdedit_strength},
    }[task]
    first = settings.seed + further + (0 if starts is None else drawing.SECOND_SEED)
    return [
        Job(task, prompt, first + n, starts[n] if starts is not None else None, how) for n, prompt in enumerate(prompts)
    ]


def run(pipeline: Any, job: Job, sampler: Sampler, steps: int, clock: Clock = time.perf_counter) -> Run:
    """Draw the picture of one job, timed by `clock`."""
    latents: list[np.ndarray] = []
    image = None if job.start is None else job.start.image

    def call() -> Any:
        return drawing.generate(
            pipeline,
            job.prompt.text,
            sampler,
            job.seed,
            steps=steps,
            image=image,
            on_step=lambda tensor: latents.append(tensor.numpy().copy()),
            **job.settings,
        )

    made, seconds = latency.stopwatch(call, clock)
    return Run(job, drawn(made, latents), drawing.executed_steps(pipeline), seconds)


def drawn(picture: Any, latents: Sequence[np.ndarray]) -> Arrays:
    """What is kept of a run."""
    return {f"{step:04d}": array for step, array in enumerate(latents)} | {PICTURE: np.asarray(picture)}


def kept_run(kept: Kept, name: str, job: Job, draw: Callable[[], Run]) -> Run:
    """The run of a job that `draw` makes, or made before under this name."""

    def make() -> tuple[Arrays, dict[str, Any]]:
        found = draw()
        return found.drawn, {name: getattr(found, name) for name in FACTS}

    arrays, facts = kept.arrays(name, make)
    return Run(job, arrays, **facts)


def pictures(runs: Sequence[Run]) -> Sequence[Any]:
    """Of each run, read when it is looked at."""
    return stored.Looks(runs, lambda run: run.picture)


def picture(arrays: Arrays) -> Any:
    """Out of what is kept."""
    from PIL import Image

    return Image.fromarray(arrays[PICTURE])


def require_picture(run: Run, model: str, precision: str) -> None:
    """ValueError that names model, precision and seed where a run came to NaN, black or one colour."""
    flaw = fidelity.flaw(run.latents[-1]) if not np.isfinite(run.latents[-1]).all() else None
    flaw = flaw or fidelity.flaw(np.asarray(run.picture))
    if flaw:
        raise ValueError(
            f"{model} {precision} drew a picture that is {flaw} ({run.job.task}, seed {run.job.seed}, prompt "
            f"{run.job.prompt.id!r}): run 'dvc repro -f -s quantize@{model}', or raise "
            "device.inference_precision to f32"
        )


def first_stage(
    pipeline: Any,
    prompts: list[Prompt],
    sampler: Sampler,
    steps: int,
    settings: Benchmark,
    clock: Clock = time.perf_counter,
    *,
    finished: int,
    others: int = 0,
    kept: Kept | None = None,
) -> FirstStage:
    """The base's part in the two-stage tasks, for every prompt; of the first `finished` prompts the whole picture too,
    and of the first `others` half of one with another seed."""
    kept = kept or Kept()

    def draw(n: int, further: int = 0, **how: Any) -> Start:
        seed = settings.seed + n + further

        def make() -> tuple[Arrays, dict[str, Any]]:
            with finite.of(f"prompt {prompts[n].id!r}"):
                latents, seconds = latency.stopwatch(
                    lambda: drawing.generate(
                        pipeline, prompts[n].text, sampler, seed, steps=steps, output="latent", **how
                    ),
                    clock,
                )
            return {LATENTS: latents.numpy()}, {"steps": drawing.executed_steps(pipeline), "seconds": seconds}

        arrays, facts = kept.arrays(begun_name("half" if how else "finished", seed), make)
        return Start(arrays, facts["steps"], facts["seconds"])

    def decode(n: int, start: Start) -> Start:
        def make() -> tuple[Arrays, dict[str, Any]]:
            made, seconds = latency.stopwatch(lambda: drawing.decode(pipeline, start.image), clock)
            return {PICTURE: np.asarray(made)}, {"seconds": seconds}

        arrays, facts = kept.arrays(begun_name("picture", settings.seed + n), make)
        both = start.seconds, facts["seconds"]
        return Start(arrays, start.steps, None if None in both else sum(both))

    half = {"denoising_end": sampler.high_noise_fraction}
    halves = [draw(n, **half) for n in range(len(prompts))]
    whole = [draw(n) for n in range(finished)]
    apart = [draw(n, further=OTHER_SEED, **half) for n in range(others)]
    return FirstStage(halves, whole, [decode(n, start) for n, start in enumerate(whole)], apart)


def begun_name(what: str, seed: int) -> str:
    """Of what a base drew, as it is kept: `half` or `finished` latents, or the `picture` of these."""
    return f"base/{what}/{seed}"


@dataclass(frozen=True)
class FirstStage:
    """Half-finished latents of the base, one per prompt; finished latents and pictures of the first prompts; `others`:
    half-finished latents of the first prompts from other seeds."""

    halves: list[Start]
    finished: list[Start]
    pictures: list[Start]
    others: list[Start]

    def starts(self, task: str) -> list[Start]:
        if task == "image-to-image":  # the picture is given: what it cost does not count
            return [Start(start.given) for start in self.pictures]
        return {"two-stage": self.halves, "two-stage-sdedit": self.finished}[task]
