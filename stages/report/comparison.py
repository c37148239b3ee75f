"""The figures in tables: every model and precision, the README's short form, published figures beside ours.

Consumes results; produces cells that are ready to be set. An unknown figure is an en dash. Measures nothing.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.report import columns, results, words
from stages.report.columns import Cell, Column
from stages.report.results import BEFORE, Result
from stages.report.words import DASH, duration, fixed, in_db, number, times

PUBLISHED = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Line:
    """One row of the comparison: a cell for each column, or the reason why there are none."""

    title: str
    precision: str
    cells: list[Cell]
    reason: str | None = None
    apart: bool = False  # measured in a sitting of its own, beside its own FP16


def comparison(found: list[Result], schemes: Sequence[Result] = ()) -> tuple[list[Column], list[Line]]:
    """Columns, and a line per model and scheme, FP16 first; a single one with the reason where it was not measured.

    `schemes`: what `python -m stages.schemes` measured, a result for each scheme.
    """
    listed = [row for result in found for row in rows(result, schemes)]
    whole = columns.columns(found, [(result, precision) for result, precision, reason in listed if not reason])
    lines = [
        Line(
            result.title, precision, [] if reason else [column.cell(result, precision) for column in whole], reason,
            result not in found,
        )
        for result, precision, reason in listed
    ]  # fmt: skip
    return whole, lines


def rows(result: Result, schemes: Sequence[Result]) -> list[tuple[Result, str, str | None]]:
    """(result, precision, why it has no figures) of one model."""
    if result.missing:
        return [(result, BEFORE, result.missing)]
    own = [(result, precision, result.lacks(precision)) for precision in dict.fromkeys((BEFORE, result.after))]
    others = [one for one in schemes if one.key == result.key and one.after not in (BEFORE, result.after)]
    return [*own, *((one, one.after, None) for one in others)]


def as_csv(whole: list[Column], lines: list[Line]) -> str:
    """A row per line with figures, without rounding; a unit stands in the head of its column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [" ".join(part for part in (one.group, one.head, one.unit and f"[{one.unit}]") if part) for one in whole]
    writer.writerow(["model", "precision", *heads])
    writer.writerows(
        [line.title, line.precision, *("" if cell.value is None else cell.value for cell in line.cells)]
        for line in lines
        if not line.reason
    )
    return text.getvalue()


def as_json(found: list[Result]) -> str:
    """The short form of every measured model's figures, and what they were measured with."""
    about = ("machine", "measured", "executed_steps", "guidance", "scheduler", "width_px", "height_px", "reference")
    content = {
        result.key: {"title": result.title, **{name: result.record.get(name) for name in about}, **result.metrics}
        for result in found
        if not result.missing
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def markdown(found: list[Result]) -> str:
    """The README's table: one line per model, quantized next to FP16."""
    after = found[0].after.upper()
    sizes, steps, scores = (f"{what} FP16 → {after}" for what in ("UNet", "step", "CLIP score"))
    heads = ["", "steps", sizes, "smaller", steps, "speed (95 %)", f"picture {after}", "PSNR", "SSIM", scores]
    rows = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for r in found:
        lacks = r.lacks(r.after)
        unet_mb = [number(r.figure(p, "unet_size_mb")) for p in (BEFORE, r.after)]
        step_s = [duration(r.figure(p, "unet_step_s", "median")) for p in (BEFORE, r.after)]
        clip_scores = [fixed(r.figure(p, "clip_score"), 2) for p in (BEFORE, r.after)]
        cells = [str(r.steps() or DASH), " → ".join(unet_mb) + " MB", times(r.smaller()), " → ".join(step_s)]
        cells += [gain(r, r.after, "speedup_step"), duration(results.image_time(r, r.after))]
        cells += [in_db(r.figure(r.after, "psnr_db")), fixed(r.figure(r.after, "ssim"), 3), " → ".join(clip_scores)]
        rows.append([r.title, *([lacks] + [DASH] * (len(cells) - 1) if lacks else cells)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def beside_published(found: list[Result]) -> list[dict[str, str]]:
    """Published ratios with ours for the same, or the nearest, model; hardware and size differ."""
    lines = []
    for entry in json.loads(PUBLISHED.read_text(encoding="utf-8")):
        (what, names), = entry["ours"].items()  # fmt: skip
        models = [named(found, name) for name in ([names] if isinstance(names, str) else names)]
        ours = published_kind(what, models) if all(models) else None
        by = " / ".join(model.title for model in models if model) if all(models) else DASH
        lines.append(entry | {"published": f"{entry['published']:g}×", "ours": times(ours), "by": by})
    return lines


def published_kind(what: str, models: list[Result]) -> float | None:
    if what == "smaller":
        return models[0].smaller()
    if what == "faster":
        return results.times_faster(models[0], models[1], BEFORE)
    return models[0].figure(models[0].after, what, "ratio")


def named(found: list[Result], name: str) -> Result | None:
    """The model of a published name in whichever family is here: vega is mini-vega among the miniatures."""
    return next((result for result in found if result.key in (name, f"{result.family}-{name}")), None)


def gain(result: Result, precision: str, name: str) -> str:
    """`1.41× (1.37–1.46)`"""
    return words.gain(*(result.figure(precision, name, part) for part in ("ratio", "low", "high")))
