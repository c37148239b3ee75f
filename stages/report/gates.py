"""The figures that gates ask for, each with the interval that its prompts leave open.

Consumes record.json of a benchmark; produces an `Estimate` for each gate of conf/gates, or `Lack`, which says why there
is none. Decides nothing: stages.report.verdicts does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from stages.report import intervals, words
from stages.report.intervals import Estimate
from stages.report.results import BEFORE, floats_in, is_number
from stages.settings.schema import QUARTERS, quarter

APART_DB = 10.0  # a pooled figure this far from what its samples say is not of the same measurement
Row = dict[str, Any]  # of a record: the figures of one precision


class Lack(Exception):
    """Why there is no figure; `applies` is False where none is to be had of this model on this machine."""

    def __init__(self, reason: str, applies: bool = True) -> None:
        super().__init__(reason)
        self.applies = applies


@dataclass(frozen=True)
class Gate:
    key: str  # in conf/gates: min_... or max_...
    head: str
    meaning: str
    measure: Callable[[Row, dict[str, Any]], Estimate]  # of a precision's row and the whole record
    text: Callable[[float], str]
    unit: str = ""

    @property
    def least(self) -> bool:
        return self.key.startswith("min_")


def sqnr(row: Row, record: dict[str, Any]) -> Estimate:
    """dB. Samples count as equally loud, which noise predictions nearly are; the pooled figure is the recorded one."""
    noise = noise_of_samples(row, record).mean(axis=1, keepdims=True)
    found = pooled_db(row, noise)
    if np.isinf(found):
        return Estimate(found, found, found, len(noise))
    return agreeing(intervals.of_means(lambda mean: -10 * np.log10(mean[..., 0]), noise), found)


def quarter_below(row: Row, record: dict[str, Any]) -> Estimate:
    """dB that the worst quarter of the schedule lies under the whole; 0 where all of it is exact."""
    noise = noise_of_samples(row, record)
    places = np.array([quarter(step) for step in timesteps(row, record, *noise.shape)])
    visited = sorted(set(places.tolist()))
    if len(visited) == 1:
        raise Lack("this model is run in one quarter of the schedule only", applies=False)
    recorded = listed(row, "sqnr_by_quarter")
    by_quarter = np.stack([noise[:, places == place].mean(axis=1) for place in visited], axis=1)
    whole = pooled_db(row, noise)
    if np.isinf(whole):
        return Estimate(0.0, 0.0, 0.0, len(noise))
    if len(recorded) != QUARTERS or any((recorded[n] is None) == (n in visited) for n in range(QUARTERS)):
        raise Lack(f"sqnr_by_quarter is {recorded}, but there are samples in the quarters {visited}")
    found = whole - min(finite([recorded[place] for place in visited], "sqnr_by_quarter"))
    rows = np.column_stack([noise.mean(axis=1), by_quarter])
    own = intervals.of_means(lambda mean: 10 * np.log10(mean[..., 1:].max(-1) / mean[..., 0]), rows)
    estimate = agreeing(own, found)
    return replace(estimate, low=max(0.0, estimate.low))  # the worst one never lies above the whole


def clip_drop(row: Row, record: dict[str, Any]) -> Estimate:
    """Percent of the reference's mean CLIP score; below 0 where the score rose."""
    scores = by_prompt(row, record, "clip_score_reference", "clip_score")
    if (scores[:, 0] <= 0).any():
        raise Lack("a CLIP score of the reference's pictures is not above 0: there is nothing to take a share of")
    return intervals.of_means(lambda mean: 100 * (1 - mean[..., 1] / mean[..., 0]), scores)


def mean_of(name: str) -> Callable[[Row, dict[str, Any]], Estimate]:
    """Of a figure that every prompt's picture has, the mean over the prompts."""
    return lambda row, record: intervals.of_means(lambda mean: mean[..., 0], by_prompt(row, record, name))


def speed(row: Row, record: dict[str, Any]) -> Estimate:
    """Times FP16's speed in a UNet step, as the benchmark found it pair by pair."""
    before = record["precisions"].get(BEFORE) or {}
    if before.get("skipped"):
        raise Lack(f"there is no FP16 to compare with: {before['skipped']}")
    kind = floats_in(before)
    if kind is None:
        raise Lack("the record does not say what FP16 computes in: benchmark again")
    if kind not in ("float32", "f32"):
        raise Lack(f"FP16 computes in {kind} here, float32 is not the alternative", applies=False)
    if (busy := (record.get("noise") or {}).get("flagged")) is not False:
        raise Lack(
            f"the machine was {'too busy' if busy else 'not watched'}, its times decide nothing: benchmark again"
        )
    figure, pairs = row.get("speedup_step") or {}, (row.get("unet_step_s") or {}).get("n")
    ratio, low, high = finite([figure.get(part) for part in ("ratio", "low", "high")], "speedup_step")
    if not low <= ratio <= high or not isinstance(pairs, int):
        raise Lack("speedup_step has no interval that holds it, or unet_step_s no number of pairs")
    return Estimate(ratio, low, high, pairs, "pairs of steps")


def share_int8(row: Row, record: dict[str, Any]) -> Estimate:
    """Counted, layer by layer, by the kernels that run: nothing is left open."""
    if not (macs := row.get("macs")):
        raise Lack("the record has no macs: benchmark again")
    total, int8, share = finite([macs.get(name) for name in ("total", "int8", "share_int8")], "macs")
    if not 0 <= int8 <= total or total == 0 or abs(share - int8 / total) > 0.01:
        raise Lack(f"macs contradict themselves: {int8:g} of {total:g} in INT8 are said to be {share:g}")
    return Estimate(share, share, share, None)


def by_prompt(row: Row, record: dict[str, Any], *names: str) -> np.ndarray:
    """(prompts, names) of figures that each prompt's picture has."""
    entries = listed(row, "per_prompt")
    if any(name.startswith("clip") for name in names) and not record.get("clip_model"):
        raise Lack("no CLIP scored the pictures (clip=none)")
    values = [entry.get(name) for entry in entries for name in names]
    return np.array(finite(values, f"per_prompt's {' or '.join(names)}")).reshape(len(entries), len(names))


def noise_of_samples(row: Row, record: dict[str, Any]) -> np.ndarray:
    """(prompts, points along a prompt's schedule): noise to signal as a ratio, 0 where both predictions are equal."""
    if record.get("reference", "") is None:
        raise Lack("memory held no float model to compare with")
    prompts, decibels = listed(row, "per_prompt"), listed(row, "sqnr_by_sample")
    count, odd = divmod(len(decibels), len(prompts))
    owners = [owner for owner, _ in record.get("points") or []]
    if odd or (owners and owners != [entry.get("id") for entry in prompts for _ in range(count)]):
        raise Lack(f"sqnr_by_sample does not hold equally many of each of {len(prompts)} prompts, one after the other")
    known = finite([value for value in decibels if value is not None], "sqnr_by_sample")
    noise = iter(10 ** (-np.array(known) / 10))
    return np.array([0.0 if value is None else next(noise) for value in decibels]).reshape(len(prompts), count)


def pooled_db(row: Row, noise: np.ndarray) -> float:
    """The recorded SQNR; infinite where every prediction, and with it every picture, is the reference's own."""
    found = row.get("sqnr_db")
    if found is None and not noise.any():
        if all(entry.get("psnr_db", "") is None and entry.get("ssim") == 1 for entry in row["per_prompt"]):
            return np.inf
        raise Lack("all SQNR are null, yet the pictures are not the reference's")
    return finite([found], "sqnr_db")[0]


def timesteps(row: Row, record: dict[str, Any], prompts: int, count: int) -> list[float]:
    """Of the `count` points along every prompt's schedule: as the record lists them, else those of the curve."""
    curve = [step for step, _ in listed(row, "sqnr_by_timestep")]
    steps = finite([step for _, step in record.get("points") or []] or curve * prompts, "a timestep")
    if steps != steps[:count] * prompts:
        raise Lack(f"{count} samples of each of {prompts} prompts do not stand at the same timesteps")
    return steps[:count]


def agreeing(estimate: Estimate, recorded: float) -> Estimate:
    """The interval of the samples around the recorded figure, which knows how loud each of them is."""
    moved = recorded - estimate.found
    if abs(moved) > APART_DB:
        raise Lack(f"the record contradicts itself: {recorded:.1f} dB, of its samples {estimate.found:.1f} dB")
    return Estimate(recorded, estimate.low + moved, estimate.high + moved, estimate.count)


def listed(row: Row, name: str) -> list[Any]:
    value = row.get(name)
    if not isinstance(value, list) or not value:
        raise Lack(f"the record has no {name}: benchmark again")
    return value


def finite(values: list[Any], name: str) -> list[float]:
    if wrong := [value for value in values if not is_number(value)]:
        what = "missing" if all(value is None for value in wrong) else "not finite"
        raise Lack(f"{name} is {what}" + (f" in {len(wrong)} of {len(values)}" if len(values) > 1 else ""))
    return [float(value) for value in values]


GATES = (
    Gate("min_sqnr_db", "SQNR", "noise prediction against float32's", sqnr, words.number, " dB"),
    Gate("max_quarter_below_db", "worst quarter", "of the schedule: how far its SQNR lies under the whole's",
         quarter_below, words.number, " dB"),
    Gate("max_clip_drop_percent", "CLIP drop", "of the CLIP score, in percent of the reference's", clip_drop,
         lambda value: f"{value:.2f}", " %"),
    Gate("min_clip_similarity", "CLIP similarity", "of pictures and the reference's, mean over the prompts",
         mean_of("clip_similarity"), lambda value: f"{value:.4f}"),
    Gate("min_ssim", "SSIM", "of pictures and the reference's, mean over the prompts", mean_of("ssim"),
         lambda value: f"{value:.3f}"),
    Gate("min_speed_step", "step's speed", "times FP16's, where that computes in float32", speed,
         lambda value: f"{value:.2f}", "×"),
    Gate("min_share_macs_int8", "MACs in INT8", "of a UNet step, by the kernels that run", share_int8,
         lambda value: f"{100 * value:.1f}", " %"),
)  # fmt: skip
