"""What changed between two sets of figures, as a verdict for every model and figure that says no more than is known.

Consumes two sides; produces `Difference`s. 'no difference': the whole interval lies within the tolerance of TOLERANCES.
A direction (slower, better, ...): the whole interval is on one side, of the tolerance for times of two sittings, of
equality for all else. Anything else cannot be said. Between sittings a machine's speed drifts, by tens of percent where
it is shared: FP16, where it is the same on both sides, shows by how much, and a time is said to have changed, or not to
have, only where the same is true of its ratio to FP16's. Reads no file.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from stages.files.layout import FP16
from stages.report import changes, words
from stages.report.changes import Change
from stages.report.intervals import Estimate
from stages.report.pairs import Pair
from stages.report.sides import Side

SAME, UNSURE, EQUAL = "no difference", "cannot say", "equal"
TOLERANCES = {  # shares, but for fidelity's, which are differences
    "times": 0.05,  # of two sittings
    "turns": 0.01,  # times that were measured in turns of one another
    "memory": 0.02,
    "sqnr_db": 0.5,
    "psnr_db": 0.5,
    "ssim": 0.001,
    "clip_score": 0.1,
}
CHANGED = "the machine's speed drifted, or code that all precisions share changed"
DRIFTED = f"FP16's IR and OpenVINO are the same: {CHANGED}"
AGAINST = f"against FP16, measured in turns with it, it is otherwise: {CHANGED}"
WIDE = "the interval is too wide: more prompts and repetitions narrow it"


@dataclass(frozen=True)
class Figure:
    head: str
    risen: str  # what the verdict is called
    fallen: str
    tolerance: str | None  # its name in TOLERANCES; None of what is counted
    measure: Callable[[Pair], Change | None]
    text: Callable[[float], str]
    digits: int | None = None  # of a difference; without, the change is a share
    unit: str = ""
    timed: str = ""  # the entry of a record that holds its seconds
    fp16: bool = False  # says something of FP16, for times of others to be compared with


@dataclass(frozen=True)
class Difference:
    model: str
    figure: Figure
    change: Change
    verdict: str
    reason: str = ""


def timed(head: str, name: str, precision: str | None = None) -> Figure:
    measure = partial(changes.seconds, name=name, precision=precision)
    return Figure(head, "slower", "faster", "times", measure, words.duration, timed=name, fp16=precision is not None)


def fidelity(head: str, name: str, text: Callable[[float], str], digits: int, unit: str = "") -> Figure:
    measure = partial(changes.fidelity, name=name, pooled=name == "sqnr_db")
    return Figure(head, "better", "worse", name, measure, text, digits, unit)


FIGURES = (
    timed("step", "unet_step_s"),
    timed("picture", "image_s"),
    Figure("step's speed against FP16", "faster", "slower", "times", partial(changes.speed, name="unet_step_s"),
           words.times, fp16=True),
    timed("FP16 step", "unet_step_s", FP16),
    timed("FP16 picture", "image_s", FP16),
    Figure("size", "larger", "smaller", None, changes.size, words.in_mb),
    Figure("memory", "heavier", "lighter", "memory", changes.memory, words.in_mb),
    fidelity("SQNR", "sqnr_db", words.in_db, 2, " dB"),
    fidelity("PSNR", "psnr_db", words.in_db, 2, " dB"),
    fidelity("SSIM", "ssim", lambda value: words.fixed(value, 4), 4),
    fidelity("CLIP score", "clip_score", lambda value: words.fixed(value, 2), 2),
)  # fmt: skip
VERDICTS = tuple(dict.fromkeys(
    [one for figure in FIGURES for one in (figure.risen, figure.fallen)] + [SAME, EQUAL, UNSURE]
))  # fmt: skip


def paired(before: Side, after: Side) -> list[Pair]:
    """The models that both sides have; of a model's sittings one that measured both, if there is any."""
    found = []
    for model in (model for model in before.models if model in after.models):
        every = [Pair(model, one, other) for one in before.models[model] for other in after.models[model]]
        found.append(next((pair for pair in every if pair.same_sitting), every[0]))
    return found


def differences(pairs: Iterable[Pair], tolerances: Mapping[str, float] = TOLERANCES) -> list[Difference]:
    """Every figure that either side has, of every pair that is not one and the same measurement."""
    found = []
    for pair in (pair for pair in pairs if not pair.same_figures):
        without_fp16 = pair.same_sitting or FP16 in (pair.before.scheme, pair.after.scheme)
        for figure in (figure for figure in FIGURES if not (figure.fp16 and without_fp16)):
            if change := figure.measure(pair):
                verdict, reason = judge(pair, figure, change, tolerances)
                found.append(Difference(pair.model, figure, change, verdict, reason))
    return found


def judge(pair: Pair, figure: Figure, change: Change, tolerances: Mapping[str, float]) -> tuple[str, str]:
    """Verdict and reason."""
    if change.reason or change.estimate is None:
        return UNSURE, change.reason
    estimate, drifts = change.estimate, figure.tolerance == "times" and not pair.in_turns
    if figure.tolerance is None:
        return (EQUAL if estimate.found == 1 else direction(figure, estimate.found - 1)), ""
    tolerance = tolerances["turns" if figure.timed and pair.in_turns else figure.tolerance]
    said = decide(figure, estimate, tolerance, drifts)
    if figure.timed and drifts and pair.same_fp16:
        return checked(pair, figure, said, tolerance)
    return said, WIDE if said == UNSURE else ""


def decide(figure: Figure, estimate: Estimate, tolerance: float, drifts: bool) -> str:
    """`drifts`: what lies within the tolerance may be the machine's doing."""
    low, high = estimate.low, estimate.high
    if figure.digits is None:
        low, high, tolerance = math.log(low), math.log(high), math.log1p(tolerance)
    if -tolerance <= low and high <= tolerance:
        return SAME
    beyond = tolerance if drifts else 0.0
    return figure.risen if low > beyond else figure.fallen if high < -beyond else UNSURE


def checked(pair: Pair, figure: Figure, said: str, tolerance: float) -> tuple[str, str]:
    """What is said of a time of two sittings, as far as FP16, which is the same, does not speak against it."""
    if said == UNSURE:
        return UNSURE, WIDE
    if figure.fp16 or FP16 in (pair.before.scheme, pair.after.scheme):
        return (SAME, "") if said == SAME else (UNSURE, DRIFTED)
    against = changes.speed(pair, figure.timed)
    if against is None or against.reason:
        return UNSURE, "nothing tells drift of the machine's speed from a change: no turns with FP16"
    low, high = 1 / against.estimate.high, 1 / against.estimate.low
    relative = decide(figure, Estimate(1 / against.estimate.found, low, high, None), tolerance, drifts=True)
    return (said, "") if said == relative else (UNSURE, WIDE if relative == UNSURE else AGAINST)


def direction(figure: Figure, change: float) -> str:
    return figure.risen if change > 0 else figure.fallen


def tally(found: Sequence[Difference]) -> list[tuple[str, int]]:
    """How many there are of each verdict, changes first."""
    counts = Counter(one.verdict for one in found)
    return [(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]]


def one_sided(before: Side, after: Side) -> list[str]:
    """`only before: mini-sdxl`"""
    said = []
    for name, one, other in (("before", before, after), ("after", after, before)):
        if alone := [model for model in one.models if model not in other.models]:
            said.append(f"only {name}: {', '.join(alone)}")
    return said
