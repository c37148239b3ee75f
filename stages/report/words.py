"""Numbers and tables as text: units, digits that count, an en dash for what is unknown, columns of one width.

Consumes values; produces text.
"""

from __future__ import annotations

from typing import Any

DASH = "–"


def table(rows: list[list[str]]) -> str:
    """Columns of one width each, the first one set to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def markdown(rows: list[list[str]]) -> str:
    """The same between bars, as Markdown; the first two columns and the last one are set to the left."""
    left = (0, 1, len(rows[0]) - 1)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width if n in left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    lines = []
    for row in (rows[0], rule, *rows[1:]):
        sized = enumerate(zip(row, widths, strict=True))
        lines.append(f"| {' | '.join(c.ljust(width) if n in left else c.rjust(width) for n, (c, width) in sized)} |")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """`14.7`, `0.992`, `int8`; four digits that count at most."""
    return DASH if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def span(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return f"{low}×" if low == high else f"{low}–{high}×"


def times(value: float | None) -> str:
    """`1.98×`, `12.3×`"""
    return DASH if value is None else f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


def ratio(value: float) -> str:
    """`0.85`, `1.98`, `12.3`"""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}"


def gain(ratio: float | None, low: float | None, high: float | None) -> str:
    """`1.41× (1.37–1.46)`: a ratio with its interval, as far as it has one."""
    interval = f" ({low:.2f}–{high:.2f})" if low is not None and high is not None else ""
    return times(ratio) + interval if ratio is not None else DASH


def duration(seconds: float | None) -> str:
    """`8.21 ms`, `32.1 ms`, `0.81 s`, `93.4 s`"""
    if seconds is None:
        return DASH
    if seconds < 0.2:
        return f"{number(1000 * seconds)} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def number(value: float | None, unit: str = "") -> str:
    """Three digits that count, no less than all before the point: `7.24`, `14.2`, `1,456`."""
    if value is None:
        return DASH
    return (f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:,.0f}") + unit


def in_mb(value: float | None) -> str:
    return number(value, " MB")


def in_db(value: float | None) -> str:
    return number(value, " dB")


def fixed(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 0) -> str:
    """`94 %` of 0.94"""
    return DASH if value is None else f"{100 * value:.{digits}f} %"
