"""Which scheme for what: those that no other one beats, and a sentence of advice, both out of the rows' figures alone.

Consumes rows of figures.json; produces names and text. A difference in speed counts only where the intervals leave
each other out. A copy of FP16 (scheme `none`) shows what the measurement scatters: it is no choice.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from stages.files.layout import FP16
from stages.report import words
from stages.report.summary import HARDLY_VISIBLE_DB

Row = dict[str, Any]
SPEED, SPEED_SMALLER, FIDELITY, SIZE = "speed", "speed at less size", "fidelity", "size"
NEAR_DB, NEAR_SIZE = 0.5, 1.02  # differences that decide nothing: decibels, and times the size


def choices(rows: Iterable[Row]) -> list[Row]:
    """Rows that were measured and are not FP16 again under another name."""
    return [row for row in rows if row["step_ms"] is not None and row["method"] != "none"]


def front(rows: list[Row]) -> list[str]:
    """Names of the schemes that none beats in both step time and SQNR, the quickest first: the Pareto front.

    None beats another one that equals it in both. FP16, which they are compared with, and rows without SQNR are on no
    front.
    """
    known = [row for row in smaller(choices(rows)) if decibels(row) is not None]
    kept = [row for row in known if not any(_beats(other, row) for other in known)]
    return [row["name"] for row in sorted(kept, key=lambda row: (row["step_ms"], -decibels(row)))]


def decibels(row: Row) -> float | None:
    """SQNR, infinite for what predicts the reference's own noise."""
    return math.inf if row["equals_reference"] else row["sqnr_db"]


def advice(rows: list[Row]) -> str:
    """`For speed take int8 (4.22 ms a step, 1.07× fp16's speed within 1.05–1.09, 33.2 dB); for size int4-weights.`"""
    purposes: dict[str, list[str]] = {}
    for purpose, row in _chosen(choices(rows)):
        if row is not None:
            purposes.setdefault(row["name"], []).append(purpose)
    if not purposes:
        return "Nothing was measured that could be chosen."
    named = {row["name"]: row for row in rows}
    said = [f"for {_listed(whys)} take {_described(named[name], whys)}" for name, whys in purposes.items()]
    text = "; ".join([said[0], *(part.replace(" take ", " ", 1) for part in said[1:])])
    return f"{text[0].upper()}{text[1:]}."


def against_weights(rows: list[Row], default: str = "int8") -> str:
    """Why INT8 weights alone, as small and more faithful, are not the default: `INT8 weights alone compute in floats: a
    step has 0.98× the speed of FP16's where int8's has 1.89×; they keep 2.1 dB more.` Empty where one is missing."""
    known = {row["name"]: row for row in choices(rows) if row["speed_step"] is not None}
    ours = known.get(default) or known.get(f"{default}-quick")
    alone = [
        row for row in known.values() if row["method"] == "weights_only" and row["name"].startswith("int8-weights")
    ]
    if ours is None or not alone:
        return ""
    quickest = max(alone, key=lambda row: row["speed_step"])
    said = (
        f"INT8 weights alone compute in floats: a step has {words.times(quickest['speed_step'])} the speed of FP16's "
        f"where {ours['name']}'s has {words.times(ours['speed_step'])}"
    )
    both = [row["sqnr_db"] for row in (quickest, ours)]
    if None not in both:
        more = both[0] - both[1]
        said += f"; they keep {abs(more):.1f} dB {'more' if more > 0 else 'less'}"
    small = quickest["size_mb"] <= 1.1 * ours["size_mb"]
    return f"{said}{', and' if '; they' in said else '; they'} are as small." if small else f"{said}."


def _chosen(rows: list[Row]) -> list[tuple[str, Row | None]]:
    found = [(SPEED, quickest(rows))]
    if found[0][1] is not None and found[0][1]["name"] == FP16:
        found.append((SPEED_SMALLER, quickest(smaller(rows))))
    return [*found, (FIDELITY, most_faithful(rows)), (SIZE, smallest(rows))]


def quickest(rows: list[Row]) -> Row | None:
    """Of those that are not surely slower than the quickest one, the most faithful; of equals the first."""
    first = min(rows, key=lambda row: row["step_ms"], default=None)
    near = [row for row in rows if row is first or interval(row)[1] >= interval(first)[0]]
    return max(near, key=lambda row: _or_less(decibels(row)), default=None)


def most_faithful(rows: list[Row]) -> Row | None:
    """Of the schemes, the quickest of those within NEAR_DB of the best."""
    known = [row for row in smaller(rows) if decibels(row) is not None]
    best = max(map(decibels, known), default=0.0)
    return quickest([row for row in known if decibels(row) >= best - NEAR_DB])


def smallest(rows: list[Row]) -> Row | None:
    """Of those within NEAR_SIZE of the smallest, the most faithful; the quickest where nothing tells of fidelity."""
    least = min((row["size_mb"] for row in rows), default=0.0)
    near = [row for row in smaller(rows) if row["size_mb"] <= NEAR_SIZE * least]
    return most_faithful(near) or quickest(near)


def smaller(rows: list[Row]) -> list[Row]:
    """The schemes among the choices: all but FP16."""
    return [row for row in rows if row["name"] != FP16]


def interval(row: Row) -> tuple[float, float]:
    """95 % of the speed against FP16, which is 1 by itself; open on both sides where it is unknown."""
    if row["name"] == FP16:
        return 1.0, 1.0
    low, high = row["speed_step_low"], row["speed_step_high"]
    return (0.0, math.inf) if low is None or high is None else (low, high)


def _beats(one: Row, other: Row) -> bool:
    mine, theirs = (-one["step_ms"], decibels(one)), (-other["step_ms"], decibels(other))
    return mine != theirs and mine[0] >= theirs[0] and mine[1] >= theirs[1]


def _or_less(value: float | None) -> float:
    return -math.inf if value is None else value


def _described(row: Row, whys: list[str]) -> str:
    """`int8 (4.22 ms a step, 1.07× fp16's speed within 1.05–1.09, 33.2 dB)`: what the purposes ask, and fidelity."""
    facts = []
    if SPEED in whys or SPEED_SMALLER in whys:
        facts.append(f"{words.duration(row['step_ms'] / 1000)} a step")
        facts += (
            [f"{words.times(row['speed_step'])} fp16's speed{_spread(row)}"] if row["speed_step"] is not None else []
        )
        facts += ["nothing is surely quicker here"] if row["name"] == FP16 else []
    facts += [words.in_mb(row["size_mb"])] if SIZE in whys else []
    if row["name"] != FP16 and row["sqnr_db"] is not None:
        facts.append(words.in_db(row["sqnr_db"]))
    if row["psnr_db"] is not None and row["psnr_db"] < HARDLY_VISIBLE_DB:
        facts.append(f"pictures differ visibly, PSNR {words.in_db(row['psnr_db'])}")
    return f"{row['name']} ({', '.join(facts)})"


def _spread(row: Row) -> str:
    low, high = row["speed_step_low"], row["speed_step_high"]
    return "" if low is None or high is None else f" within {low:.2f}–{high:.2f}"


def _listed(whys: list[str]) -> str:
    return " and ".join([", ".join(whys[:-1]), whys[-1]] if whys[1:] else whys)
