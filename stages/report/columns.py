"""The columns of the comparison: what each figure is called, in which unit, what it means, and how it is written.

Consumes results; produces columns in groups, each with one unit for all of its cells, chosen by the largest of them.
Measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stages.report import intervals, results, words
from stages.report.results import BEFORE, TWO_STAGE, Result, is_number

Value = Callable[[Result, str], float | None]  # of a model and precision
Beside = Callable[[Result, str], str]
MB_OR_GB = (("MB", 1.0), ("GB", 1e-3))
MS_OR_S = (("ms", 1e3), ("s", 1.0))
UP, DOWN = "more is better", "less is better"
PICTURE = "picture"


def nothing(result: Result, precision: str) -> str:
    return ""


@dataclass(frozen=True)
class Cell:
    text: str
    small: str = ""  # below the figure: its interval, or what it does not hold
    value: float | None = None  # to sort by


@dataclass(frozen=True)
class Column:
    group: str
    head: str
    unit: str
    meaning: str
    value: Value
    text: Callable[[float], str] = words.number
    beside: Beside = nothing
    good: str = UP

    def cell(self, result: Result, precision: str) -> Cell:
        value = self.value(result, precision)
        if value is None:
            return Cell(words.DASH)
        added = "+" if self.head == PICTURE and result.role == "refiner" else ""
        return Cell(added + self.text(value), self.beside(result, precision), value)


def columns(found: list[Result], shown: list[tuple[Result, str]]) -> list[Column]:
    """Of the models `found`, with units that suit the rows that are shown; columns without a figure are left out."""
    every = [*size(shown), *time(found, shown), *fidelity(), *work()]
    return [column for column in every if any(column.value(*row) is not None for row in shown)]


def size(shown: list[tuple[Result, str]]) -> Iterable[Column]:
    for head, name, meaning in (
        ("UNet", "unet_size_mb", "Its weights on disk; 1 MB is 1e6 bytes."),
        ("all", "total_size_mb", "The whole folder on disk: text encoders, UNet, VAE, tokenizers."),
        ("memory", "peak_rss_mb", "Peak of a process that holds all parts and runs each once, mapped files included."),
    ):
        unit, scaled = units(recorded(name), shown, MB_OR_GB)
        yield Column("size", head, unit, meaning, scaled, good=DOWN)


def time(found: list[Result], shown: list[tuple[Result, str]]) -> Iterable[Column]:
    load, load_s = units(recorded("load_s"), shown, MS_OR_S)
    cold, cold_s = units(recorded("cold_s", "picture"), shown, MS_OR_S)
    step, step_s = units(recorded("unet_step_s", "median"), shown, MS_OR_S)
    picture, picture_s = units(results.image_time, shown, MS_OR_S)
    yield Column("time", "load", load, "Reading and compiling all parts in a fresh process.", load_s, good=DOWN)
    yield Column(
        "time", "from cold", cold, "From nothing to a first picture in a fresh process: load, text encoders, first "
        "step and decode as measured once, further steps reckoned at the second one's time.", cold_s, good=DOWN,
    )  # fmt: skip
    yield Column("time", "step", step, "One UNet step, the median.", step_s, good=DOWN)
    yield Column(
        "time", "step speed", "×", "Of a step against FP16's: the median of pairs that took turns, and its 95 % "
        "interval. Below 1 it is slower.", recorded("speedup_step", "ratio"), words.ratio, spread("speedup_step"),
    )  # fmt: skip
    yield Column(
        "time", PICTURE, picture, "A whole picture, the median. A refiner's is what it adds after its base; below it "
        "the two together.", picture_s, beside=with_base(picture, dict(MS_OR_S)[picture]), good=DOWN,
    )  # fmt: skip
    yield Column(
        "time", "picture speed", "×", "Of a picture against FP16's, as for a step.", recorded("speedup_image", "ratio"),
        words.ratio, spread("speedup_image"),
    )  # fmt: skip
    yield Column(
        "time", "energy", "J", "Of the processor's package for a picture, other processes included, where it can be "
        "read.", recorded("energy_j", "picture", "median"), good=DOWN,
    )  # fmt: skip
    largest = results.largest(found)
    if largest is not None and len(results.bases(found)) > 1:
        yield Column(
            "time", f"to {largest.title}", "×", f"Picture time of {largest.title} / this one's, same precision.",
            lambda result, precision: against(result, precision, largest), words.ratio,
        )  # fmt: skip


def fidelity() -> Iterable[Column]:
    yield Column(
        "fidelity", "SQNR", "dB", "Signal-to-noise ratio of the predicted noise against float32's. At 20 dB the error "
        "has a hundredth of the noise's power and shows, from 30 dB on pictures hardly differ.",
        recorded("sqnr_db"),
    )  # fmt: skip
    yield Column(
        "fidelity", "worst quarter", "dB", "SQNR in the quarter of the schedule where it is lowest.",
        lambda result, precision: least(result.value(precision, "sqnr_by_quarter") or []),
    )  # fmt: skip
    yield Column(
        "fidelity", "PSNR", "dB", "Pictures against float32's from the same latents, the median. From 30 dB on "
        "differences are rarely seen.", recorded("psnr_db"),
    )  # fmt: skip
    yield Column("fidelity", "worst prompt", "dB", "The lowest PSNR of any prompt's picture.", worst_prompt)
    yield Column(
        "fidelity", "SSIM", "", "Structural similarity of pictures to float32's, the median; 1 is equal.",
        recorded("ssim"), lambda value: f"{value:.4f}",
    )  # fmt: skip
    yield Column(
        "fidelity", "CLIP score", "", "100 × the cosine of picture and prompt as CLIP sees them, the mean, with its "
        "95 % interval over prompts. Below it what another picture's prompt scores: the floor.",
        scored("clip_score"), lambda value: f"{value:.2f}", clip_beside,
    )  # fmt: skip
    yield Column(
        "fidelity", "CLIP similarity", "", "Cosine of picture and float32 picture as CLIP sees them; 1 is equal.",
        scored("clip_similarity"), lambda value: f"{value:.4f}",
    )  # fmt: skip
    yield Column(
        "fidelity", "FID", "", "Fréchet distance of all pictures' features from true pictures', with its 95 % interval "
        "and the number of pictures: it falls as there are more, so that figures of other numbers are not beside it.",
        recorded("fid", "value"), words.number, fid_beside, DOWN,
    )  # fmt: skip
    yield Column(
        "fidelity", "FID rise", "", "FID above FP16's, of the same prompts and as many, with the 95 % interval of this "
        "difference: prompts are resampled in pairs.", recorded("fid_rise", "value"), signed, rise_beside, DOWN,
    )  # fmt: skip


def work() -> Iterable[Column]:
    share = recorded("macs", "share_int8")
    yield Column(
        "work", "INT8", "%", "Share of a UNet step's multiply-accumulates that its kernels execute in INT8.",
        lambda result, precision: None if share(result, precision) is None else 100 * share(result, precision),
        lambda value: f"{value:.0f}",
    )  # fmt: skip


def recorded(*path: str) -> Value:
    return lambda result, precision: result.figure(precision, *path)


def scored(name: str) -> Value:
    """A figure that a CLIP model gave."""
    return lambda result, precision: result.figure(precision, name) if result.record.get("clip_model") else None


def units(value: Value, shown: list[tuple[Result, str]], choices: tuple[tuple[str, float], ...]) -> tuple[str, Value]:
    """The unit in which the largest value is below 1,000, or below 1 of the next; and the values in it."""
    known = [found for row in shown if (found := value(*row)) is not None]
    top = max(known, default=0.0)
    unit, factor = choices[0] if top * choices[0][1] < 1000 else choices[1]

    def scaled(result: Result, precision: str) -> float | None:
        found = value(result, precision)
        return None if found is None else found * factor

    return unit, scaled


def spread(name: str) -> Beside:
    """`1.37–1.46`"""

    def beside(result: Result, precision: str) -> str:
        low, high = (result.figure(precision, name, end) for end in ("low", "high"))
        return "" if low is None or high is None else f"{low:.2f}–{high:.2f}"

    return beside


def with_base(unit: str, factor: float) -> Beside:
    """`398 with base`: of a refiner, whose own time is only what it adds."""

    def beside(result: Result, precision: str) -> str:
        whole = result.figure(precision, "tasks", TWO_STAGE, "image_s", "median")
        return "" if result.role != "refiner" or whole is None else f"{words.number(whole * factor)} with base"

    return beside


def against(result: Result, precision: str, largest: Result) -> float | None:
    if result.role != "base" or largest.lacks(precision):
        return None
    return results.times_faster(result, largest, precision)


def worst_prompt(result: Result, precision: str) -> float | None:
    return least(per_prompt(result, precision, "psnr_db"))


def least(values: list[Any]) -> float | None:
    return min((value for value in values if is_number(value)), default=None)


def clip_beside(result: Result, precision: str) -> str:
    """`93.1–95.2`, and in a line of its own `floor −4.9`"""
    scores, floor = per_prompt(result, precision, "clip_score"), result.figure(precision, "clip_floor")
    said = []
    if len(scores) >= intervals.LEAST:
        found = intervals.of_means(lambda mean: mean[..., 0], np.array(scores)[:, None])
        said.append(f"{found.low:.1f}–{found.high:.1f}")
    said += [f"floor {floor:.1f}".replace("-", "−")] if floor is not None else []
    return "\n".join(said)


def fid_beside(result: Result, precision: str) -> str:
    """`22.9–24.1`, and in a line of its own `5,000 pictures`"""
    count = result.figure(precision, "fid", "count")
    interval = "–".join(words.number(result.figure(precision, "fid", end) or 0.0) for end in ("low", "high"))
    return f"{interval}\n{count:,.0f} pictures"


def rise_beside(result: Result, precision: str) -> str:
    """`−0.05 to +0.21`"""
    return " to ".join(signed(result.figure(precision, "fid_rise", end) or 0.0) for end in ("low", "high"))


def signed(value: float) -> str:
    """`+0.12`, and a true minus"""
    return f"{value:+.2f}".replace("-", "−")


def per_prompt(result: Result, precision: str, name: str) -> list[float]:
    rows: list[dict[str, Any]] = result.value(precision, "per_prompt") or []
    return [row[name] for row in rows if is_number(row.get(name))]


def contradictions(found: list[Result]) -> list[str]:
    """Where a speed, the median of pairs, is not what the two medians divide to, by more than 2 %."""
    said = []
    for result in found:
        ratio = result.figure(result.after, "speedup_step", "ratio")
        both = [result.figure(precision, "unet_step_s", "median") for precision in (BEFORE, result.after)]
        if ratio is None or None in both or abs(ratio * both[1] / both[0] - 1) <= 0.02:
            continue
        said.append(
            f"{result.title}: {ratio:.2f}× is the median of pairs; the medians divide to {both[0] / both[1]:.2f}×."
        )
    return said
