"""Fidelity along the schedule: where between noise and picture a quantized UNet is least exact, as a curve.

Consumes timesteps and noise predictions, or a record that holds the curves; produces decibels by timestep, and a CSV
that DVC draws (`dvc plots show`, `dvc plots diff`).
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.files.layout import FP16
from stages.measurement import fidelity
from stages.measurement.stored import Arrays, Looks
from stages.settings.schema import QUARTERS, quarter

Curve = list[list[float | None]]  # [timestep, decibels], from noise (999) to picture (0)


def sqnr_by_timestep(points: list[Arrays], expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> Curve:
    """SQNR pooled over the points of each timestep; points are UNet inputs, whose `timestep` is the same in a batch."""
    groups: dict[float, list[int]] = defaultdict(list)
    for number, point in enumerate(points):
        groups[timestep(point)].append(number)
    return [[step, _pooled(expected, found, chosen)] for step, chosen in sorted(groups.items(), reverse=True)]


def sqnr_by_quarter(
    points: list[Arrays], expected: Sequence[np.ndarray], found: Sequence[np.ndarray]
) -> list[float | None]:
    """SQNR pooled over the points below timestep 250, from there to 500, to 750, and the rest; None without a point.

    A quarter is never hidden by the others: errors near the picture (0) weigh little in a figure over all of it.
    """
    groups: list[list[int]] = [[] for _ in range(QUARTERS)]
    for number, point in enumerate(points):
        groups[quarter(timestep(point))].append(number)
    return [_pooled(expected, found, chosen) if chosen else None for chosen in groups]


def worst_quarter_db(quarters: list[float | None] | None) -> float | None:
    """The least of them; None where there is none, or all predictions are the reference's."""
    return min((value for value in quarters or [] if value is not None), default=None)


def timestep(point: Arrays) -> float:
    return float(np.ravel(point["timestep"])[0])


def sqnr_csv(record: dict[str, Any]) -> str:
    """Columns timestep, sqnr_db and sqnr_db_fp16; no rows where fidelity was not measured."""
    rows = [record["precisions"].get(name) or {} for name in (record["quantization"], FP16)]
    curves = [dict(row.get("sqnr_by_timestep") or []) for row in rows]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["timestep", "sqnr_db", "sqnr_db_fp16"])
    for step in sorted(set().union(*curves)):
        writer.writerow([f"{step:g}", *(_cell(curve.get(step)) for curve in curves)])
    return text.getvalue()


def _pooled(expected: Sequence[np.ndarray], found: Sequence[np.ndarray], chosen: list[int]) -> float | None:
    value = fidelity.pooled_sqnr_db(Looks(chosen, expected.__getitem__), Looks(chosen, found.__getitem__))
    return None if value is None else round(value, 2)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:g}"
