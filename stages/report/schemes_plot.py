"""Schemes of one model as a picture: step time against fidelity, area by size, the Pareto front drawn.

Consumes figures.json's contents; produces SVG. Measures nothing.
"""

from __future__ import annotations

from typing import Any

from stages.files.layout import FP16
from stages.report import frontier, scatter, words

TITLE = "Speed, fidelity and size"
REFERENCE = "predicts the reference's own noise"


def plot(figures: dict[str, Any], width: int = scatter.WIDTH) -> str | None:
    """Step time against SQNR, area by size on disk, the Pareto front drawn; None where nothing tells of fidelity."""
    known = [row for row in figures["rows"] if row["step_ms"] is not None and frontier.decibels(row) is not None]
    if not known:
        return None
    kinds = dict.fromkeys(frontier.front(figures["rows"]), "after") | {FP16: "before"}
    dots = [
        scatter.Dot(
            row["name"], row["step_ms"], frontier.decibels(row), row["size_mb"], kinds.get(row["name"], "passed-over")
        )
        for row in known
    ]
    sizes = [row["size_mb"] for row in known]
    notes = [
        "Up and to the left is better. The line joins the schemes that none beats in both (the Pareto front).",
        f"Area of a dot: the UNet on disk, {words.number(min(sizes))} to {words.number(max(sizes))} MB.",
    ]
    axes = ("one UNet step, ms", "SQNR, dB")
    return scatter.scatter(f"{figures['title']}: {TITLE.lower()}", notes, axes, REFERENCE, dots, width)
