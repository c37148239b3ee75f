"""Figures of one precision of one model, out of what was run: sizes, proof of INT8, latencies, work, fidelity.

Consumes IR folders, runs, measured seconds and the reference's recording; produces the entries of record.json.
Decibels and cosines are against the reference; null where a figure does not apply. Times nothing itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stages.generation import drawing
from stages.ir import anatomy, runtime
from stages.measurement import clip, curve, fidelity, latency, tasks
from stages.measurement.reference import Reference

FIDELITY = (
    "sqnr_db",
    "sqnr_by_timestep",
    "trajectory_cosine",
    "psnr_db",
    "ssim",
    "clip_score",
    "clip_floor",
    "clip_similarity",
    "worst_prompt",
)
INT8 = ("i8", "u8")


def sizes(folder: Path) -> dict[str, float]:
    unet = folder / "unet" / "openvino_model.xml"
    return {
        "unet_size_mb": anatomy.weights_mb(unet),
        "unet_graph_mb": anatomy.graph_mb(unet),
        "total_size_mb": anatomy.size_mb(folder),
    }


def static_figures(folder: Path, pipeline: Any) -> dict[str, Any]:
    """Sizes, the operations in the IR, and what the compiled UNet says of itself."""
    operations = anatomy.count_operations(runtime.read(folder / "unet" / "openvino_model.xml"))
    pipeline.unet.compile()
    executed = anatomy.executed_precisions(pipeline.unet.request)
    return sizes(folder) | {
        "skipped": None,
        "int8_operations": operations["fake_quantize"],
        "executed_int8": sum(count for name, count in executed.items() if name in INT8),
        "operations": operations,
        "executed_precisions": executed,
        "effective_properties": runtime.effective_properties(pipeline.unet.request),
    }


def time_figures(runs: list[tasks.Run], times: dict[str, list[float]], main_task: str) -> dict[str, Any]:
    """Latencies. `image_s` is this model's own time for a picture: a refiner's begins with the base's latents."""
    by_task: dict[str, Any] = {task: None for task in tasks.TASKS}
    for task in dict.fromkeys(run.job.task for run in runs):
        mine = [run for run in runs if run.job.task == task]
        before = [run.job.start or tasks.Start(None) for run in mine]
        by_task[task] = {
            "image_s": latency.latency([start.seconds + run.seconds for start, run in zip(before, mine, strict=True)]),
            "executed_steps": before[0].steps + mine[0].steps,
            "own_steps": mine[0].steps,
        }
    own = [run.seconds for run in runs if run.job.task == main_task]
    parts = {name: latency.latency(seconds) for name, seconds in times.items()}
    return parts | {"image_s": latency.latency(own), "tasks": by_task}


def work_figures(
    row: dict[str, Any], folder: Path, point: dict[str, np.ndarray], peaks: dict[str, float]
) -> dict[str, Any]:
    """Operations per second of a UNet step, and their share of the matrix product's at the same precision."""
    model = runtime.read(folder / "unet" / "openvino_model.xml")
    operations = 2 * anatomy.multiply_accumulates(model, {name: array.shape for name, array in point.items()})
    gops = operations / row["unet_step_s"]["median"] / 1e9
    executed = row["executed_precisions"]
    mostly_int8 = 2 * row["executed_int8"] > sum(executed.values())
    return {
        "unet_gops": round(gops, 2),
        "unet_share_of_peak": round(gops / peaks["int8" if mostly_int8 else "float"], 4),
    }


def fidelity_figures(reference: Reference, runs: list[tasks.Run], pipeline: Any) -> dict[str, Any]:
    """Against the reference: predictions for the same inputs, latents along free trajectories, and pictures."""
    if reference.name is None:
        return dict.fromkeys(FIDELITY)
    predictions = [drawing.predict(pipeline, point) for point in reference.points]
    cosines, pictures = [], []
    for expected, found in zip(reference.runs, reference.same_task(runs), strict=True):
        cosines += map(fidelity.cosine, expected.latents, found.latents)
        pair = np.asarray(expected.picture), np.asarray(found.picture)
        pictures.append((fidelity.psnr_db(*pair), fidelity.ssim(*pair), found.job.prompt))
    decibels = [psnr for psnr, _, _ in pictures if psnr is not None]
    worst = min(pictures, key=lambda entry: np.inf if entry[0] is None else entry[0])
    return {
        "sqnr_db": rounded(fidelity.pooled_sqnr_db(reference.predictions, predictions)),
        "sqnr_by_timestep": curve.sqnr_by_timestep(reference.points, reference.predictions, predictions),
        "trajectory_cosine": round(float(np.mean(cosines)), 6),
        "psnr_db": rounded(float(np.median(decibels)) if decibels else None),
        "ssim": rounded(float(np.median([similarity for _, similarity, _ in pictures])), 4),
        "clip_score": None,  # these three: see add_clip_figures
        "clip_floor": None,
        "clip_similarity": None,
        "worst_prompt": {"id": worst[2].id, "text": worst[2].text, "psnr_db": rounded(worst[0])},
    }


def skipped(reason: str, folder: Path, like: dict[str, Any]) -> dict[str, Any]:
    """The row of a precision that could not be run here: the keys of the row `like`, sizes, and why."""
    return dict.fromkeys(like) | sizes(folder) | {"skipped": reason}


def forget_fidelity(rows: dict[str, dict[str, Any]]) -> None:
    """Null what says nothing where the weights are random: only times, sizes and memory are left."""
    for row in rows.values():
        row.update(dict.fromkeys(FIDELITY))


def add_speedups(rows: dict[str, dict[str, Any]], before: str, paired: bool) -> None:
    """Step and image of every precision against `before`, pair by pair of their raw values if they took turns."""
    ratio = latency.speedup if paired else latency.speedup_apart
    for name, row in rows.items():
        for figure, measured in (("speedup_step", "unet_step_s"), ("speedup_image", "image_s")):
            row[figure] = None
            if name != before and before in rows:
                row[figure] = ratio(rows[before][measured]["raw"], row[measured]["raw"])


def add_clip_figures(
    rows: dict[str, dict[str, Any]], reference: Reference, runs: dict[str, list[tasks.Run]], model: clip.Clip
) -> None:
    """How well every precision's pictures fit their prompts, and how like the reference's they are, as CLIP sees it."""
    texts = model.text_features([run.job.prompt.text for run in reference.runs])
    expected = model.picture_features([run.picture for run in reference.runs])
    for name in runs:
        row = rows[name]
        found = model.picture_features([run.picture for run in reference.same_task(runs[name])])
        row["clip_score"] = rounded(fidelity.clip_score(found, texts))
        if len(texts) > 1:  # each picture with the next one's prompt
            row["clip_floor"] = rounded(fidelity.clip_score(found, np.roll(texts, -1, axis=0)))
        row["clip_similarity"] = rounded(fidelity.clip_similarity(expected, found), 4)


def rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)
