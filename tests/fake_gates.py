"""Records with the figures that gates ask for, as a benchmark would leave them; nothing in them was measured.

`record(...)` is a whole record whose INT8 row passes conf/gates/default.yaml; its arguments break one gate each.
`judged_reports(folder)` writes them into the reports of tests.fake_reports, which then serve as the working directory.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.fake_reports import fake_reports

TIMESTEPS = [999.0, 799.0, 599.0, 400.0, 200.0, 1.0]  # two in the first quarter of the thousand, two in the last
SPREAD = np.linspace(-1, 1, 8)  # of eight prompts around their middle


def spread(prompts: int) -> np.ndarray:
    return np.resize(SPREAD, prompts)


def record(
    *,
    prompts: int = 8,
    level_db: float = 35.0,
    by_timestep: Sequence[float] = (0, 0, 0, 0, 0, 0),
    clip_score: float = 94.0,
    clip_similarity: float = 0.998,
    ssim: float = 0.99,
    speed: float = 1.3,
    share: float = 0.93,
    hint: str = "<Type: 'float32'>",
    scheme: str = "int8",
    **changes: Any,
) -> dict[str, Any]:
    """`by_timestep`: decibels added to those of each of TIMESTEPS. `changes` go into the INT8 row as they are."""
    samples = level_db + 0.5 * spread(prompts)[:, None] + np.array(by_timestep)[None]
    quarters = [pooled(samples[:, 4:]), pooled(samples[:, 3:4]), pooled(samples[:, 2:3]), pooled(samples[:, :2])]
    entries = [
        {
            "id": f"p{n}", "text": f"prompt {n}", "psnr_db": 38.0 + x, "ssim": ssim + 0.002 * x,
            "clip_score": clip_score + 0.2 * x + n % 3, "clip_score_reference": 94.2 + n % 3,
            "clip_similarity": clip_similarity + 0.001 * x,
        }
        for n, x in enumerate(spread(prompts))
    ]  # fmt: skip
    row = {
        "skipped": None, "sqnr_db": round(pooled(samples), 2), "sqnr_by_sample": samples.ravel().round(2).tolist(),
        "sqnr_by_timestep": [[t, round(pooled(samples[:, n]), 2)] for n, t in enumerate(TIMESTEPS)],
        "sqnr_by_quarter": [round(value, 2) for value in quarters], "per_prompt": entries,
        "speedup_step": {"ratio": speed, "low": speed - 0.05, "high": speed + 0.05}, "unet_step_s": {"n": 20},
        "macs": {"total": 100_000, "int8": round(100_000 * share), "share_int8": share},
    }  # fmt: skip
    before = {"skipped": None, "effective_properties": {"INFERENCE_PRECISION_HINT": hint}}
    return {
        "random_weights": False, "reference": "fp16 in float32", "clip_model": {"title": "mini-CLIP", "licence": "x"},
        "noise": {"flagged": False}, "quantization": scheme, "precisions": {"fp16": before, scheme: row | changes},
    }  # fmt: skip


def pooled(decibels: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean(10 ** (-decibels / 10))))


def exact(prompts: int = 8) -> dict[str, Any]:
    """Figures of a scheme whose predictions and pictures are the reference's own."""
    same = {"psnr_db": None, "ssim": 1.0, "clip_score": 94.0, "clip_score_reference": 94.0, "clip_similarity": 1.0}
    return {
        "sqnr_db": None, "sqnr_by_sample": [None] * prompts * len(TIMESTEPS), "sqnr_by_quarter": [None] * 4,
        "per_prompt": [{"id": f"p{n}", "text": "x", **same} for n in range(prompts)],
    }  # fmt: skip


def judged_reports(folder: Path, models: tuple[str, ...] = ("mini-vega",), **broken: Any) -> Path:
    """Reports of these models that pass every gate but those that `broken` breaks, as `record` takes it."""
    fake_reports(folder, models)
    made = record(**broken)
    for key in models:
        file = folder / f"reports/benchmark/{key}/record.json"
        found = json.loads(file.read_text())
        for name, row in made["precisions"].items():
            timed = {"unet_step_s": found["precisions"][name]["unet_step_s"] | {"n": 20}}
            found["precisions"][name] |= row | timed
        found |= {name: made[name] for name in ("random_weights", "reference", "noise")}
        file.write_text(json.dumps(found))
    return folder
