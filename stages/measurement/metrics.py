"""The short form of a benchmark: the figures that a person compares, under the same names for every scheme.

Consumes a record; produces the contents of metrics.json, keyed by role (the quantized model's figures, and FP16's with
`_fp16` behind the name), so that two schemes, machines or commits line up in `dvc metrics diff`. The scheme is a value.
Null where a figure does not apply. Measures nothing.
"""

from __future__ import annotations

from typing import Any

from stages.files.layout import FP16
from stages.measurement import curve

Row = dict[str, Any]  # of a record: the figures of one precision
BOTH = ("size_mb", "step_ms", "image_s", "memory_gb", "sqnr_db", "psnr_db", "ssim", "clip_score", "fid")
# Of the quantized model alone, or of it against FP16 or the reference:
ALONE = ("speed_step", "sqnr_worst_quarter_db", "clip_drop_percent", "clip_similarity", "fid_rise", "share_macs_int8")


def metrics(record: dict[str, Any]) -> dict[str, Any]:
    """`{"scheme": "int8", "size_mb": 1.68, "size_mb_fp16": 3.28, "speed_step": 0.93, ...}`: the same keys always."""
    rows, scheme = record["precisions"], record["quantization"]
    after, before = figures(rows.get(scheme) or {}), figures(rows.get(FP16) or {})
    found: dict[str, Any] = {"scheme": scheme}
    for name in BOTH:
        found |= {name: after[name], f"{name}_fp16": before[name]}
    return found | {name: after[name] for name in ALONE}


def figures(row: Row) -> dict[str, float | None]:
    """One precision's figures by the names of the short form, rounded to what a reader needs."""
    return {
        "size_mb": rounded(row.get("unet_size_mb"), 2),
        "step_ms": rounded(median(row, "unet_step_s", 1000), 2),
        "image_s": rounded(median(row, "image_s"), 4),
        "memory_gb": rounded(row.get("peak_rss_mb"), 3, 1 / 1000),
        "sqnr_db": row.get("sqnr_db"),
        "psnr_db": row.get("psnr_db"),
        "ssim": row.get("ssim"),
        "clip_score": row.get("clip_score"),
        "fid": rounded((row.get("fid") or {}).get("value"), 3),
        "speed_step": rounded((row.get("speedup_step") or {}).get("ratio"), 3),
        "sqnr_worst_quarter_db": curve.worst_quarter_db(row.get("sqnr_by_quarter")),
        "clip_drop_percent": row.get("clip_drop_percent"),
        "clip_similarity": row.get("clip_similarity"),
        "fid_rise": rounded((row.get("fid_rise") or {}).get("value"), 3),
        "share_macs_int8": rounded((row.get("macs") or {}).get("share_int8"), 3),
    }


def median(row: Row, name: str, scale: float = 1.0) -> float | None:
    value = (row.get(name) or {}).get("median")
    return None if value is None else scale * value


def rounded(value: float | None, digits: int, scale: float = 1.0) -> float | None:
    return None if value is None else round(scale * value, digits)
