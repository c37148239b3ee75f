"""How much a figure changed between two measurements of one model, and what its raw values leave open.

Consumes a pair of measurements; produces a `Change`: both values, after / before of times, sizes and memory, after -
before of fidelity, with the 95 % interval, and a reason where nothing can be said. None where neither side has the
figure. Decides nothing: stages.report.differences does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.files.layout import FP16
from stages.measurement import latency
from stages.report import intervals, pairs
from stages.report.intervals import Estimate
from stages.report.pairs import Pair
from stages.report.results import is_number
from stages.report.sides import Measured

PEAKS_REPEAT = 0.01  # memory's peak is measured once; of one IR it came out within 0.5 % in four sittings
ROUNDED_MB = 2  # digits of a size in the short form
SPEEDUPS = {"unet_step_s": "speedup_step", "image_s": "speedup_image"}


@dataclass(frozen=True)
class Change:
    before: float | None
    after: float | None
    estimate: Estimate | None = None  # infinitely open where there is a reason
    reason: str = ""


def seconds(pair: Pair, name: str, precision: str | None = None) -> Change | None:
    """Times as long, by raw seconds: turn by turn within a sitting, else by both scatters; of a precision, or its own
    without one."""
    rows = [one.row(precision).get(name) or {} for one in pair.both]
    medians, raw = [row.get("median") for row in rows], [row.get("raw") or [] for row in rows]
    return times(pair, medians, raw, "raw values", pair.in_turns)


def speed(pair: Pair, name: str) -> Change | None:
    """Times FP16's speed of the same sitting: drift that slows both alike is not in it."""
    raw = [in_times_fp16(one, name) for one in pair.both]
    recorded = [(one.row().get(SPEEDUPS[name]) or {}).get("ratio") for one in pair.both]
    known = [float(np.median(mine)) if mine else ratio for mine, ratio in zip(raw, recorded, strict=True)]
    return times(pair, known, raw, "raw values in turns with FP16", in_turns=False)


def times(pair: Pair, medians: list[Any], raw: list[list[float]], what: str, in_turns: bool) -> Change | None:
    few = min(map(len, raw))
    reason = pairs.unknown(medians) or pairs.unknown(raw, what) or pairs.few(few, what) or pair.busy()
    if reason:
        return lacking(medians, reason, ratio=True)
    ratio = latency.speedup if in_turns and len(raw[0]) == len(raw[1]) else latency.speedup_apart
    found = ratio(raw[1], raw[0])  # of what comes first to what comes second: after / before
    return Change(*medians, Estimate(found["ratio"], found["low"], found["high"], few, what))


def in_times_fp16(one: Measured, name: str) -> list[float]:
    """FP16's seconds / its own, of every turn."""
    both = [(one.row(precision).get(name) or {}).get("raw") or [] for precision in (FP16, None)]
    apart = one.record.get("interleaved") is False
    drawn_before = name == "image_s" and one.record.get("pictures_against") == FP16  # FP16's are the reference then
    if apart or drawn_before or len(both[0]) != len(both[1]):
        return []
    return [before / after for before, after in zip(*both, strict=True)]


def size(pair: Pair) -> Change | None:
    """Counted to the byte, or as far as both sides have its digits."""
    values = [one.row().get("unet_size_mb") for one in pair.both]
    if any(one.record.get("short") for one in pair.both):
        values = [value and round(value, ROUNDED_MB) for value in values]
    return of_one_value(values, repeats=0.0)


def memory(pair: Pair) -> Change | None:
    return of_one_value([one.row().get("peak_rss_mb") for one in pair.both], PEAKS_REPEAT)


def of_one_value(values: list[float | None], repeats: float) -> Change | None:
    """What is measured once, and comes out within `repeats` of itself when it is measured again."""
    if reason := pairs.unknown(values):
        return lacking(values, reason, ratio=True)
    ratio = values[1] / values[0]
    return Change(*values, Estimate(ratio, ratio / (1 + repeats), ratio * (1 + repeats), None))


def fidelity(pair: Pair, name: str, pooled: bool = False) -> Change | None:
    """Of the prompts that both sides drew, the change of the mean; `pooled`: of decibels, by the mean of the noise."""
    recorded = [one.row().get(name) for one in pair.both]
    entries = [{entry["id"]: entry for entry in one.row().get("per_prompt") or []} for one in pair.both]
    known = [{key: of_prompt(entry, name) for key, entry in mine.items()} for mine in entries]
    known = [{key: value for key, value in mine.items() if value is not None} for mine in known]
    reason = pairs.unknown([value if value is not None else mine for value, mine in zip(recorded, known, strict=True)])
    reason = reason or pairs.unknown(known, "raw values") or pair.drawn_otherwise(clip=name.startswith("clip"))
    shared = [key for key in known[0] if key in known[1] and same_text(entries[0][key], entries[1][key])]
    reason = reason or pairs.few(len(shared), "prompts that both drew")
    if reason:
        return lacking(recorded, reason, ratio=False)
    return compared(np.array([[mine[key] for mine in known] for key in shared], dtype=float), pooled)


def compared(rows: np.ndarray, pooled: bool) -> Change:
    """Of rows (prompts, 2), which may be infinite decibels."""
    used = 10 ** (-rows / 10) if pooled else rows
    own = [statistic(column.mean(), pooled) for column in used.T]
    if (rows[:, 0] == rows[:, 1]).all():
        return Change(*own, Estimate(0.0, 0.0, 0.0, len(rows)))
    if np.isinf(used).any():
        way = own[1] - own[0] if np.isinf(used).all(axis=0).any() else math.nan
        if math.isnan(way):
            return Change(*own, Estimate(math.nan, -math.inf, math.inf, len(rows)), "some pictures are identical")
        return Change(*own, Estimate(way, way, way, len(rows)))
    return Change(
        *own, intervals.of_means(lambda mean: statistic(mean[..., 1], pooled) - statistic(mean[..., 0], pooled), used)
    )


def statistic(mean: Any, pooled: bool) -> Any:
    with np.errstate(divide="ignore"):
        return -10 * np.log10(mean) if pooled else mean


def of_prompt(entry: dict[str, Any], name: str) -> float | None:
    """Decibels are null where the picture is the reference's own: infinitely many."""
    value = entry.get(name)
    if value is None and name.endswith("_db") and entry.get("ssim") == 1:
        return math.inf
    return value if is_number(value) else None


def same_text(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether one identifier stands for one prompt, as far as the text is known."""
    return one.get("text") in (None, other.get("text")) or other.get("text") is None


def lacking(values: list[float | None], reason: str, ratio: bool) -> Change | None:
    """The change without an interval; nothing where neither side has the figure."""
    before, after = values
    if before is None and after is None:
        return None
    if before is None or after is None or (ratio and not before):
        return Change(before, after, None, reason)
    return Change(
        before, after, Estimate(after / before if ratio else after - before, -math.inf, math.inf, None), reason
    )
