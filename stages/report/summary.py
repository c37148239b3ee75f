"""What the figures say, in words and tables: headline, key figures, comparison, published figures beside ours.

Consumes results; produces text that is ready to be set, for the page and the README. An unknown figure is an en dash,
a difference is called one only where its interval leaves out 1. Reads no benchmark files, measures nothing.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.report import results
from stages.report.results import BEFORE, Result

DASH = "–"
HARDLY_VISIBLE_DB = 30.0  # PSNR of 8-bit pictures from which on people rarely tell them apart
HINT = "INFERENCE_PRECISION_HINT"
FLOAT32 = "fp16 in float32"  # the reference, where memory holds it
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


def headline(found: list[Result]) -> str:
    """`INT8 UNets are 1.98× smaller and 1.41× faster than FP16. mini-Vega draws 2.9× faster than mini-SDXL.`"""
    after = found[0].after.upper()
    sizes = [size for result in found if (size := result.smaller())]
    speeds = [speed for result in found if (speed := result.figure(result.after, "speedup_step", "ratio"))]
    said = [f"{span(sizes)} smaller"] if sizes else []
    said += [f"{span(speeds)} {'faster' if surely_faster(found) else 'as fast'}"] if speeds else []
    first = f"{after} UNets are {' and '.join(said)} than FP16." if said else f"{BEFORE.upper()} figures only."
    first = first.replace("as fast than", "as fast as")
    return " ".join(part for part in (first, descendants(found)) if part)


def in_a_sentence(found: list[Result]) -> str:
    """The last words of a run, for a terminal: what quantizing did to size, pictures and speed; what is quickest."""
    after = found[0].after.upper()
    sizes = [size for result in found if (size := result.smaller())]
    psnrs = [psnr for result in found if (psnr := result.figure(result.after, "psnr_db")) is not None]
    said = [f"{after} makes the UNets {span(sizes)} smaller"] if sizes else []
    if psnrs:
        visible = "hardly to be seen" if min(psnrs) >= HARDLY_VISIBLE_DB else "to be seen"
        said.append(f"pictures stay within {min(psnrs):.1f} dB PSNR of float32's ({visible})")
    said += [speed] if (speed := speed_in_words(found)) else []
    first = f"{'; '.join(said)}." if said else ""
    return " ".join(part for part in (first, descendants(found)) if part) or f"{BEFORE.upper()} figures only."


def speed_in_words(found: list[Result]) -> str:
    """`a step takes 1.07× as long as FP16's, which this processor computes in bfloat16`"""
    speeds = [speed for result in found if (speed := result.figure(result.after, "speedup_step", "ratio"))]
    if not speeds:
        return ""
    middle = statistics.median(speeds)
    if middle >= 1:
        return f"a step runs {middle:.2f}× as fast as FP16's"
    hints = {str((result.value(BEFORE, "effective_properties") or {}).get(HINT)) for result in found}
    why = ", which this processor computes in bfloat16" if any("bfloat16" in hint for hint in hints) else ""
    return f"a step takes {1 / middle:.2f}× as long as FP16's{why}"


def descendants(found: list[Result]) -> str:
    """How much sooner the quickest models finish a picture than the largest one, each at its own number of steps."""
    largest = results.largest(found)
    faster = {
        result: gain
        for result in results.bases(found)
        if (gain := results.times_faster(result, largest, result.after)) and gain > 1.05
    }
    said = []
    for few in (False, True):
        group = [result for result in faster if (result in results.few_step(found)) is few]
        if group:
            quickest = max(group, key=lambda result: faster[result])
            steps = f", in {quickest.steps()} steps," if few else ""
            verb, than = ("", "") if said else (" draws", f" than {largest.title}")
            said.append(f"{quickest.title}{steps}{verb} {times(faster[quickest])} faster{than}")
    return f"{'; '.join(said)}." if said else ""


def key_figures(found: list[Result]) -> list[tuple[str, str]]:
    """(figure, what it is) of the most telling figures, in the quantized precision."""
    after = found[0].after
    times_s = {result: seconds for result in found if (seconds := results.image_time(result, after)) is not None}
    sizes = [size for result in found if (size := result.smaller())]
    speeds = [speed for result in found if (speed := result.figure(after, "speedup_step", "ratio"))]
    ssims = [ssim for result in found if (ssim := result.figure(after, "ssim")) is not None]
    shown = [(times(statistics.median(sizes)), "smaller UNet")] if sizes else []
    shown += [(times(statistics.median(speeds)), "speed of a UNet step")] if speeds else []
    if times_s:
        quickest = min(times_s, key=lambda result: times_s[result])
        shown.append((duration(times_s[quickest]), f"for a picture, {quickest.title}"))
    shown += [(f"{statistics.median(ssims):.3f}", "SSIM to the reference")] if ssims else []
    return shown


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
        Column("INT8 layers", "that the compiled UNet really executes in INT8", lambda r, p, _: executed(r, p)),
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


def warnings(found: list[Result], machine: dict) -> list[str]:
    """What a reader must know before comparing: absent figures, a busy machine, several machines, random weights."""
    said = [f"{line.result.title}: {line.reason}" for line in comparison(found) if line.reason]
    for result in found:
        noise = result.record.get("noise") or {}
        if noise.get("flagged"):
            said.append(f"{result.title} was measured on a busy machine ({busy(noise)}): read its times with care, "
                        f"or repeat them with 'dvc repro -f benchmark@{result.key}'")  # fmt: skip
    said += [note for result in found for note in short_of_memory(result)]
    ids = {result.record["machine"] for result in found if result.record.get("machine")}
    if len(ids | {machine.get("id", "")} - {""}) > 1:
        said.append("These figures come from more than one machine: compare ratios, not times, between models")
    if any(result.family == "synthetic" for result in found):
        said.append("Synthetic models have random weights: only their times and sizes mean anything")
    return said


def short_of_memory(result: Result) -> list[str]:
    """What was measured otherwise than usual, since memory did not hold it."""
    said, reference = [], result.record.get("reference")
    if result.record.get("interleaved") is False and len(result.record["precisions"]) > 1:
        said.append(f"{result.title}: precisions were measured one after the other, memory does not hold both")
    if reference not in (None, FLOAT32) and not result.record.get("random_weights"):
        said.append(f"{result.title}: fidelity is against {reference}, memory does not hold it in float32")
    return said


def busy(noise: dict) -> str:
    """`load 1.4, 12 % taken by other processes, 1 % by other guests`, as far as recorded."""
    load, others, steal = (noise.get(name) for name in ("load", "others", "steal"))
    said = [f"load {load:.1f}"] if results.is_number(load) else []
    said += [f"{100 * others:.0f} % taken by other processes"] if results.is_number(others) else []
    said += [f"{100 * steal:.0f} % by other guests"] if results.is_number(steal) else []
    return ", ".join(said)


def gain(result: Result, precision: str, name: str) -> str:
    """`1.41× (1.37–1.46)`"""
    ratio, low, high = (result.figure(precision, name, part) for part in ("ratio", "low", "high"))
    interval = f" ({low:.2f}–{high:.2f})" if low is not None and high is not None else ""
    return times(ratio) + interval if ratio is not None else DASH


def clip_figures(result: Result, precision: str) -> str:
    """`27.18 (0.9871)`: score, and similarity to the reference"""
    score, similarity = (result.figure(precision, name) for name in ("clip_score", "clip_similarity"))
    return fixed(score, 2) + (f" ({similarity:.4f})" if similarity is not None else "")


def rank(result: Result, precision: str, found: list[Result]) -> str:
    return times(results.times_faster(result, results.largest(found), precision)) if result.role == "base" else DASH


def executed(result: Result, precision: str) -> str:
    """`104 of 118` convolutions and matrix products."""
    count, layers = result.figure(precision, "executed_int8"), result.value(precision, "executed_precisions")
    total = f" of {sum(layers.values())}" if layers else ""
    return DASH if count is None else f"{count:.0f}{total}"


def surely_faster(found: list[Result]) -> bool:
    """Whether no measured interval of a step's speed-up reaches down to 1."""
    intervals = [
        (result.figure(result.after, "speedup_step", "low"), result.figure(result.after, "speedup_step", "ratio"))
        for result in found
    ]
    lowest = [low if low is not None else ratio for low, ratio in intervals if ratio is not None]
    return all(low > 1 for low in lowest)


def span(values: list[float]) -> str:
    low, high = f"{min(values):.2f}", f"{max(values):.2f}"
    return f"{low}×" if low == high else f"{low}–{high}×"


def times(value: float | None) -> str:
    """`1.98×`, `12.3×`"""
    return DASH if value is None else f"{value:.2f}×" if value < 10 else f"{value:.1f}×"


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
