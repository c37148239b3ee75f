"""Verdicts: whether a gate is passed, failed or undecided, and all of them as a table, a file and one line.

Consumes results and the section `gates` of the settings; produces a `Verdict` for each model, scheme and gate that is
asked for. A gate passes when the whole interval of its figure is on the good side, fails when it is on the bad side,
and is undecided else. It never passes by lack of data. Measures nothing.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from stages.report import gates, intervals, words
from stages.report.gates import GATES, Gate, Lack
from stages.report.intervals import Estimate
from stages.report.results import BEFORE, Result
from stages.settings.schema import NEEDS_SAMPLES

PASSED, FAILED, UNDECIDED, NOT_APPLYING = "passed", "failed", "undecided", "does not apply"
STATUS = {PASSED: 0, FAILED: 1, UNDECIDED: 3}  # of the process; 2 is a wrong setting or a missing file
NAMED = 2  # verdicts told with their figures in the one line


@dataclass(frozen=True)
class Verdict:
    model: str
    title: str
    scheme: str
    gate: Gate
    asked: float
    verdict: str
    reason: str = ""
    estimate: Estimate | None = None

    @property
    def bound(self) -> str:
        """`at least 30.0 dB`"""
        return f"{'at least' if self.gate.least else 'at most'} {self.gate.text(self.asked)}{self.gate.unit}"

    @property
    def found(self) -> str:
        """`25.1 dB (24.0 to 26.2)`; no interval of what was counted; an en dash for what is unknown."""
        known, text = self.estimate, self.gate.text
        if known is None or not math.isfinite(known.found):
            return words.DASH if known is None else "exact"
        open_ = known.count is not None and math.isfinite(known.high - known.low)
        interval = f" ({text(known.low)} to {text(known.high)})" if open_ else ""
        return f"{text(known.found)}{self.gate.unit}{interval}"

    @property
    def told(self) -> str:
        """`mini-Vega int8 SQNR 25.1 dB (24.0 to 26.2), asked at least 30.0 dB`, and why it is undecided."""
        figure = f" {self.found}, asked {self.bound}" if self.estimate else ""
        return f"{self.title} {self.scheme} {self.gate.head}{figure}{f': {self.reason}' if self.reason else ''}"


def judge(found: list[Result], settings: Any) -> list[Verdict]:
    """Every gate that is asked for, of every measured scheme of every selected model, in the order of the page."""
    asked = {gate: bound for gate in GATES if (bound := getattr(settings.gates, gate.key)) is not None}
    chosen = settings.quantization
    said = []
    for result in found:
        measured = [name for name in result.record.get("precisions") or {} if name != BEFORE]
        for scheme in dict.fromkeys([*measured, result.after]):
            activations = scheme != chosen.name or chosen.scheme in NEEDS_SAMPLES
            for gate, bound in asked.items():
                estimate, verdict, reason = verdict_of(result, scheme, gate, bound, activations)
                said.append(Verdict(result.key, result.title, scheme, gate, bound, verdict, reason, estimate))
    return said


def verdict_of(
    result: Result, scheme: str, gate: Gate, asked: float, activations: bool = True
) -> tuple[Estimate | None, str, str]:
    """Figure, verdict, reason. `activations`: whether the scheme quantizes them, and not weights alone."""
    if reason := result.lacks(scheme):
        return None, UNDECIDED, reason
    if gate.measure is gates.share_int8 and not activations:
        return None, NOT_APPLYING, f"{scheme} quantizes no activations"
    # They decide what a scheme leaves in float, and with it times and shares; likeness is not recorded at all.
    random = "the weights are random" if result.record.get("random_weights") else ""
    try:
        estimate = gate.measure(result.record["precisions"][scheme], result.record)
    except Lack as lack:
        return None, *((UNDECIDED, random or str(lack)) if lack.applies else (NOT_APPLYING, str(lack)))
    if random:
        return estimate, UNDECIDED, random
    return estimate, *decide(gate.least, asked, estimate)


def decide(least: bool, asked: float, estimate: Estimate) -> tuple[str, str]:
    """Verdict and reason: `decide(True, 30, Estimate(33, 31, 35, 8))` passes."""
    low, high, count, unit = estimate.low, estimate.high, estimate.count, estimate.unit
    if any(map(math.isnan, (estimate.found, low, high))):
        return UNDECIDED, "the figure is not finite"
    if count is not None and count < intervals.LEAST:
        return UNDECIDED, f"too few {unit} to decide: {count}, {intervals.LEAST} are the least"
    if low >= asked if least else high <= asked:
        return PASSED, "" if math.isfinite(estimate.found) else "every prediction is the reference's own"
    if high < asked if least else low > asked:
        return FAILED, ""
    if number := intervals.enough(estimate, asked):
        return UNDECIDED, f"too few {unit} to decide: {count}, about {number} would do"
    return UNDECIDED, f"too near to what is asked: {count} {unit} do not decide, nor would {intervals.MANY:,}"


def overall(said: Sequence[Verdict]) -> str:
    """Of all together: one that fails fails them, one that is undecided leaves them so."""
    kinds = {one.verdict for one in said}
    return FAILED if FAILED in kinds else UNDECIDED if UNDECIDED in kinds else PASSED


def line(said: Sequence[Verdict]) -> str:
    """`Gates: 1 failed: mini-Vega int8 SQNR 25.1 dB (24.0 to 26.2), asked at least 30.0 dB. 6 passed.`"""
    parts = []
    for kind, count in tally(said):
        told = named([one for one in said if one.verdict == kind]) if kind in (FAILED, UNDECIDED) else []
        parts.append(count + (f": {'; '.join(told)}" if told else ""))
    return f"Gates: {'. '.join(parts) or 'none is asked for'}."


def tally(said: Sequence[Verdict]) -> list[tuple[str, str]]:
    """How many there are of each verdict, the worst first: `[("failed", "1 failed"), ("passed", "6 passed")]`."""
    counts = Counter(one.verdict for one in said)
    verbs = {kind: kind for kind in (FAILED, UNDECIDED, PASSED)}
    verbs[NOT_APPLYING] = "do not apply" if counts[NOT_APPLYING] > 1 else NOT_APPLYING
    return [(kind, f"{counts[kind]} {verb}") for kind, verb in verbs.items() if counts[kind]]


def named(mine: list[Verdict]) -> list[str]:
    """The first of them with their figures, of those with one reason the first; and how many are left."""
    apart: dict[str, str] = {}
    for one in mine:
        apart.setdefault(one.reason or one.told, one.told)
    told = list(apart.values())[:NAMED]
    return told + ([f"{len(mine) - len(told)} more"] if len(mine) > len(told) else [])


def reasons(said: Sequence[Verdict]) -> list[str]:
    """`mini-Vega int8, SSIM, CLIP drop: the record has no per_prompt: benchmark again`: of one reason all gates."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for one in said:
        if one.reason:
            grouped.setdefault((f"{one.title} {one.scheme}", one.reason), []).append(one.gate.head)
    return [f"{whose}, {', '.join(heads)}: {reason}" for (whose, reason), heads in grouped.items()]


def by_scheme(said: Sequence[Verdict]) -> list[list[Verdict]]:
    """A row for each model and scheme, all with the same gates."""
    rows: dict[tuple[str, str], list[Verdict]] = {}
    for one in said:
        rows.setdefault((one.model, one.scheme), []).append(one)
    return list(rows.values())


def as_json(said: Sequence[Verdict]) -> str:
    """reports/gates.json; null for what is unknown, and for an interval's end that is infinite."""
    models: dict[str, Any] = {}
    for one in said:
        known = one.estimate
        figures = {name: number(getattr(known, name, None)) for name in ("found", "low", "high", "count")}
        entry = {"verdict": one.verdict, "asked": one.asked, **figures, "reason": one.reason or None}
        models.setdefault(one.model, {}).setdefault(one.scheme, {})[one.gate.key] = entry
    whole = {"verdict": overall(said) if said else None, "line": line(said), "models": models}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)
