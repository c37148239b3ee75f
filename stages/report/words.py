"""Tables for a terminal: cells as text, columns of one width each.

Consumes values and rows of cells; produces text.
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


def cell(value: Any) -> str:
    """`14.7`, `0.992`, `int8`; four digits that count at most."""
    return DASH if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
