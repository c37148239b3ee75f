"""Rows of a comparison of schemes: what one IR is measured as, and flat rows of figures with the same keys for all.

Consumes schemes with their IR folders, the device, and the record of a sitting; produces precisions by the names of
their rows, and the rows of figures.json, null where a figure does not apply. Measures nothing.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.files import layout
from stages.machine import usage
from stages.measurement import curve, metrics
from stages.measurement.subject import Precision

if TYPE_CHECKING:
    from stages.settings.schema import Device, Quantization

ABOUT = ("name", "scheme", "method", "dynamic_group", "ir", "key", "quantize_s", "skipped")  # of a row, before figures
DYNAMIC_GROUPS = (0, 32, 128)  # activations that share a scale as the CPU plugin quantizes them in a run; 0: none is


@dataclass(frozen=True)
class Scheme:
    """A scheme of conf/quantization, where its IR is or will be, and whether it is; or why there is none."""

    name: str
    settings: Quantization | None
    folder: Path | None = None
    key: str | None = None
    made: bool = False
    reason: str | None = None


def precisions(model: str, schemes: list[Scheme], device: Device) -> dict[str, Precision]:
    """FP16, then every scheme that has an IR, by the names of their rows."""
    found = {layout.FP16: Precision(layout.ir(model, layout.FP16), device)}
    for scheme in schemes:
        found |= measured_as(scheme, device)
    return found


def measured_as(scheme: Scheme, device: Device) -> dict[str, Precision]:
    """One row, `int8`; of INT8 weights alone `int8-weights-dynamic-off`, `-32`, `-128`, unless the device says which.

    What becomes of activations is the device's to decide there, and half of the story.
    """
    if not scheme.made:
        return {}
    weights_alone = scheme.settings.scheme == "weights_only" and str(scheme.settings.weights).startswith("int8")
    if not weights_alone or device.dynamic_quantization_group_size >= 0:
        return {scheme.name: Precision(scheme.folder, device)}
    return {
        f"{scheme.name}-dynamic-{size or 'off'}": Precision(scheme.folder, _grouped(device, size))
        for size in DYNAMIC_GROUPS
    }


def table(
    model: str, schemes: list[Scheme], device: Device, record: dict[str, Any], reasons: dict[str, str]
) -> list[dict[str, Any]]:
    """A row for FP16 and for everything that a scheme is measured as, the largest on disk first.

    `reasons`: why precisions were left out, by row. A scheme without an IR is a row with its own reason.
    """
    blank = dict.fromkeys(ABOUT)
    found = [blank | {"name": layout.FP16, "ir": str(layout.ir(model, layout.FP16))}]
    for scheme in schemes:
        own = blank | {"scheme": scheme.name, "method": scheme.settings and scheme.settings.scheme, "key": scheme.key}
        if not scheme.made:
            found.append(own | {"name": scheme.name, "skipped": scheme.reason})
        own |= {"ir": str(scheme.folder), "quantize_s": quantize_s(model, scheme)}
        for name, one in measured_as(scheme, device).items():
            group = one.device.dynamic_quantization_group_size
            found.append(own | {"name": name, "dynamic_group": group if group >= 0 else None})
    return sorted((_filled(row, record, reasons) for row in found), key=lambda row: -(row["size_mb"] or 0))


def quantize_s(model: str, scheme: Scheme) -> float | None:
    """Seconds that this very IR took to make, by the comparison or by the stage `quantize`."""
    stages = (f"quantize-{scheme.name}", "quantize") if scheme.made else ()
    found = [usage.taken_s(stage, model, key=scheme.key) for stage in stages]
    return next((seconds for seconds in found if seconds is not None), None)


def figures(row: metrics.Row) -> dict[str, Any]:
    """The short form of one precision's entry in a record, which may be empty.

    `equals_reference`: predictions are the reference's own, so that decibels would be infinite.
    """
    speed = row.get("speedup_step") or {}
    return {
        "step_ms": metrics.rounded(metrics.median(row, "unet_step_s", 1000), 3),
        "speed_step": speed.get("ratio"),
        "speed_step_low": speed.get("low"),
        "speed_step_high": speed.get("high"),
        "size_mb": metrics.rounded(row.get("unet_size_mb"), 3),
        "sqnr_db": row.get("sqnr_db"),
        "equals_reference": row.get("sqnr_db") is None and row.get("ssim") is not None,
        "sqnr_worst_quarter_db": curve.worst_quarter_db(row.get("sqnr_by_quarter")),
        "psnr_db": row.get("psnr_db"),
        "ssim": row.get("ssim"),
        "clip_score": row.get("clip_score"),
        "clip_similarity": row.get("clip_similarity"),
        "share_macs_int8": (row.get("macs") or {}).get("share_int8"),
    }


def _filled(row: dict[str, Any], record: dict[str, Any], reasons: dict[str, str]) -> dict[str, Any]:
    measured = record["precisions"].get(row["name"]) or {}
    skipped = row["skipped"] or reasons.get(row["name"]) or measured.get("skipped")
    return row | {"skipped": skipped} | figures(measured)


def _grouped(device: Device, size: int) -> Device:
    own = copy.copy(device)
    own.dynamic_quantization_group_size = size
    return own
