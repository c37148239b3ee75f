"""Plots as SVG text: bars in pairs, bars in parts, and ratios with their intervals.

Consumes plain figures; produces SVG that stands alone on white and takes the page's colours where it is pasted into
one. Figures that are None are an en dash. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Any

WIDTH, NARROW = 560, 330  # pixels of a card on a screen, on a phone
LABEL, ROW, HEAD, FOOT = 140, 44, 62, 14
RIGHT = 64  # room for the value behind the longest bar
LETTER = 7.3  # mean width of a letter of a label, in the widest of the fonts
BAR = 13
DETAIL = 46  # room for a second label
DASH = "–"
Write = Callable[[float | None], str]
STYLE = """
.plot text{font:13px ui-sans-serif,system-ui,'Segoe UI',Roboto,'Helvetica Neue','DejaVu Sans',Arial,sans-serif}
.plot text{fill:var(--ink,#1d2129)} .plot .faint{fill:var(--faint,#5d6678)} .plot .head{font-size:16px;font-weight:650}
.plot .small{font-size:12px} .plot .rule{stroke:var(--rule,#d5d9e0)} .plot .value{font-variant-numeric:tabular-nums}
.plot .before{fill:var(--before,#8a97ad)} .plot .after{fill:var(--after,#e0662f)}
.plot .line{stroke:var(--after,#e0662f)}
.plot .part-0{fill:var(--part-0,#b48a17)} .plot .part-1{fill:var(--part-1,#7a6bb0)}
.plot .part-2{fill:var(--part-2,#2f8a80)}
.plot .passed-over{fill:var(--card,#fff);stroke:var(--after,#e0662f);stroke-width:2}
.plot polyline{fill:none;stroke-width:2;stroke-linejoin:round}
.plot .curve-before{stroke:var(--before,#8a97ad)} .plot .curve-after{stroke:var(--after,#e0662f)}
"""


def paired_bars(
    title: str,
    names: tuple[str, str],
    rows: list[tuple[str, float | None, float | None]],
    write: Write,
    width: int = WIDTH,
) -> str:
    """Two bars per row; `write` makes a value readable, None included."""
    top, left = max((value for _, *pair in rows for value in pair if value is not None), default=1), gutter(rows, width)
    parts = [legend([("before", names[0]), ("after", names[1])])]
    for number, (label, *pair) in enumerate(rows):
        y = HEAD + number * ROW
        parts.append(text(0, y + ROW / 2 - 3, fitting(label, left)))
        for kind, value, offset in zip(("before", "after"), pair, (2, 4 + BAR), strict=True):
            length = _length(value, top, left, width)
            parts.append(bar(left, y + offset, length, kind))
            parts.append(text(left + length + 6, y + offset + 11, write(value), "small value"))
    told = [f"{label}: {names[0]} {write(one)}, {names[1]} {write(other)}" for label, one, other in rows]
    return _svg(title, parts, len(rows), width, told)


def stacked_bars(
    title: str, names: list[str], rows: list[tuple[str, str, list[float | None]]], write: Write, width: int = WIDTH
) -> str:
    """One bar in parts for each (label, detail, values); rows of the same label stand together."""
    totals = [sum(value or 0 for value in values) for _, _, values in rows]
    top, left = max(totals, default=1) or 1, gutter(rows, width) + DETAIL
    parts = [legend([(f"part-{number}", name) for number, name in enumerate(names)])]
    for number, ((label, detail, values), total) in enumerate(zip(rows, totals, strict=True)):
        y = HEAD + number * ROW / 2 + 4
        first = number == 0 or rows[number - 1][0] != label
        parts += [text(0, y + 11, fitting(label, left - DETAIL))] if first else []
        parts.append(text(left - DETAIL + 2, y + 11, detail, "small faint"))
        x = float(left)
        for part, value in enumerate(values):
            parts.append(bar(x, y, _length(value, top, left, width), f"part-{part}"))
            x += _length(value, top, left, width)
        parts.append(text(x + 6, y + 11, write(total or None), "small value"))
    told = [
        f"{label} {detail}: {', '.join(f'{name} {write(value)}' for name, value in zip(names, values, strict=True))}"
        for label, detail, values in rows
    ]
    return _svg(title, parts, math.ceil(len(rows) / 2), width, told)


def intervals(
    title: str, note: str, rows: list[tuple[str, float | None, float | None, float | None]], width: int = WIDTH
) -> str:
    """(label, ratio, low, high) as a point on its interval; the line at 1 is where nothing was gained."""
    known = [value for _, *values in rows for value in values if value is not None]
    (low, high), left = _span(known), gutter(rows, width)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (width - left - RIGHT)

    bottom = HEAD + len(rows) * ROW
    parts = [text(0, 46, note, "small faint"), line(x(1), HEAD - 4, x(1), bottom, "rule")]
    parts.append(text(x(1), bottom + 10, "1×", "small faint", anchor="middle"))
    for number, (label, ratio, start, end) in enumerate(rows):
        y = HEAD + number * ROW + ROW / 2
        parts.append(text(0, y + 4, fitting(label, left)))
        if ratio is None:
            parts.append(text(left + 6, y + 4, DASH, "small"))
            continue
        start, end = start if start is not None else ratio, end if end is not None else ratio
        parts.append(line(x(start), y, x(end), y, "line", 3))
        parts.append(f'<circle cx="{x(ratio):.1f}" cy="{y:.1f}" r="5" class="after"/>')
        parts.append(text(max(x(end), x(ratio) + 5) + 8, y + 4, f"{ratio:.2f}×", "small value"))
    told = [f"{label}: {DASH if ratio is None else f'{ratio:.2f}'}{_between(*ends)}" for label, ratio, *ends in rows]
    return _svg(title, parts, len(rows), width, told)


def legend(entries: list[tuple[str, str]]) -> str:
    parts, x = [], 0.0
    for kind, name in entries:
        parts.append(f'<rect x="{x:.1f}" y="37" width="11" height="11" rx="2.5" class="{kind}"/>')
        parts.append(text(x + 16, 47, name, "small faint"))
        x += 34 + LETTER * len(name)
    return "".join(parts)


def bar(x: float, y: float, length: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{length:.1f}" height="{BAR}" rx="2" class="{kind}"/>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str, width: int = 1) -> str:
    where = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {where} stroke-width="{width}" stroke-linecap="round" class="{kind}"/>'


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(title: str, parts: list[str], rows: int, width: int, told: list[str]) -> str:
    return svg(title, parts, width, HEAD + rows * ROW + FOOT, told)


def svg(title: str, parts: list[str], width: int, height: int, told: Sequence[str] = ()) -> str:
    """`parts` under a title, on a card of these pixels; `told`: the same figures in words, for those who hear them."""
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'  # DVC draws one without as an icon
    heard = escape("; ".join([title, *told]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" {size} role="img" '
        f'aria-label="{heard}"><style>{STYLE}</style>'
        f'<rect width="{width}" height="{height}" style="fill:var(--card,#fff)"/>'
        f"{text(0, 18, fitting(title, width, LETTER * 1.25), 'head')}{''.join(parts)}</svg>\n"
    )


def gutter(rows: list[tuple[str, *tuple[Any, ...]]], width: int = WIDTH) -> float:
    """Room for the longest label, which begins each row: at least LABEL, at most 0.4 of the plot."""
    longest = LETTER * max((len(label) for label, *_ in rows), default=0) + 10
    return min(0.4 * width, max(LABEL, longest))


def fitting(label: str, room: float, letter: float = LETTER) -> str:
    """The label, cut where it would run into what stands right of it."""
    most = int((room - 4) / letter)
    return label if len(label) <= most else label[: most - 1].rstrip() + "…"


def _length(value: float | None, top: float, left: float, width: int) -> float:
    return max(0.0, value or 0.0) / (top or 1) * (width - left - RIGHT)


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f", {low:.2f} to {high:.2f}"


def _span(values: list[float]) -> tuple[float, float]:
    """An axis that holds all values and 1, with a margin."""
    low, high = min([1.0, *values]), max([1.0, *values])
    margin = max(0.05, 0.06 * (high - low))
    return low - margin, high + margin
