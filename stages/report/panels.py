"""Curves along the schedule as SVG text: a small panel for each model, two lines in it, all on the same axes.

Consumes points (timestep, value) by model; produces one SVG like those of stages.report.plots. Time runs as pictures
are drawn, from noise on the left to the picture on the right. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from stages.report.plots import HEAD, legend, line, svg, text
from stages.settings.schema import QUARTERS, TIMESTEPS

ACROSS, WIDE, HIGH = 3, 360, 190  # panels side by side; sides of one
LEFT, TOP, RIGHT, BOTTOM = 34, 26, 26, 24  # its margins
STEP = 10  # of the value, between marks; those of the time stand at quarters
ROOM = 5  # of the value, below the lowest point, for its label
KINDS = ("before", "after")

Scale = Callable[[float], float]
Points = list[list[float]]  # [timestep, value]


def panels(
    title: str, note: str, names: tuple[str, str], curves: list[tuple[str, list[Points]]], most: int = ACROSS
) -> str:
    """`curves`: (label, the two lines of one panel), either of them without points where there are none."""
    values = [value for _, lines in curves for points in lines for _, value in points]
    low, high = STEP * math.floor((min(values) - ROOM) / STEP), STEP * math.ceil((max(values) + 1) / STEP)
    across = min(most, len(curves))
    parts = [legend(list(zip(KINDS, names, strict=True)))]
    parts += [text(220, 47, note, "small faint")] if most > 1 else []
    for number, (label, lines) in enumerate(curves):
        left, top = WIDE * (number % across), HEAD + HIGH * (number // across)
        parts += panel(label, lines, left, top, low, high)
    told = [note, *(in_words(label, names, lines) for label, lines in curves)]
    wide = max(min(2, most), across) * WIDE
    return svg(title, parts, wide, HEAD + HIGH * math.ceil(len(curves) / across), told)


def in_words(label: str, names: tuple[str, str], lines: list[Points]) -> str:
    """`mini-Vega: FP16 41.2 at 961, 40.3 at 841; INT8 ...`, from noise to picture."""
    said = []
    for name, points in zip(names, lines, strict=True):
        values = ", ".join(f"{value:.1f} at {timestep:.0f}" for timestep, value in sorted(points, reverse=True))
        said += [f"{name} {values}"] if values else []
    return f"{label}: {', '.join(said)}"


def panel(label: str, lines: list[Points], left: float, top: float, low: float, high: float) -> list[str]:
    def x(timestep: float) -> float:
        return left + LEFT + (1 - timestep / TIMESTEPS) * (WIDE - LEFT - RIGHT)

    def y(value: float) -> float:
        return top + TOP + (high - value) / (high - low) * (HIGH - TOP - BOTTOM)

    parts = [text(left + LEFT, top + 14, label)]
    for value in range(int(low), int(high) + 1, STEP):
        parts.append(line(x(TIMESTEPS), y(value), x(0), y(value), "rule"))
        parts.append(text(x(TIMESTEPS) - 6, y(value) + 4, f"{value}", "small faint", anchor="end"))
    for quarter in range(QUARTERS + 1):
        timestep = quarter * TIMESTEPS / QUARTERS
        parts.append(line(x(timestep), y(low), x(timestep), y(low) + 4, "rule"))
        parts.append(text(x(timestep), y(low) + 18, f"{timestep:.0f}", "small faint", anchor="middle"))
    for kind, points in zip(KINDS, lines, strict=True):
        places = [(x(timestep), y(value)) for timestep, value in sorted(points, reverse=True)]
        parts.append(curve(places, kind))
        parts += [f'<circle cx="{across:.1f}" cy="{down:.1f}" r="2.5" class="{kind}"/>' for across, down in places]
    return parts + [least(points, x, y) for points in lines[1:] if points]


def curve(places: list[tuple[float, float]], kind: str) -> str:
    where = " ".join(f"{across:.1f},{down:.1f}" for across, down in places)
    return f'<polyline points="{where}" class="curve-{kind}"/>'


def least(points: Points, x: Scale, y: Scale) -> str:
    """The lowest point's value, below it."""
    timestep, value = min(points, key=lambda point: point[1])
    return text(x(timestep), y(value) + 15, f"{value:.1f}", "small value", anchor="middle")
