"""Which way each layer's activations are quantized, found by what it costs the noise prediction.

Consumes a quantized graph (weights compressed, a quantizer before every layer), the float one it was made of, extremes
of channels and UNet inputs; produces a table: for every unit (stages.quantization.units) what was chosen, its noise and
its work. Every answer is kept in a file as it comes, so that a killed search goes on. Knows no layer by name.

How it goes: (1) the noise of each unit alone, quiet groups of units not being looked into; (2) for the noisy ones
scales by channel and at run time, and narrower ranges where these do not help; (3) the best of these for each, and
float, or INT8 twice, for those that gain most for the work given away, until the whole is quiet enough. Noises of units
add up, as they are independent of each other; the choice is measured as a whole before it is returned.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.ir import runtime
from stages.quantization import probing, statistics, stretches, units
from stages.quantization.units import Unit

if TYPE_CHECKING:
    import openvino as ov

    from stages.settings.schema import Search

STATIC, CLIPPED, MEAN, SMOOTH, DYNAMIC = "int8", "clipped", "mean", "smooth", "dynamic"
TWICE, FLOAT = "twice", "float"  # as good as no noise at all, for some of the work that is allowed for it
CLIP = 0.8  # of the widest range
MARGIN = 1.1  # beyond what each channel was seen to reach: prompts that were not seen reach further
EVEN = 0.75  # of the way to channels that all fill the range: all the way every one of them would be cut off
SPLITS = np.linspace(0, 1, 65)  # tried: the part of a range that lies below zero
QUIET = 0.3  # share of the allowed noise that is not looked into
SMALL = 0.2  # of a group's noise: below, the rest of it is not known well by taking away
WORTH_SCALED = 0.8  # of the plain quantizer's noise: what scales by channel must stay below
WORTH_NARROW = 0.5  # and a narrower range, in no quarter of the schedule above it: other prompts may be louder
WORTH_PICTURE = 0.8  # of any other's: to find a scale for a picture costs a pass over its tensor, little beside 3x3
WORTH_DYNAMIC = 0.6  # and one for every position two: much beside a linear layer
OVERHEAD = 5e-4  # of all work: what a float layer costs beside its own
TWICE_COSTS = 1 / 3  # of a float layer: one INT8 layer more, where float takes four times as long, three more
LARGE = 2.5e5  # multiply-accumulates above which a layer is computed twice: below, overhead decides, and float has less
FINDING = 0.6  # share of the time after which no more noisy units are looked for
ROUNDS = 3  # choices that are measured, each asked for more where the last one stayed below what was asked


@dataclass
class Answers:
    """Noise by question, in a file that grows by a line each: `[question, [noise by quarter], seconds used so far,
    checksum]`.

    Seconds count on where a killed search left off.
    """

    file: Path
    probe: probing.Probe
    seconds: float
    tick: Callable[[], Any] = lambda: None
    known: dict[str, list[float]] = field(default_factory=dict)
    left_out: int = 0
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        before = 0.0
        for line in self.file.read_text().splitlines() if self.file.is_file() else ():
            try:
                question, noise, used, check = json.loads(line)
            except (ValueError, TypeError):  # the line that a killed run was writing
                continue
            if check != _check(question, noise, used):  # asked again
                continue
            self.known[question], before = noise, used
        self.started -= before

    def noise(self, question: str, rows: np.ndarray, share: float = 1.0) -> np.ndarray | None:
        """None once this share of the time is up, but for what is known; a share of `math.inf` is always answered."""
        if question not in self.known:
            if self._used() > share * self.seconds:
                self.left_out += 1
                return None
            self.known[question] = [float(value) for value in self.probe.noise(rows)]
            with self.file.open("a") as file:
                answer = [question, self.known[question], round(self._used(), 1)]
                file.write(json.dumps([*answer, _check(*answer)]) + "\n")
        self.tick()
        return np.array(self.known[question])

    def _used(self) -> float:
        return time.monotonic() - self.started


def _check(*answer: Any) -> int:
    return zlib.crc32(json.dumps(answer).encode())


@dataclass(frozen=True)
class Subject:
    """Units, what each way to quantize them is as a row of the probe, and the scales by channel."""

    units: list[Unit]
    ways: list[dict[str, np.ndarray]]
    scales: dict[str, np.ndarray]
    macs: int

    def rows(self, off: np.ndarray, chosen: dict[int, str]) -> np.ndarray:
        rows = off.copy()
        for number, way in chosen.items():
            if way not in (FLOAT, TWICE):  # which are as good as no quantizer
                rows[number] = self.ways[number][way]
        return rows


def search(
    quantized: Path,
    original: Path,
    kept: Path,
    settings: Search,
    points: dict[str, np.ndarray],
    seen: int,
    macs: dict[str, int],
    count: int = stretches.COUNT,
) -> dict[str, Any]:
    """The table of choices for the IR `quantized`; `kept`: the folder with the ranges, where answers are kept too.

    `points`: a batch of UNet inputs; `seen`: how many samples' ranges are judged by them; `macs`: multiply-accumulates
    by layer of a whole forward; `count`: stretches that the model is asked in.
    """
    from tqdm import tqdm

    model, before = runtime.read(quantized), runtime.read(original)
    subject = describe(model, before, statistics.channels(kept / statistics.RANGES, seen), macs)
    statistics.restore_convolutions(model, before)
    probe = probing.Probe(model, subject.units, subject.scales, points, count)
    with tqdm(desc="search", unit="question", disable=None, leave=False) as bar:
        answers = Answers(kept / "answers.jsonl", probe, 60 * settings.minutes, bar.update)
        return choose(subject, answers, settings)


def choose(subject: Subject, answers: Answers, settings: Search) -> dict[str, Any]:
    off, everything = answers.probe.off, range(len(subject.units))
    allowed = 10 ** (-settings.min_sqnr_db / 10)
    plain = answers.noise("all:int8", subject.rows(off, dict.fromkeys(everything, STATIC)), math.inf)
    alone = noises_alone(subject, answers, allowed)
    measured = {number: {STATIC: noise} for number, noise in alone.items()}
    for number in noisy(alone, QUIET * allowed):
        for way in subject.ways[number]:
            if narrower(way) and not promising(measured[number], subject.units[number].pointwise):
                continue
            noise = answers.noise(f"{subject.units[number].name}:{way}", subject.rows(off, {number: way}))
            if noise is not None:
                measured[number][way] = noise
    asked, in_time = allowed, answers.left_out == 0
    for turn in range(ROUNDS):
        chosen = cheapest(subject, measured, asked, settings.max_float_share)
        rows = subject.rows(off, dict.fromkeys(everything, STATIC) | chosen)
        found = answers.noise(f"all:{turn}:{json.dumps(sorted(chosen.items()))}", rows, math.inf)
        if found.mean() <= allowed or not in_time:
            break
        asked *= min(0.95, allowed / float(found.mean()))
    return table(subject, measured, chosen, plain, found, answers.left_out, settings)


def noises_alone(subject: Subject, answers: Answers, allowed: float) -> dict[int, np.ndarray]:
    """Noise of single units by number, as far as they are in groups that are not quiet; the loudest groups first.

    Of two halves the later one is asked for, as less comes after it; the other is the rest of the whole, unless that is
    small.
    """
    count, found = len(subject.units), {}
    todo = [(range(count), ask(subject, answers, range(count)))]
    while todo:
        loudest = max(range(len(todo)), key=lambda place: -1.0 if todo[place][1] is None else todo[place][1].mean())
        group, noise = todo.pop(loudest)
        if noise is None:
            continue
        if len(group) == 1:
            found[group[0]] = noise
        elif noise.mean() > QUIET * allowed * len(group) / count:
            first, second = group[: len(group) // 2], group[len(group) // 2 :]
            half = ask(subject, answers, second)
            rest = None if half is None else noise - half
            if rest is not None and (rest < SMALL * noise).any():
                rest = ask(subject, answers, first)
            todo += [(first, rest), (second, half)]
    return found


def ask(subject: Subject, answers: Answers, group: range) -> np.ndarray | None:
    """The noise of these units with their plain quantizers, all others off."""
    name = subject.units[group[0]].name if len(group) == 1 else f"{group[0]}-{group[-1]}"
    rows = subject.rows(answers.probe.off, dict.fromkeys(group, STATIC))
    return answers.noise(f"{name}:{STATIC}", rows, FINDING)


def noisy(alone: dict[int, np.ndarray], quiet: float) -> list[int]:
    """The loudest units first, until those that are left make no more noise than `quiet` together."""
    order = sorted(alone, key=lambda number: -alone[number].mean())
    left = sum(noise.mean() for noise in alone.values())
    for place, number in enumerate(order):
        if left <= quiet:
            return order[:place]
        left -= alone[number].mean()
    return order


def promising(ways: dict[str, np.ndarray], pointwise: bool) -> bool:
    """Whether a narrower range is worth a question: nothing else helped, and the widest of them, once asked, was better
    than none."""
    if best(ways, pointwise) in (SMOOTH, DYNAMIC):
        return False
    tried = [noise.mean() for way, noise in ways.items() if narrower(way)]
    return not tried or min(tried) < ways[STATIC].mean()


def narrower(way: str) -> bool:
    return way in (CLIPPED, MEAN)


def best(ways: dict[str, np.ndarray], pointwise: bool) -> str:
    """The way to quantize with the least noise, where a change is worth its cost and its risk."""
    plain = ways[STATIC]
    usable = {STATIC: plain.mean()}
    for way, noise in ways.items():
        narrow = narrower(way)
        worth = WORTH_NARROW if narrow else WORTH_SCALED
        if way != DYNAMIC and noise.mean() < worth * plain.mean() and not (narrow and (noise > plain).any()):
            usable[way] = noise.mean()
    least = min(usable, key=lambda way: usable[way])
    dynamic = ways[DYNAMIC].mean() if DYNAMIC in ways else math.inf
    worth = WORTH_DYNAMIC if pointwise else WORTH_PICTURE
    return DYNAMIC if dynamic < worth * usable[least] else least


def cheapest(
    subject: Subject, measured: dict[int, dict[str, np.ndarray]], allowed: float, max_float_share: float
) -> dict[int, str]:
    """The best way for each unit, then float or twice where it gains most for its cost, until noise is `allowed`."""
    chosen = {number: best(ways, subject.units[number].pointwise) for number, ways in measured.items()}
    noise = {number: measured[number][way].mean() for number, way in chosen.items()}
    dear = {number: dearer(subject.units[number], subject.macs) for number in measured}
    given = 0.0
    for number in sorted(noise, key=lambda number: -noise[number] / (dear[number][1] + OVERHEAD)):
        if sum(noise.values()) <= allowed:
            break
        way, cost = dear[number]
        if given + cost <= max_float_share:
            given += cost
            chosen[number], noise[number] = way, 0.0
    return chosen


def dearer(unit: Unit, macs: int) -> tuple[str, float]:
    """How a unit is computed without noise, and the share of all work that this costs."""
    share = unit.macs / macs
    return (TWICE, TWICE_COSTS * share) if unit.direct and unit.macs > LARGE else (FLOAT, share)


def describe(
    model: ov.Model, before: ov.Model, channels: dict[str, statistics.Channels], macs: dict[str, int]
) -> Subject:
    found, nodes, floats = units.find(model, macs), units.named(model), units.named(before)
    described = [ways_of(unit, nodes, floats, channels) for unit in found]
    scales = {unit.name: scale for unit, (_, scale) in zip(found, described, strict=True) if scale is not None}
    return Subject(found, [rows for rows, _ in described], scales, sum(macs.values()))


def ways_of(
    unit: Unit, nodes: dict[str, ov.Node], floats: dict[str, ov.Node], channels: dict[str, statistics.Channels]
) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """A row for each way to quantize a unit, in the order in which they are tried, and its scales by channel where it
    can have them."""
    quantizer = nodes[unit.quantizers[0]]
    low, high = units.range_of(quantizer)
    seen = channels.get(quantizer.input_value(0).get_node().get_friendly_name())
    if seen is not None:
        low, high = float(seen.low.min()), float(seen.high.max())
    rows, scale = {STATIC: probing.row(low, high)}, None
    if len(unit.quantizers) > 1:
        return rows, scale
    narrow = {CLIPPED: probing.row(CLIP * low, CLIP * high)}
    if seen is not None:
        narrow[MEAN] = probing.row(seen.mean_low, seen.mean_high)
    if seen is not None and unit.direct and all(name in floats for name in unit.layers):
        scale = smoothing(seen, [units.weights_of(floats[name]) for name in unit.layers])
        low, high = float((seen.low / scale).min()), float((seen.high / scale).max())
        rows[SMOOTH] = probing.row(MARGIN * low, MARGIN * high, smooth=True)
    if unit.direct:
        rows[DYNAMIC] = probing.row(low, high, dynamic=True, smooth=scale is not None)
    return rows | narrow, scale


def smoothing(seen: statistics.Channels, weights: list[np.ndarray]) -> np.ndarray:
    """A scale for each input channel, with which it nearly fills the layer's range to one of its ends.

    SmoothQuant's equation 4 (Xiao et al., ICML 2023) with most of the outliers moved into the weights, which INT8 holds
    better, and for a range that is not symmetric: how much of it lies below zero is what makes the least noise, the sum
    over channels of squared weights times squared scales.
    """
    low, high = np.minimum(seen.low, 0).astype(np.float64), np.maximum(seen.high, 0).astype(np.float64)
    energy = sum((one.astype(np.float64) ** 2).sum(axis=(0, *range(2, one.ndim))) for one in weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        below, above = np.outer(1 / SPLITS, -low), np.outer(1 / (1 - SPLITS), high)
        scales = np.fmax(np.fmax(below, above), 0)  # fmax: 0 / 0 is nothing on that side
        noise = np.where(energy > 0, energy * scales**2, 0).sum(axis=1)
    scale = scales[np.argmin(noise)]
    used = scale > 0
    scale[~used] = 1.0
    scale[used] = (scale[used] / np.exp(np.log(scale[used]).mean())) ** EVEN if used.any() else 1.0
    return scale.astype(np.float16).clip(1e-3, 1e3).astype(np.float32)


def table(
    subject: Subject,
    measured: dict[int, dict[str, np.ndarray]],
    chosen: dict[int, str],
    plain: np.ndarray,
    found: np.ndarray,
    left_out: int,
    settings: Search,
) -> dict[str, Any]:
    rows = [
        {
            "unit": unit.name,
            "layers": len(unit.layers),
            "macs_share": round(unit.macs / subject.macs, 6),
            "choice": chosen.get(number, STATIC),
            "sqnr_db": {way: decibels(noise.mean()) for way, noise in measured.get(number, {}).items()},
        }
        for number, unit in enumerate(subject.units)
    ]
    shares = {way: sum(row["macs_share"] for row in rows if row["choice"] == way) for way in (FLOAT, TWICE)}
    return {
        "asked_sqnr_db": settings.min_sqnr_db,
        "max_float_share": settings.max_float_share,
        "before_sqnr_db": decibels(plain.mean()),
        "sqnr_db": decibels(found.mean()),
        "sqnr_by_quarter": [decibels(value) for value in found],
        "float_share": round(shares[FLOAT], 4),
        "twice_share": round(shares[TWICE], 4),
        "questions_left_out": left_out,
        "units": rows,
    }


def decibels(noise: float) -> float | None:
    """Of noise in relation to the signal; None for none at all."""
    return round(-10 * math.log10(noise), 2) if noise > 0 else None


def apply(
    model: ov.Model, original: ov.Model, channels: dict[str, statistics.Channels], found: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Change the quantized `model` as a table says; by layer, what its input channels were divided by, where they were.

    Weights are only read where they decide scales by channel.
    """
    choices = {row["unit"]: row["choice"] for row in found["units"]}
    every, nodes, floats = units.find(model, {}), units.named(model), units.named(original)
    ranged = [unit for unit in every if choices[unit.name] in (CLIPPED, MEAN, SMOOTH, DYNAMIC)]
    ways = {unit.name: ways_of(unit, nodes, floats, channels) for unit in ranged}  # before anything is changed
    scales = {}
    for unit in every:
        way = choices[unit.name]
        if way == FLOAT:
            units.bypass(nodes, unit, floats)
        rows, scale = ways.get(unit.name, ({}, None))
        if way in (SMOOTH, DYNAMIC) and scale is not None:
            units.smooth(nodes, unit, scale, floats)
            scales |= dict.fromkeys(unit.layers, scale)
        if rows:
            low, step = (float(value) for value in rows[way][:2])
            units.set_range(nodes, unit, low, low + step * (units.LEVELS - 1))
        if way in (TWICE, DYNAMIC):
            units.follow(nodes, unit)
        if way == TWICE:
            units.twice(nodes, unit)
        elif way == DYNAMIC:
            units.dynamic(nodes, unit)
    model.validate_nodes_and_infer_types()
    return scales


def loudest_first(found: dict[str, Any]) -> list[str]:
    """Units of a table that are quantized: by the noise of their plain quantizer, those not looked into last."""
    rows = [row for row in found["units"] if row["choice"] != FLOAT]
    known = {row["unit"]: row["sqnr_db"].get(STATIC) for row in rows}
    return sorted(known, key=lambda unit: math.inf if known[unit] is None else known[unit])
