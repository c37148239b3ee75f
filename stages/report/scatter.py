"""A scatter plot as SVG text: dots whose area is a third figure, a line through the best of them, a label at each.

Consumes plain figures; produces SVG in the manner of stages.report.plots. Knows nothing of models.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from stages.report import labels
from stages.report.plots import LETTER, line, svg, text

WIDTH, NARROW, HEIGHT = 820, 340, 490
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 100, 50  # around the frame
ABOVE = 34  # the frame's upper part, where infinite values stand
LARGEST_R, SMALLEST_R = 15.0, 3.5  # of a dot
FAR = 10  # pixels from a dot to its label from which on a line leads there
HALO = 'style="paint-order:stroke;stroke:var(--card,#fff);stroke-width:4px;stroke-linejoin:round"'


@dataclass(frozen=True)
class Dot:
    label: str
    x: float
    y: float  # infinite: above all others
    area: float
    kind: str = "before"  # a class of stages.report.plots; `after`: on the line through the best


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `first` to `last`."""

    low: float
    high: float
    first: float
    last: float

    def at(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


def scatter(
    title: str, notes: list[str], axes: tuple[str, str], infinite: str, dots: list[Dot], width: int = WIDTH
) -> str:
    """`notes`: at most two lines under the title, left out where they do not fit; `axes`: what x and y are;
    `infinite`: what that means of y."""
    finite = [dot.y for dot in dots if math.isfinite(dot.y)]
    top = TOP + ABOVE if len(finite) < len(dots) else TOP
    across = _axis([dot.x for dot in dots], LEFT, width - RIGHT)
    up = _axis(finite, HEIGHT - BOTTOM, top)
    centres = [(across.at(dot.x), up.at(dot.y) if math.isfinite(dot.y) else TOP + ABOVE / 2 + 3) for dot in dots]
    largest = max(dot.area for dot in dots)
    radii = [max(SMALLEST_R, LARGEST_R * math.sqrt(dot.area / largest)) for dot in dots]
    notes = notes if width == WIDTH else []
    parts = [text(0, 40 + 17 * number, note, "small faint") for number, note in enumerate(notes)]
    parts += _frame(axes, across, up, width)
    if top > TOP:
        parts += [
            line(LEFT, top, width - RIGHT, top, "rule"),
            text(width - RIGHT, TOP + 10, infinite if width == WIDTH else "exact", "small faint", "end"),
        ]
    leads, written = _labels([dot.label for dot in dots], centres, radii, width)
    parts += leads
    best = sorted(centre for dot, centre in zip(dots, centres, strict=True) if dot.kind == "after")
    parts += [line(*one, *other, "line", 2) for one, other in zip(best, best[1:], strict=False)]
    for dot, (x, y), r in sorted(zip(dots, centres, radii, strict=True), key=lambda entry: -entry[2]):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r:.1f}" class="{dot.kind}" style="fill-opacity:.88"/>')
    told = [f"{dot.label}: {dot.x:.4g} {axes[0]}, {_said(dot.y, infinite)} {axes[1]}" for dot in dots]
    return svg(title, parts + written, width, HEIGHT, told)


def _said(value: float, infinite: str) -> str:
    return f"{value:.4g}" if math.isfinite(value) else infinite


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Round numbers between the two: `ticks(18, 42)` is [20, 25, 30, 35, 40]."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((power * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda size: abs(size - rough))
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _axis(values: list[float], first: float, last: float) -> Axis:
    """All values with a margin, which does not go below 0 where they do not."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.12 * (high - low) or 0.05 * abs(high) or 1.0
    return Axis(max(0.0, low - margin) if low >= 0 else low - margin, high + margin, first, last)


def _frame(axes: tuple[str, str], across: Axis, up: Axis, width: int) -> list[str]:
    bottom = HEIGHT - BOTTOM
    parts = [line(LEFT, bottom, width - RIGHT, bottom, "rule"), line(LEFT, TOP, LEFT, bottom, "rule")]
    for value in ticks(across.low, across.high, 6 if width == WIDTH else 3):
        parts.append(line(across.at(value), bottom, across.at(value), bottom + 5, "rule"))
        parts.append(text(across.at(value), bottom + 19, f"{value:g}", "small faint value", "middle"))
    for value in ticks(up.low, up.high):
        parts.append(line(LEFT - 5, up.at(value), LEFT, up.at(value), "rule"))
        parts.append(text(LEFT - 9, up.at(value) + 4, f"{value:g}", "small faint value", "end"))
    parts.append(text(width - RIGHT, HEIGHT - 10, axes[0], "small faint", "end"))
    return [*parts, text(0, TOP - 10, axes[1], "small faint")]


def _labels(
    names: list[str], centres: list[labels.Point], radii: list[float], width: int
) -> tuple[list[str], list[str]]:
    """Lines that lead to labels far off, and the labels."""
    frame = (LEFT + 4, TOP, width - RIGHT, HEIGHT - BOTTOM - 2)
    boxes = labels.place([LETTER * len(name) for name in names], centres, radii, frame)
    leads, written = [], []
    for name, box, (x, y), r in zip(names, boxes, centres, radii, strict=True):
        end = labels.nearest(box, (x, y))
        if math.dist((x, y), end) > r + FAR:
            leads.append(line(x, y, *end, "rule"))
        anchor, at = (
            ("start", box[0]) if box[0] >= x else ("end", box[2]) if box[2] <= x else ("middle", sum(box[::2]) / 2)
        )
        written.append(text(at, box[3] - 3.5, name, "small", anchor).replace("<text ", f"<text {HALO} ", 1))
    return leads, written
