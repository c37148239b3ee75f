"""Whether another run of a benchmark agrees with the first one: each figure in the interval that the first gives it.

Consumes records of several sittings, a process each; produces a row for every figure. An interval out of one sitting's
own raw values is of that sitting's median: another process has its memory elsewhere, other clock rates and neighbours,
and all of its values are shifted together, which no resampling of the first one's tells (Kalibera and Jones, Rigorous
Benchmarking in Reasonable Time, ISMM 2013: repeat at the level at which the variation arises). Nor is a confidence
interval of a mean meant to hold the next mean: it does so 83 times in 100 (Cumming and Maillardet, Psychological
Methods 11(3), 2006). What holds the next sitting is a prediction interval over sittings. Runs nothing.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.measurement.latency import RESAMPLES
from stages.report.intervals import student

ENOUGH = 0.9  # 18 of 20
LEAST = 5  # sittings: with fewer, intervals get so wide that they hold anything
TIMES = ("text_encoders_s", "unet_step_s", "vae_decode_s")
SPEEDS = ("speedup_step", "speedup_image")
COLD = ("first_step", "picture_of_two_steps")
SINGLE = ("load_s", "peak_rss_mb", "unet_size_mb", "total_size_mb", "sqnr_db", "psnr_db", "ssim", "trajectory_cosine",
          "clip_score", "clip_similarity")  # fmt: skip


@dataclass(frozen=True)
class Figure:
    """What one sitting found, and the interval that its own raw values give it, where it has such."""

    value: float
    own: tuple[float, float] | None = None


def figures(record: dict[str, Any]) -> dict[str, Figure]:
    """`{"int8 unet_step_s": Figure(0.0055, (0.0054, 0.0056)), ...}` of all precisions, as far as there are such."""
    found = {f"peak_gops {name}": Figure(value) for name, value in record["peak_gops"].items()}
    for precision, row in record["precisions"].items():
        found |= {f"{precision} {name}": figure for name, figure in of_row(row).items()}
    return found


def of_row(row: dict[str, Any]) -> dict[str, Figure]:
    """Figures of one precision; nothing of one that was not run."""
    if row["skipped"]:
        return {}
    times = {name: row[name] for name in TIMES}
    times |= {f"{task} image_s": found["image_s"] for task, found in row["tasks"].items() if found}
    single = {name: row[name] for name in SINGLE} | {"share_int8": row["macs"]["share_int8"]}
    single |= {f"cold {name}": row["cold_s"][name] for name in COLD}
    found = {name: Figure(value["median"], of_median(value["raw"])) for name, value in times.items()}
    found |= {name: Figure(row[name]["ratio"], (row[name]["low"], row[name]["high"])) for name in SPEEDS if row[name]}
    return found | {name: Figure(value) for name, value in single.items() if value is not None}


def of_median(raw: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of the median of one sitting's values: the percentile bootstrap, as a speed-up has it."""
    values = np.asarray(raw, dtype=float)
    picks = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[picks], axis=1), [2.5, 97.5])
    return float(low), float(high)


def next_one(values: Sequence[float]) -> tuple[float, float]:
    """The interval that holds one more value with 95 % probability: mean ± t s √(1 + 1/n), t of n - 1 degrees.

    Of what is above 0 it is that of the logarithms: machines are slower by a factor. Source: Hahn and Meeker,
    Statistical Intervals, 1991, chapter 4. `next_one([1, 1, 1, 1, 1])` is (1, 1): what is the same in every sitting
    must be so in the next one.
    """
    if min(values) == max(values):
        return values[0], values[0]
    if min(values) > 0:
        low, high = _next_one([math.log(value) for value in values])
        return math.exp(low), math.exp(high)
    return _next_one(values)


def _next_one(values: Sequence[float]) -> tuple[float, float]:
    middle, count = statistics.mean(values), len(values)
    half = student(count - 1) * statistics.stdev(values) * (1 + 1 / count) ** 0.5
    return middle - half, middle + half


def compared(first: Sequence[dict[str, Any]], second: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for every figure of the sittings `first` that the run `second` has too."""
    if len(first) < LEAST:
        raise ValueError(f"the first run must have at least {LEAST} sittings, got {len(first)}")
    runs, found = [figures(record) for record in first], figures(second)
    names = [name for name in runs[0] if name in found and all(name in run for run in runs)]
    return [row(name, [run[name] for run in runs], found[name].value) for name in names]


def row(name: str, first: list[Figure], second: float) -> dict[str, Any]:
    """`own_within`: by the interval that the last of the first sittings gives itself, None where it gives none."""
    values, own = [figure.value for figure in first], first[-1].own
    low, high = next_one(values)
    return {
        "name": name, "first": values, "low": low, "high": high, "second": second, "within": low <= second <= high,
        "varies": len(set(values)) > 1, "own_within": None if own is None else own[0] <= second <= own[1],
    }  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Counts [within, of], of all figures, of those that vary from sitting to sitting and of those that do not, and by
    one sitting's own intervals; `half_width`: the median of the former's, as a share of the figure."""
    varying = [one for one in rows if one["varies"]]
    own = [one["own_within"] for one in rows if one["own_within"] is not None]
    widths = [(one["high"] - one["low"]) / 2 / abs(statistics.mean(one["first"])) for one in varying]
    return {
        "all": count(one["within"] for one in rows),
        "varying": count(one["within"] for one in varying),
        "same": count(one["within"] for one in rows if not one["varies"]),
        "own": count(own),
        "half_width": statistics.median(widths) if widths else 0.0,
    }


def count(answers: Any) -> list[int]:
    """[how many are true, how many there are]"""
    found = list(answers)
    return [sum(found), len(found)]


def agrees(found: dict[str, Any]) -> bool:
    """Whether nine of ten do, both of all figures and of those that vary: the others prove nothing of times."""
    return all(within >= ENOUGH * of for within, of in (found["all"], found["varying"]))
