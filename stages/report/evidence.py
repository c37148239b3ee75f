"""What stands behind the figures: fidelity along the schedule, control pairs, and work by the kernel that executes it.

Consumes results; produces tables of cells that are ready to be set, empty ones where nothing was recorded. An unknown
figure is an en dash, one that is infinite says that both sides are identical. Measures nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import Any

from stages.report import grids
from stages.report.results import BEFORE, Result, is_number
from stages.report.words import DASH, fixed, in_db, percent

IDENTICAL = "identical"
QUARTERS = ("below 250", "250–500", "500–750", "from 750")  # of the timesteps, 0 is the finished picture
INT8 = ("i8", "u8")
LARGEST = 5  # layers in float that are named


@dataclass(frozen=True)
class Line:
    title: str  # of the model, empty where the line above has the same
    what: str
    cells: list[str]
    after: bool = False  # of the quantized precision


@dataclass(frozen=True)
class Table:
    caption: str
    heads: list[str]
    lines: list[Line]


def evidence(found: list[Result]) -> dict[str, Any]:
    """All of it by name; `works`: a table for each model with its largest layers in float."""
    works = [(work(result), largest_in_float(result)) for result in measured(found)]
    judges = [result.record.get("judge") or {} for result in found]
    return {
        "schedule": schedule(found),
        "controls": controls(found),
        "works": [(table, floats) for table, floats in works if table.lines],
        "judges": list(dict.fromkeys(judge["title"] for judge in judges if judge)),
    }


def schedule(found: list[Result]) -> Table:
    """SQNR of the noise prediction: the whole, each quarter of the schedule, the worst sample, the worst prompt."""
    lines = []
    for result in measured(found):
        for precision in (BEFORE, result.after):
            quarters = result.value(precision, "sqnr_by_quarter")
            if not quarters:
                continue
            samples = result.value(precision, "sqnr_by_sample") or []
            prompts = [entry.get("sqnr_db") for entry in result.value(precision, "per_prompt") or []]
            whole = result.figure(precision, "sqnr_db")
            same = identical(result.record["precisions"][precision])
            cells = [IDENTICAL if same else in_db(whole), *map(in_db, reversed(quarters))]
            cells += [in_db(least(samples)), in_db(least(prompts))]
            lines.append(Line(result.title, grids.title(precision), cells, precision == result.after))
    heads = ["all of it", *(f"timestep {name}" for name in reversed(QUARTERS)), "worst sample", "worst prompt"]
    return Table("SQNR of the noise prediction along the schedule", heads, once(lines))


def controls(found: list[Result]) -> Table:
    """The quantized model between pairs whose likeness is known: the reference and itself, FP16, another seed."""
    lines = []
    for result in measured(found):
        known = result.record.get("controls") or {}
        if not known:
            continue
        own = result.record.get("retrieval") or {}
        lines.append(line(result, "float32 again", known.get("reference_again") or {}, own))
        for precision in (BEFORE, result.after):
            row = result.record["precisions"].get(precision) or {}
            lines.append(
                line(result, grids.title(precision), row, row.get("retrieval") or {}, precision == result.after)
            )
        lines.append(line(result, "another seed", known.get("other_seed") or {}, {}))
    heads = ["SQNR", "PSNR", "SSIM", "CLIP similarity", "subject read", "background read", "pictures"]
    return without_blanks(Table("Against float32: itself again, FP16, quantized, another seed", heads, once(lines)))


def line(result: Result, what: str, row: dict[str, Any], read: dict[str, Any], after: bool = False) -> Line:
    """Of a control, or of a precision's row; `read`: what the judge of prompts found."""
    same, prompts = identical(row), row.get("prompts") or len(row.get("per_prompt") or [])
    cells = [IDENTICAL if same else in_db(number(row.get(name))) for name in ("sqnr_db", "psnr_db")]
    scored = row if result.record.get("clip_model") else {}
    cells += [fixed(number(row.get("ssim")), 3), fixed(number(scored.get("clip_similarity")), 4)]
    cells += [percent(number(read.get(name))) for name in ("subject", "background")]
    return Line(result.title, what, [*cells, str(prompts) if prompts else DASH], after)


def identical(row: dict[str, Any]) -> bool:
    """Of a control as it was recorded; a precision is, where no sample and no picture has decibels."""
    samples, prompts = row.get("sqnr_by_sample"), row.get("per_prompt")
    decibels = [*(samples or []), *(entry.get("psnr_db") for entry in prompts or [])]
    return bool(row.get("identical") or (samples and prompts and not any(map(is_number, decibels))))


def work(result: Result) -> Table:
    """The quantized UNet's work by kind, kernel and precision, the largest first; none where it was not recorded."""
    layers = result.value(result.after, "layers") or []
    total = sum(layer["macs"] for layer in layers) or 1
    groups: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    for layer in layers:
        groups[layer["type"], layer["kernel"], layer["precision"]].append(layer["macs"])
    ordered = sorted(groups.items(), key=lambda entry: -sum(entry[1]))
    lines = [
        Line(kind, kernel, [precision, str(len(macs)), percent(sum(macs) / total, 1)], precision in INT8)
        for (kind, kernel, precision), macs in ordered
    ]
    return Table(f"{result.title}: work by kernel", ["computes in", "layers", "share of MACs"], lines)


def largest_in_float(result: Result) -> list[str]:
    """`conv_in (0.9 %)`: the layers that take most of what is not in INT8; attention's two products are one."""
    layers = result.value(result.after, "layers") or []
    total, floats = sum(layer["macs"] for layer in layers) or 1, Counter()
    for layer in layers:
        if layer["precision"] not in INT8:
            floats[short(layer["name"])] += layer["macs"]
    return [f"{name} ({percent(macs / total, 1)})" for name, macs in floats.most_common(LARGEST)]


def short(name: str) -> str:
    """`conv_in` of __module.unet.conv_in/aten::_convolution/Convolution."""
    return name.split("/")[0].removeprefix("__module.").removeprefix("unet.")


def curves(found: list[Result]) -> list[tuple[str, list[list[list[float]]]]]:
    """(title, the points [timestep, decibels] of FP16 and of the quantized model) where there are any."""
    drawn = []
    for result in measured(found):
        both = [result.value(precision, "sqnr_by_timestep") or [] for precision in (BEFORE, result.after)]
        known = [[[step, value] for step, value in points if is_number(value)] for points in both]
        if any(known):
            drawn.append((result.title, known))
    return drawn


def measured(found: list[Result]) -> list[Result]:
    return [result for result in found if not result.missing]


def once(lines: list[Line]) -> list[Line]:
    """A model's title on its first line alone."""
    before = ["", *(line.title for line in lines)]
    return [
        line if line.title != above else Line("", line.what, line.cells, line.after)
        for above, line in zip(before, lines, strict=False)
    ]


def without_blanks(table: Table) -> Table:
    """The table without columns that nothing is known of: no CLIP, no judge."""
    kept = [n for n in range(len(table.heads)) if any(line.cells[n] != DASH for line in table.lines)]
    lines = [replace(line, cells=[line.cells[n] for n in kept]) for line in table.lines]
    return Table(table.caption, [table.heads[n] for n in kept], lines)


def least(values: list[Any]) -> float | None:
    return min((value for value in values if is_number(value)), default=None)


def number(value: Any) -> float | None:
    return value if is_number(value) else None
