"""Reports of two sittings, as benchmarks would leave them; nothing in them was measured.

`record(...)` is a record of one model with raw values that scatter by 1 %, other ones for another `sitting`;
`written(folder, ...)` puts records where benchmarks do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

PROMPTS = 8
MACHINE = {
    "id": "0123456789ab", "cpu": "An Ordinary Processor", "cpu_stepping": "6 1 1", "cores": 2, "memory_gb": 8,
    "instruction_sets": ["avx2"], "runtimes": {"openvino": "2026.4.1"},
}  # fmt: skip


def record(
    *, sitting: int = 1, step: float = 1.0, fp16: float = 1.0, turns: int = 40, scheme: str = "int8",
    busy: bool = False, psnr_db: float = 42.0, size_mb: float = 1.7285, prompts: int = PROMPTS, **changes: Any,
) -> dict[str, Any]:  # fmt: skip
    """`step`, `fp16`: times as long as usual; `changes` go into the record as they are."""
    random = np.random.default_rng(sitting)

    def row(usual: float, times: float) -> dict[str, Any]:
        return {
            "skipped": None, "unet_size_mb": size_mb, "peak_rss_mb": 213.5, "sqnr_db": 36.4, "psnr_db": psnr_db,
            "ssim": 0.99, "clip_score": 94.4,
            "unet_step_s": latency(random, 0.005 * usual * times, turns),
            "image_s": latency(random, 0.15 * usual * times, turns),
            "per_prompt": [
                {"id": f"p{n}", "text": f"prompt {n}", "sqnr_db": 36.0 + 0.1 * n, "psnr_db": psnr_db + n, "ssim": 0.99,
                 "clip_score": 94.0 + 0.1 * n}
                for n in range(prompts)
            ],
        }  # fmt: skip

    return {
        "machine": MACHINE["id"], "quantization": scheme, "steps": 25, "interleaved": True,
        "noise": {"flagged": busy}, "clip_model": {"title": "mini-CLIP"},
        "precisions": {"fp16": row(0.8, fp16), scheme: row(1.0, step)},
    } | changes  # fmt: skip


def latency(random: np.random.Generator, middle: float, turns: int) -> dict[str, Any]:
    raw = (middle * np.exp(random.normal(0, 0.01, turns))).tolist()
    return {"median": float(np.median(raw)), "n": turns, "raw": raw}


def written(reports: Path, machine: dict[str, Any] | None = None, **records: dict[str, Any]) -> Path:
    """`mini_vega=record()` in reports/benchmark/mini-vega."""
    for name, content in records.items():
        file = reports / "benchmark" / name.replace("_", "-") / "record.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    (reports / "machine.json").write_text(json.dumps(machine or MACHINE))
    return reports
