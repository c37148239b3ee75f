"""The figures in tables: every model and precision, the README's short form, published figures beside ours.

Consumes results; produces cells that are ready to be set. An unknown figure is an en dash. Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.report import results, words
from stages.report.results import BEFORE, Result
from stages.report.words import DASH, duration, fixed, in_db, in_mb, number, percent, times

PUBLISHED = Path(__file__).with_name("published.json")


@dataclass(frozen=True)
class Column:
    head: str
    meaning: str
    cell: Callable[[Result, str, list[Result]], str]


@dataclass(frozen=True)
class Line:
    """One row of the comparison: cells by column, or the reason why there are none."""

    result: Result
    precision: str
    cells: list[str]
    reason: str | None


def columns(found: list[Result]) -> list[Column]:
    largest = results.largest(found)
    against = largest.title if largest else "the largest"
    return [
        Column("UNet", "its weights on disk, 1 MB = 1e6 bytes", lambda r, p, _: in_mb(r.figure(p, "unet_size_mb"))),
        Column("smaller", "FP16 size / this size", lambda r, p, _: times(r.smaller()) if p != BEFORE else DASH),
        Column("step", "one UNet step, median", lambda r, p, _: duration(r.figure(p, "unet_step_s", "median"))),
        Column(
            "speed-up", "of a step against FP16, with the 95 % interval", lambda r, p, _: gain(r, p, "speedup_step")
        ),
        Column(
            "picture",
            "a whole picture, median; a refiner's begins with the base's latents",
            lambda r, p, _: duration(results.image_time(r, p)),
        ),
        Column("speed-up", "of a picture against FP16", lambda r, p, _: gain(r, p, "speedup_image")),
        Column(
            f"vs {against}", f"picture time of {against} / this, same precision", lambda r, p, all_: rank(r, p, all_)
        ),
        Column("SQNR", "UNet output against float32, dB", lambda r, p, _: in_db(r.figure(p, "sqnr_db"))),
        Column("PSNR", "picture against float32, dB", lambda r, p, _: in_db(r.figure(p, "psnr_db"))),
        Column("SSIM", "picture against float32, 1 is equal", lambda r, p, _: fixed(r.figure(p, "ssim"), 3)),
        Column(
            "CLIP score",
            "100 × cosine of picture and prompt as CLIP sees them; below, cosine of picture and float32 picture",
            lambda r, p, _: clip_figures(r, p),
        ),
        Column(
            "MACs in INT8",
            "share of a UNet step's multiply-accumulates that its kernels execute in INT8",
            lambda r, p, _: percent(r.figure(p, "macs", "share_int8")),
        ),
    ]


def comparison(found: list[Result]) -> list[Line]:
    """Two lines per model, FP16 first; a single one with the reason where it was not measured."""
    lines = []
    for result in found:
        for precision in dict.fromkeys((BEFORE, result.after)):
            reason = result.lacks(precision)
            cells = [] if reason else [column.cell(result, precision, found) for column in columns(found)]
            lines.append(Line(result, precision, cells, reason))
            if result.missing:
                break
    return lines


def markdown(found: list[Result]) -> str:
    """The README's table: one line per model, quantized next to FP16."""
    after = found[0].after.upper()
    sizes, steps, scores = (f"{what} FP16 → {after}" for what in ("UNet", "step", "CLIP score"))
    heads = ["", "steps", sizes, "smaller", steps, "faster (95 %)", f"picture {after}", "PSNR", "SSIM", scores]
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


def clip_figures(result: Result, precision: str) -> str:
    """`27.18 (0.9871)`: score, and similarity to the reference"""
    score, similarity = (result.figure(precision, name) for name in ("clip_score", "clip_similarity"))
    return fixed(score, 2) + (f" ({similarity:.4f})" if similarity is not None else "")


def rank(result: Result, precision: str, found: list[Result]) -> str:
    return times(results.times_faster(result, results.largest(found), precision)) if result.role == "base" else DASH
