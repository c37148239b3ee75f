"""Two sets of figures as text that fits a pull request: what is compared, one line, a table of what changed, notes.

Consumes two sides and the differences between them; produces Markdown that is set in columns, for a terminal too.
Unchanged figures are a count; what cannot be said of several models for one reason is one row. Decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from stages.report import differences, words
from stages.report.differences import EQUAL, SAME, UNSURE, Difference, Figure
from stages.report.pairs import Pair
from stages.report.sides import Measured, Side

HEADS = ["model", "figure", "before", "after", "change (95 %)", "verdict"]
SEVERAL = 3  # models that share a figure and a reason are told in one row


def text(
    before: Side, after: Side, pairs: Sequence[Pair], found: Sequence[Difference], tolerances: Mapping[str, float],
    every: bool = False,
) -> str:  # fmt: skip
    """`every`: a row for each figure, the unchanged ones too."""
    notes: list[str] = []
    rows = [row for one in gathered(found, every) for row in [cells(one, notes)]]
    numbered = [f"({number}) {note}" for number, note in enumerate(notes, 1)]
    lines = [headline(pairs, found), "", *about(before, after, pairs), *differences.one_sided(before, after)]
    lines += caveats(pairs, found)
    table = ["", words.markdown([HEADS, *rows])] if rows else []
    legend = [within(tolerances, found)] if found else []
    return "\n".join(bulleted(lines) + table + ["", *bulleted([*numbered, *legend], first=0)]).rstrip()


def bulleted(lines: list[str], first: int = 2) -> list[str]:
    return [*lines[:first], *(f"- {line}" for line in lines[first:])]


def headline(pairs: Sequence[Pair], found: Sequence[Difference]) -> str:
    """`6 models, 66 figures: 3 slower, 1 worse, 56 no difference, 6 cannot say`"""
    models = f"{len(pairs)} model{'s' * (len(pairs) != 1)}"
    same = [pair.model for pair in pairs if pair.same_figures]
    if len(same) == len(pairs):
        return f"**{models}: both sides are one and the same measurement**"
    counts = ", ".join(f"{count} {verdict}" for verdict, count in differences.tally(found))
    left = f" ({', '.join(same)}: one and the same measurement)" if same else ""
    return f"**{models}, {len(found)} figures: {counts}**{left}"


def about(before: Side, after: Side, pairs: Sequence[Pair]) -> list[str]:
    """What is compared: where it lies, the scheme, machine, OpenVINO and, as far as recorded, day and commit."""
    mine, others = facts([pair.before for pair in pairs]), facts([pair.after for pair in pairs])
    common = [fact for fact in mine if fact in others]
    mine, others = ([fact for fact in side if fact not in common] for side in (mine, others))
    return [
        f"{kind}: {side.name} ({side.where}): {'; '.join(own)}".removesuffix(": ")
        for kind, side, own in (("before", before, mine), ("after", after, others))
    ] + ([f"both: {'; '.join(common)}"] if common else [])


def facts(measured: Sequence[Measured]) -> list[str]:
    said = [one.record.get("measured") or {} for one in measured]
    when = listed([" at ".join(str(known) for known in (one.get("date"), one.get("commit")) if known) for one in said])
    return [
        listed([one.scheme for one in measured]),
        listed([machine(one.machine) for one in measured]),
        listed([f"OpenVINO {one.openvino or 'unknown'}" for one in measured]),
        f"measured {when}" if when else "day and commit not recorded",
    ]


def listed(values: list[str]) -> str:
    return ", ".join(value for value in dict.fromkeys(values) if value)


def machine(about: dict[str, Any]) -> str:
    """`2 cores of Intel(R) Xeon(R) Processor (c86745)`"""
    identity = f"({about['id'][:6]})" if about.get("id") else ""
    if "cpu" not in about:
        return f"a machine that is not described {identity}".strip()
    return f"{about.get('cores')} cores of {about['cpu']} {identity}".strip()


def caveats(pairs: Sequence[Pair], found: Sequence[Difference]) -> list[str]:
    """What else differs, and what that leaves the times worth."""
    said = []
    other = [pair for pair in pairs if not pair.same_figures]
    if any(not pair.same_machine for pair in other):
        said.append("times and memory are of two machines")
    elif any(one.figure.timed for one in found) and any(not (pair.same_sitting or pair.same_fp16) for pair in other):
        said.append("no FP16 that is the same tells drift of the machine's speed from a change: repeat both to be sure")
    differing: dict[str, list[str]] = {}
    for pair in other:
        for name, values in pair.settings().items():
            differing.setdefault(f"{name} {values}", []).append(pair.model)
    return said + [f"{what}: {', '.join(models)}" for what, models in differing.items()]


def gathered(found: Sequence[Difference], every: bool) -> list[list[Difference]]:
    """Rows: each change alone, what cannot be said of several models together; `every`: each figure alone."""
    if every:
        return [[one] for one in found]
    unsure: dict[tuple[str, str], list[Difference]] = {}
    for one in found:
        if one.verdict == UNSURE:
            unsure.setdefault((one.figure.head, one.reason), []).append(one)
    rows = [[one] for one in found if one.verdict not in (SAME, EQUAL, UNSURE)]
    for group in unsure.values():
        rows += [group] if len(group) >= SEVERAL else [[one] for one in group]
    return rows


def cells(group: list[Difference], notes: list[str]) -> list[str]:
    """One row; its reason goes to the notes, which it refers to by number."""
    one = group[0]
    verdict = one.verdict
    if one.reason:
        notes += [one.reason] if one.reason not in notes else []
        verdict += f" ({notes.index(one.reason) + 1})"
    if len(group) > 1:
        return [f"{len(group)} models", one.figure.head, words.DASH, words.DASH, spread(group), verdict]
    values = [value(one.figure, side) for side in (one.change.before, one.change.after)]
    return [one.model, one.figure.head, *values, change(one), verdict]


def value(figure: Figure, found: float | None) -> str:
    return words.DASH if found is None else "identical" if math.isinf(found) else figure.text(found)


def change(one: Difference) -> str:
    """`+22 % (+21 to +23)`, `-0.31 dB (-0.42 to -0.20)`; no interval of what is counted or open."""
    known, figure = one.change.estimate, one.figure
    if known is None or not math.isfinite(known.found):
        return words.DASH
    ends = [amount(figure, end) for end in (known.low, known.high) if math.isfinite(end)]
    interval = f" ({' to '.join(ends)})" if len(ends) == 2 and known.low != known.high else ""
    return f"{amount(figure, known.found)}{unit(figure)}{interval}"


def spread(group: list[Difference]) -> str:
    """`-3.1 to +22 %`: of several models."""
    known = [one.change.estimate.found for one in group if one.change.estimate]
    known = sorted(found for found in known if math.isfinite(found))
    figure = group[0].figure
    return f"{' to '.join(amount(figure, end) for end in (known[0], known[-1]))}{unit(figure)}" if known else words.DASH


def amount(figure: Figure, found: float) -> str:
    if figure.digits is not None:
        return signed(found, figure.digits)
    share = 100 * (found - 1)
    return signed(share, 0 if abs(share) >= 10 else 1 if abs(share) >= 0.1 or figure.tolerance else 4)


def signed(found: float, digits: int) -> str:
    """`+0.3`, `-2.0`, and no sign of what is rounded to 0."""
    return f"{found:+.{digits}f}" if round(found, digits) else f"{0:.{digits}f}"


def unit(figure: Figure) -> str:
    return figure.unit if figure.digits is not None else " %"


def within(tolerances: Mapping[str, float], found: Sequence[Difference]) -> str:
    """`no difference: the whole interval within 5 % (times), ...`: of the figures that are compared."""
    turns = any(one.figure.timed for one in found) and not any(one.figure.fp16 for one in found)
    parts: dict[str, list[str]] = {}
    for figure in dict.fromkeys(one.figure for one in found):
        if figure.tolerance is not None:
            bound = tolerances["turns" if figure.timed and turns else figure.tolerance]
            told = f"{100 * bound:g} %" if figure.digits is None else f"{bound:g}{figure.unit}"
            head = "times" if figure.tolerance == "times" else figure.head
            parts.setdefault(told, []).append(head)
    told = "; ".join(f"{', '.join(dict.fromkeys(heads))} {bound}" for bound, heads in parts.items())
    means = "; fidelity is the mean over prompts that both drew" if any(one.figure.digits for one in found) else ""
    return f"no difference is said where the whole 95 % interval lies within: {told}{means}"
