"""Every precision measured in turns: whole pictures of every task, and the parts of a pipeline by themselves.

Consumes a subject, its loaded pipelines and the reference; produces runs, seconds, joules, and what loading takes.
Makes no figures of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from stages.generation import drawing
from stages.machine import fitting
from stages.measurement import footprint, latency, tasks
from stages.measurement import subject as subjects
from stages.measurement.reference import Reference
from stages.measurement.subject import Subject
from stages.settings import config

SHORT_S = 0.6  # short calls of two precisions are repeated until this much is measured, of more in proportion
BLOCKS, BLOCK_S = 3, 0.5  # of UNet steps whose joules are counted together
CACHED_S = 0.25  # shorter calls are of models so small that caches decide

Loaded = dict[str, dict[str, Any]]  # pipelines by precision and task


def interleaved_runs(
    subject: Subject, loaded: Loaded, reference: Reference, tick: Callable[[], Any]
) -> dict[str, list[tasks.Run]]:
    """Every task and prompt by every precision in turn, after warm-up; but for what is known already."""
    runs: dict[str, list[tasks.Run]] = defaultdict(list)
    for task in subject.all_tasks:
        todo = subjects.jobs(subject, task, [run.drawn for run in reference.runs])
        known = {name: reference.own_runs(name, task) for name in loaded}
        warmup = subject.extent.warmup if task == subject.main_task else min(1, subject.extent.warmup)
        for _ in range(warmup):
            for name, pipes in loaded.items():
                if not known[name] and not all(subject.kept.has(subjects.run_name(job, name)) for job in todo):
                    subjects.warm_up(subject, pipes[task], todo[0], name)
        for number, job in enumerate(todo):
            for name, pipes in loaded.items():
                run = known[name][number] if known[name] else subjects.run(subject, pipes[task], job, name)
                runs[name].append(run)
                tick()
    return dict(runs)


def part_times(subject: Subject, loaded: Loaded, reference: Reference) -> dict[str, dict[str, list[float]]]:
    """Seconds of text encoders, one UNet step and VAE decode, each in turns of the precisions; what several have in
    common is measured once and stands for all of them."""
    extent, point = subject.extent, dict(reference.points[len(reference.points) // 2])  # read here, not while timed
    sampler, text = subject.settings.model.sampler, subject.prompts[0].text
    latents = drawing.tensor(reference.runs[0].latents[-1])
    parts = {
        "text_encoders_s": (footprint.TEXT, lambda pipeline: drawing.encode_prompt(pipeline, text, sampler)),
        "unet_step_s": (("unet",), lambda pipeline: drawing.predict(pipeline, point)),
        "vae_decode_s": (("vae_decoder",), lambda pipeline: drawing.decode(pipeline, latents)),
    }
    times: dict[str, dict[str, list[float]]] = {name: {} for name in loaded}
    for part, (files, call) in parts.items():
        alike = {name: subjects.first_alike(subject, name, files) for name in loaded}
        calls: dict[str, Callable[[], Any]] = {}
        for name, pipes in loaded.items():
            calls.setdefault(alike[name], lambda call=call, pipeline=pipes[subject.main_task]: call(pipeline))
        counts = {"repetitions": extent.repetitions, "warmup": extent.warmup}
        how = {"at_least_s": SHORT_S * max(1, len(calls) / 2), "prime_below_s": CACHED_S, "clock": subject.room.clock}
        name = f"times/{part}/{'+'.join(calls)}"
        seconds = subject.kept.value(name, lambda calls=calls, how=counts | how: latency.interleaved(calls, **how))
        for name in loaded:
            times[name][part] = seconds[alike[name]]
    return times


def step_joules(subject: Subject, loaded: Loaded, reference: Reference) -> dict[str, list[float]]:
    """Joules of one UNet step, several times, in turns of the precisions; none where no package can be read."""
    if subject.meter.why is not None:
        return {}
    point = dict(reference.points[len(reference.points) // 2])
    steps = {
        name: lambda pipeline=pipes[subject.main_task]: drawing.predict(pipeline, point)
        for name, pipes in loaded.items()
    }

    def measure() -> dict[str, list[float]]:
        found: dict[str, list[float]] = {name: [] for name in steps}
        for number in range(BLOCKS):
            for name, step in steps.items():
                if number == 0:
                    step()  # loaded, where it was let go
                found[name].append(subject.meter.each(step, BLOCK_S))
        return found

    return subject.kept.value(f"joules/unet_step/{'+'.join(loaded)}", measure)


def footprints(subject: Subject, reference: Reference, tick: Callable[[], Any]) -> dict[str, dict[str, Any]]:
    """Load time, peak memory and first calls of each precision's parts, side by side where memory holds them so."""
    found, shapes = {}, request_shapes(subject, reference)
    steps = reference.runs[0].steps
    for name, folder in subject.folders.items():
        in_turn = not fitting.together(folder, subject.asked)
        how = shapes, config.as_dict(subject.precisions[name].device), in_turn
        try:
            measured = subject.kept.value(
                f"footprint/{name}", lambda folder=folder, how=how: footprint.measure(folder, *how)
            )
        except ValueError as error:
            raise subjects.Unusable(name, str(error)) from error
        cold_s = footprint.with_picture(measured["cold_s"], steps)
        found[name] = measured | {"cold_s": cold_s, "parts_in_memory": "in turn" if in_turn else "together"}
        tick()
    return found


def request_shapes(subject: Subject, reference: Reference) -> footprint.Shapes:
    """Shapes of one request to each part, as drawing one picture makes it."""
    folder, sampler = next(iter(subject.folders.values())), subject.settings.model.sampler
    latents = list(reference.runs[0].latents[-1].shape)
    shapes = {"unet": {name: list(array.shape) for name, array in reference.points[0].items()}}
    shapes |= {
        "vae_decoder": {"latent_sample": latents},
        "vae_encoder": {"sample": [1, 3, sampler.height, sampler.width]},
    }
    return shapes | footprint.text_shapes(folder)
