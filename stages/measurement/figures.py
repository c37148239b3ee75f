"""Figures of one precision of one model, out of what was run: sizes, proof of INT8, latencies, work.

Consumes IR folders, pipelines, runs and measured seconds; produces the entries of record.json, null where a figure does
not apply. Times nothing itself; what it is like beside the reference is stages.measurement.likeness'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from stages.generation import drawing
from stages.ir import anatomy, runtime
from stages.measurement import latency, proof, tasks

INT8 = ("i8", "u8")


def sizes(folder: Path) -> dict[str, float]:
    unet = folder / "unet" / "openvino_model.xml"
    return {
        "unet_size_mb": anatomy.weights_mb(unet),
        "unet_graph_mb": anatomy.graph_mb(unet),
        "total_size_mb": anatomy.size_mb(folder),
    }


def static_figures(folder: Path, pipeline: Any, point: dict[str, np.ndarray]) -> dict[str, Any]:
    """Sizes, the operations in the IR, and what the compiled UNet says of itself once it ran with the inputs `point`.

    What the benchmark times is asked, not a copy of fixed shapes: that one has other kernels.
    """
    model = runtime.read(folder / "unet" / "openvino_model.xml")
    operations = anatomy.count_operations(model)
    drawing.predict(pipeline, point)
    executed = anatomy.executed_precisions(pipeline.unet.request)
    proven = proof.proof(model, pipeline.unet.request, point)
    return (
        sizes(folder)
        | proven
        | {
            "skipped": None,
            "int8_operations": operations["fake_quantize"],
            "executed_int8": sum(count for name, count in executed.items() if name in INT8),
            "operations": operations,
            "executed_precisions": executed,
            "effective_properties": runtime.effective_properties(pipeline.unet.request),
        }
    )


def time_figures(runs: list[tasks.Run], times: dict[str, list[float]], main_task: str) -> dict[str, Any]:
    """Latencies, of the runs that this machine drew. `image_s` is this model's own time for a picture: a refiner's
    begins with the base's latents."""
    by_task: dict[str, Any] = {task: None for task in tasks.TASKS}
    runs = [run for run in runs if run.seconds is not None]
    for task in dict.fromkeys(run.job.task for run in runs):
        mine = [run for run in runs if run.job.task == task]
        before = [run.job.start or tasks.Start({}) for run in mine]
        by_task[task] = {
            "image_s": latency.latency([run.whole_s for run in mine if run.whole_s is not None]),
            "executed_steps": before[0].steps + mine[0].steps,
            "own_steps": mine[0].steps,
        }
    own = [run.seconds for run in runs if run.job.task == main_task]
    parts = {name: latency.latency(seconds) for name, seconds in times.items()}
    return parts | {"image_s": latency.latency(own), "tasks": by_task}


def energy_figures(runs: list[tasks.Run], step: list[float] | None, main_task: str) -> dict[str, Any]:
    """`energy_j`: joules of a UNet step and of a picture of the main task, as seconds are told; null where no package
    could be read. What is stated is all that the packages took, see stages.machine.energy."""
    pictures = [run.joules for run in runs if run.job.task == main_task and run.node is None]
    if not step or None in pictures:
        return {"energy_j": None}
    return {"energy_j": {"unet_step": latency.latency(step), "picture": latency.latency(pictures)}}


def work_figures(row: dict[str, Any], peaks: dict[str, float]) -> dict[str, Any]:
    """Operations per second of a UNet step, and their share of the matrix product's at the same precision."""
    gops = 2 * row["macs"]["total"] / row["unet_step_s"]["median"] / 1e9
    mostly_int8 = row["macs"]["share_int8"] > 0.5
    return {
        "unet_gops": round(gops, 2),
        "unet_share_of_peak": round(gops / peaks["int8" if mostly_int8 else "float"], 4),
    }


def skipped(reason: str, folder: Path, like: dict[str, Any]) -> dict[str, Any]:
    """The row of a precision that could not be run here: the keys of the row `like`, sizes, and why."""
    return dict.fromkeys(like) | sizes(folder) | {"skipped": reason}


def add_speedups(rows: dict[str, dict[str, Any]], before: str, steps_paired: bool, images_paired: bool) -> None:
    """Step and image of every precision against `before`, pair by pair of their raw values if they took turns."""
    how = (("speedup_step", "unet_step_s", steps_paired), ("speedup_image", "image_s", images_paired))
    for name, row in rows.items():
        for figure, measured, paired in how:
            row[figure] = None
            if name != before and before in rows:
                ratio = latency.speedup if paired else latency.speedup_apart
                row[figure] = ratio(rows[before][measured]["raw"], row[measured]["raw"])
