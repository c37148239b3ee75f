"""Stage `benchmark`: figures and pictures of one model, FP16 and quantized side by side, on this machine.

Consumes both IR folders (for a refiner its base's FP16 one too), evaluation prompts, the CLIP model that scores
pictures and the machine's description; produces reports/benchmark/<model>/metrics.json and images/. Precisions run in
turns; fidelity is measured against the FP16 IR computed in float32. Where memory is short, parts are loaded in turn,
precisions run one after the other, and one that does not fit at all is left out with the reason. Compares no models
with each other: `compare` does.
"""

from __future__ import annotations

import gc
import json
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from stages.lib import (
    budget,
    clip,
    config,
    figures,
    fitting,
    footprint,
    latency,
    manifest,
    peak,
    pipelines,
    prompts,
    recorder,
    schemes,
    sizes,
    tasks,
    usage,
)
from stages.lib import ir as irs
from stages.lib import machine as this_machine
from stages.lib.residency import Room

READS = ("model.{model}", "prompts", "benchmark", "device", "quantization.name")
REPORTS = Path("reports/benchmark")
MACHINE = Path("reports/machine.json")
IR = Path("artifacts/ir")
SCORER = Path("artifacts/scorer")
BEFORE = "fp16"
POINTS = 6  # UNet inputs kept of each prompt's trajectory
SHORT_S = 0.6  # short calls are repeated until this much is measured
CACHED_S = 0.25  # shorter calls are of models so small that caches decide


@dataclass(frozen=True)
class Subject:
    """What is measured: names, settings, and the IR folder of each precision, the one compared against first.

    `skipped`: why a precision is not among the folders; `room`: the memory that all of it shares.
    """

    key: str
    settings: Any
    folders: dict[str, Path]
    skipped: dict[str, str]
    prompts: list[Any]
    steps: int
    room: Room
    first_stage: tasks.FirstStage | None = None

    @property
    def main_task(self) -> str:
        return "two-stage" if self.settings.model.role == "refiner" else "text-to-image"

    @property
    def asked(self) -> budget.Request:
        return budget.request(self.settings.model.sampler, self.settings.device)

    @property
    def all_tasks(self) -> list[str]:
        """The model's own, the main one first; where two-stage is among them, both of its ways."""
        own = set(self.settings.model.tasks) | {self.main_task}
        own |= {"two-stage-sdedit"} if "two-stage" in own else set()
        return sorted(own & set(tasks.TASKS), key=lambda task: (task != self.main_task, tasks.TASKS.index(task)))


def benchmark(settings: Any) -> dict[str, Any]:
    """Measure one model; returns what metrics.json holds."""
    from tqdm import tqdm

    key, precisions = settings.model_key, [BEFORE, settings.quantization.name]
    machine = require_machine()
    folders = {precision: IR / key / precision for precision in precisions}
    digests = {name: verified(folder, name, key) for name, folder in folders.items()}
    random_weights = bool(manifest.read(folders[BEFORE], rerun=f"export@{key}")["facts"].get("random_weights"))
    if settings.model.role == "refiner":
        digests["base"] = verified(IR / settings.model.base / BEFORE, BEFORE, settings.model.base)
    scorer = manifest.verify(SCORER, rerun="scorer")
    digests["scorer"] = manifest.digest(SCORER)
    evaluation = prompts.load_prompts(settings.prompts, "evaluation", settings.benchmark.prompts)
    fits, skipped = fitting.which(folders, budget.request(settings.model.sampler, settings.device))
    subject = Subject(key, settings, fits, skipped, evaluation, steps_of(settings), Room(budget.room_gb()))
    total = len(evaluation) * (1 + len(fits) * len(subject.all_tasks)) + 2 * len(fits) + 1
    with tqdm(total=total, desc=f"benchmark {key}", unit="run", leave=False, disable=None) as bar:
        subject = with_first_stage(subject)
        metrics, runs, reference = measure(subject, bar.update)
        if random_weights:
            figures.forget_fidelity(metrics["precisions"])
        elif scorer["facts"] and reference.name:
            figures.add_clip_figures(metrics["precisions"], reference, runs, clip.load(SCORER))
        bar.update()
    about = {"machine": machine["id"], "random_weights": random_weights, "clip_model": scorer["facts"] or None}
    metrics = about | metrics | {"inputs": digests}
    write(REPORTS / key, subject, metrics, runs)
    return metrics


def measure(subject: Subject, tick: Any) -> tuple[dict[str, Any], dict[str, list[tasks.Run]], figures.Reference]:
    """All figures but CLIP's, the runs of every precision, whose pictures are kept, and what they are compared with."""
    reference = reference_runs(subject, tick)
    groups = fitting.groups(subject.folders, subject.asked, subject.room.limit_gb)
    rows, runs, costs = {}, {}, footprints(subject, request_shapes(subject, reference), tick)
    with latency.disturbance(this_machine.load_average()) as disturbance:
        peaks = peak.peak_gops(subject.settings.device)
        for group in groups:
            loaded = {name: load(subject, subject.folders[name]) for name in group}
            runs |= interleaved_runs(subject, loaded, reference, tick)
            times = part_times(subject, loaded, reference)
            for name, pipes in loaded.items():
                rows[name] = row(subject, name, pipes[subject.main_task], reference, runs[name], times[name], peaks)
                rows[name] |= costs[name]
                tick()
            del loaded
            let_go(subject)
    figures.add_speedups(rows, BEFORE, paired=len(groups) == 1)
    rows |= {
        name: figures.skipped(reason, IR / subject.key / name, rows[next(iter(rows))])
        for name, reason in subject.skipped.items()
    }
    about = header(subject, runs, disturbance, peaks)
    about |= {"reference": reference.name, "interleaved": len(groups) == 1}
    return about | {"precisions": {name: rows[name] for name in sorted(rows, key=order(subject))}}, runs, reference


def row(
    subject: Subject,
    name: str,
    pipeline: Any,
    reference: figures.Reference,
    runs: list[tasks.Run],
    times: dict[str, list[float]],
    peaks: dict[str, float],
) -> dict[str, Any]:
    """The figures of one precision but those that need another one."""
    folder = subject.folders[name]
    found = figures.static_figures(folder, pipeline) | figures.time_figures(runs, times, subject.main_task)
    found |= figures.work_figures(found, folder, reference.points[0], peaks)
    return found | figures.fidelity_figures(reference, runs, pipeline)


def order(subject: Subject) -> Any:
    return [BEFORE, subject.settings.quantization.name].index


# --- before measuring ---------------------------------------------------------------------------------------------


def require_machine() -> dict[str, Any]:
    """The description in reports/machine.json, which must be this machine's."""
    if not MACHINE.is_file():
        raise FileNotFoundError(f"{MACHINE} is missing: run 'dvc repro machine' first")
    described, found = json.loads(MACHINE.read_text()), this_machine.describe()
    if described.get("id") != found["id"]:
        raise ValueError(
            f"{MACHINE} describes machine {described.get('id')}, this one is {found['id']}: run 'dvc repro machine'"
        )
    return found


def verified(folder: Path, precision: str, key: str) -> str:
    """The digest of an IR folder whose files are what its manifest says."""
    manifest.verify(folder, rerun=f"export@{key}" if precision == BEFORE else f"quantize@{key}")
    return manifest.digest(folder)


def steps_of(settings: Any) -> int:
    return settings.benchmark.steps or settings.model.sampler.steps


def with_first_stage(subject: Subject) -> Subject:
    """A refiner's subject with what its base hands over, drawn by the base's FP16 IR with the refiner's settings."""
    model, settings = subject.settings.model, subject.settings
    if model.role != "refiner":
        return subject
    source = IR / model.base / BEFORE
    unet = budget.recording_unet("auto", sizes.of_ir(source), subject.asked)
    with manifest.unfinished(IR / subject.key / "base", manifest.digest(source)) as kept:
        folder = source if unet == budget.FP16 else schemes.light_pipeline(source, kept / "light")
        base = pipelines.load(folder, "text-to-image", model.sampler, settings.device, room=subject.room)
        pipelines.generate(base, subject.prompts[0].text, model.sampler, settings.benchmark.seed, steps=2)  # warm-up
        how = model.sampler, subject.steps, settings.benchmark, subject.room.clock
        stage = tasks.first_stage(base, subject.prompts, *how)
        del base
        let_go(subject)
    return replace(subject, first_stage=stage)


def load(subject: Subject, folder: Path, *, reference: bool = False) -> dict[str, Any]:
    """Pipelines by task on one set of compiled parts."""
    settings = subject.settings
    how = {"reference": reference, "room": subject.room}
    main = pipelines.load(folder, subject.main_task, settings.model.sampler, settings.device, **how)
    return {subject.main_task: main} | {
        task: pipelines.also(main, "image-to-image") for task in subject.all_tasks if task != subject.main_task
    }


def let_go(subject: Subject) -> None:
    """Of everything that is compiled: pipelines hold on to themselves until they are collected."""
    subject.room.clear()
    gc.collect()


def jobs(subject: Subject, task: str, reference: figures.Reference | None = None) -> list[tasks.Job]:
    """One per prompt. Image-to-image starts from the base's pictures: a base model's own are the reference's."""
    starts = None
    if subject.first_stage is not None:
        starts = subject.first_stage.starts(task)
    elif task == "image-to-image":
        starts = [tasks.Start(run.picture) for run in reference.runs]
    return tasks.jobs(task, subject.prompts, starts, subject.settings.benchmark)


def reference_runs(subject: Subject, tick: Any) -> figures.Reference:
    """The main task, recorded, and the prediction at every recorded point: FP16 in float32 where memory holds it."""
    precision, exact, name = fitting.reference(subject.folders, subject.asked, BEFORE)
    pipeline = load(subject, subject.folders[precision], reference=exact)[subject.main_task]
    runs, points = [], []
    for job in jobs(subject, subject.main_task):
        with recorder.recording(pipeline, lambda step: True) as recorded:
            runs.append(run(subject, pipeline, job, name or precision))
        points += spread(recorded, POINTS)
        tick()
    predictions = [pipelines.predict(pipeline, point) for point in points]
    del pipeline
    let_go(subject)
    return figures.Reference(name, runs, points, predictions)


def footprints(subject: Subject, shapes: footprint.Shapes, tick: Any) -> dict[str, dict[str, Any]]:
    """Load time and peak memory of each precision's parts, side by side where memory holds them so."""
    found = {}
    for name, folder in subject.folders.items():
        in_turn = not fitting.together(folder, subject.asked)
        found[name] = footprint.measure(folder, shapes, config.as_dict(subject.settings.device), in_turn)
        found[name]["parts_in_memory"] = "in turn" if in_turn else "together"
        tick()
    return found


def spread(items: list[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly spread, ends included: `spread([1, 2, 3, 4, 5], 3)` is [1, 3, 5]."""
    positions = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[position] for position in positions]


def request_shapes(subject: Subject, reference: figures.Reference) -> footprint.Shapes:
    """Shapes of one request to each part, as drawing one picture makes it."""
    folder, size = next(iter(subject.folders.values())), subject.settings.model.sampler.size
    latents = list(reference.runs[0].latents[-1].shape)
    shapes = {"unet": {name: list(array.shape) for name, array in reference.points[0].items()}}
    shapes |= {"vae_decoder": {"latent_sample": latents}, "vae_encoder": {"sample": [1, 3, size, size]}}
    for part, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        if (folder / part).is_dir():
            tokens = json.loads((folder / tokenizer / "tokenizer_config.json").read_text())["model_max_length"]
            shapes[part] = {"input_ids": [1, tokens]}
    return shapes


# --- measuring ----------------------------------------------------------------------------------------------------


def run(subject: Subject, pipeline: Any, job: tasks.Job, precision: str) -> tasks.Run:
    result = tasks.run(pipeline, job, subject.settings.model.sampler, subject.steps, subject.room.clock)
    tasks.require_picture(result, subject.key, precision)
    return result


def interleaved_runs(
    subject: Subject, loaded: dict[str, dict[str, Any]], reference: figures.Reference, tick: Any
) -> dict[str, list[tasks.Run]]:
    """Every task and prompt by every precision in turn, after warm-up."""
    runs: dict[str, list[tasks.Run]] = defaultdict(list)
    for task in subject.all_tasks:
        todo = jobs(subject, task, reference)
        warmup = subject.settings.benchmark.warmup if task == subject.main_task else 1
        for job in todo[:1] * warmup:
            for name, pipes in loaded.items():
                run(subject, pipes[task], job, name)
        for job in todo:
            for name, pipes in loaded.items():
                runs[name].append(run(subject, pipes[task], job, name))
                tick()
    return dict(runs)


def part_times(
    subject: Subject, loaded: dict[str, dict[str, Any]], reference: figures.Reference
) -> dict[str, dict[str, list[float]]]:
    """Seconds of text encoders, one UNet step and VAE decode, each measured in turns of the precisions."""
    settings, point = subject.settings.benchmark, reference.points[len(reference.points) // 2]
    sampler, text = subject.settings.model.sampler, subject.prompts[0].text
    latents = torch_tensor(reference.runs[0].latents[-1])
    parts = {
        "text_encoders_s": lambda pipeline: pipelines.encode_prompt(pipeline, text, sampler),
        "unet_step_s": lambda pipeline: pipelines.predict(pipeline, point),
        "vae_decode_s": lambda pipeline: pipelines.decode(pipeline, latents),
    }
    times: dict[str, dict[str, list[float]]] = {name: {} for name in loaded}
    for part, call in parts.items():
        calls = {
            name: lambda call=call, pipeline=pipes[subject.main_task]: call(pipeline) for name, pipes in loaded.items()
        }
        counts = {"repetitions": settings.repetitions, "warmup": settings.warmup}
        how = {"at_least_s": SHORT_S, "prime_below_s": CACHED_S, "clock": subject.room.clock}
        seconds = latency.interleaved(calls, **counts, **how)
        for name, values in seconds.items():
            times[name][part] = values
    return times


def torch_tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)


# --- results ------------------------------------------------------------------------------------------------------


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
        "size_px": model.sampler.size,
        "steps": subject.steps,
        "guidance": model.sampler.guidance,
        "scheduler": model.sampler.scheduler,
        "executed_steps": main.steps,
        "quantization": settings.quantization.name,
        "decode": "tiles" if subject.asked.tiles else "whole",
        "settings": {name: config.as_dict(getattr(settings, name)) for name in ("benchmark", "device", "prompts")},
        "peak_gops": peaks,
        "noise": disturbance,
    }


def write(target: Path, subject: Subject, metrics: dict[str, Any], runs: dict[str, list[tasks.Run]]) -> None:
    """Pictures with their list first, then the figures: whoever finds metrics.json finds the pictures too."""
    with manifest.whole(target / "images") as folder:
        entries = [save(folder, subject, run, name) for name, mine in runs.items() for run in mine]
        entries += base_pictures(folder, subject)
        (folder / "images.json").write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n")
    manifest.write_text(target / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")


def save(folder: Path, subject: Subject, run: tasks.Run, precision: str) -> dict[str, Any]:
    start = run.job.start or tasks.Start(None)
    entry = describe(subject, subject.key, precision, run.job.task, run.job.prompt, run.job.seed)
    run.picture.save(folder / entry["file"])
    return entry | {"executed_steps": start.steps + run.steps, "seconds": round(start.seconds + run.seconds, 4)}


def base_pictures(folder: Path, subject: Subject) -> list[dict[str, Any]]:
    """What the base alone makes of the same prompts and total steps, to stand beside the two-stage pictures."""
    entries = []
    for n, start in enumerate(subject.first_stage.pictures if subject.first_stage else []):
        seed = subject.settings.benchmark.seed + n
        base = subject.settings.model.base
        entry = describe(subject, base, BEFORE, "text-to-image", subject.prompts[n], seed)
        start.image.save(folder / entry["file"])
        entries.append(entry | {"executed_steps": start.steps, "seconds": round(start.seconds, 4)})
    return entries


def describe(subject: Subject, model: str, precision: str, task: str, prompt: Any, seed: int) -> dict[str, Any]:
    return {
        "file": f"{task}-{precision}-{prompt.id}.png",
        "model": model,
        "precision": precision,
        "task": task,
        "prompt": prompt.text,
        "prompt_id": prompt.id,
        "seed": seed,
        "size": subject.settings.model.sampler.size,
    }


def closing_line(metrics: dict[str, Any]) -> str:
    row = metrics["precisions"][metrics["quantization"]]
    step, image = row["speedup_step"], row["speedup_image"]
    busy = "; the machine was busy, take the times with care" if metrics["noise"]["flagged"] else ""
    fidelity = f"noise prediction {row['sqnr_db']} dB, pictures {row['psnr_db']} dB"
    if metrics["random_weights"]:
        fidelity = "the weights are random, nothing else means anything"
    return (
        f"{metrics['model']} {metrics['quantization']}: {step['ratio']:.2f}x ({step['low']:.2f} to "
        f"{step['high']:.2f}) the speed of fp16 in a UNet step, {image['ratio']:.2f}x in an image; {fidelity}{busy}"
    )


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, overrides = config.arguments("benchmark", argv)
        settings = config.load(READS, model, overrides)
        facts = {"size_px": settings.model.sampler.size, "steps": steps_of(settings)}
        with usage.recorded("benchmark", model, need(settings), REPORTS / model, **facts):
            metrics = benchmark(settings)
        print(closing_line(metrics))


def need(settings: Any) -> budget.Need:
    folders = [IR / settings.model_key / name for name in (BEFORE, settings.quantization.name)]
    for folder in folders:
        rerun = "export" if folder.name == BEFORE else "quantize"
        manifest.read(folder, rerun=f"{rerun}@{settings.model_key}")
    asked = budget.request(settings.model.sampler, settings.device)
    pictures = settings.benchmark.prompts * len(settings.model.tasks) + settings.benchmark.warmup
    points = settings.benchmark.repetitions + POINTS * settings.benchmark.prompts
    stored = tuple(map(irs.stored, folders))
    return budget.benchmark(sizes.of_ir(folders[0]), asked, stored, pictures, steps_of(settings), points)


if __name__ == "__main__":
    main()
