"""Speeds of one model measured in turns: what a picture takes, and how like the exact one it is.

Consumes pipelines at speeds (stages.generation.speeding) and prompts; produces a row of figures for each and the
pictures. The first row is FP16 as its authors draw it, the second the same of the quantized IR: what all others are
compared with, prompt by prompt and in the same turns. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.generation import drawing
from stages.measurement import clip, fidelity, latency, likeness

if TYPE_CHECKING:
    from stages.generation.speeding import Fast
    from stages.measurement.kept import Kept
    from stages.prompts.sets import Prompt
    from stages.settings.schema import Benchmark

WARM_STEPS = 2


@dataclass
class Drawn:
    """Everything that was drawn at one speed, a picture per prompt."""

    name: str
    precision: str
    fast: Fast
    pictures: list[Any] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    rows: list[list[int]] = field(default_factory=list)  # given to the whole UNet and to its outer part

    def add(self, picture: np.ndarray, seconds: float, rows: list[int]) -> None:
        from PIL import Image

        self.pictures.append(Image.fromarray(picture))
        self.seconds.append(seconds)
        self.rows.append(rows)


def draw(
    drawn: Sequence[Drawn],
    prompts: Sequence[Prompt],
    how: Benchmark,
    clock: Callable[[], float],
    kept: Kept,
    tick: Callable[[], Any],
) -> int:
    """A picture of every prompt at every speed, in turns that begin with another one each time; how many prompts.

    Prompts after the first are drawn as long as they end within `how.minutes`, as the first foretells; null draws all.
    Pictures that an earlier run kept are not drawn again.
    """
    warm: set[int] = set()

    def picture(one: Drawn, prompt: Prompt, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        _warm_up(one, prompt, seed, whole=id(one) not in warm)
        warm.add(id(one))
        (found, work), seconds = latency.stopwatch(partial(one.fast.draw, prompt.text, seed), clock)
        require_picture(np.asarray(found), one, prompt, seed)
        return {"picture": np.asarray(found)}, {"seconds": seconds, "rows": _rows(one.fast, work)}

    limit = len(prompts)
    for number, prompt in enumerate(prompts):
        if number >= limit:
            break
        start = number % len(drawn)
        for one in [*drawn[start:], *drawn[:start]]:
            name, seed = f"{one.precision}/{one.name}/{number}", how.seed + number
            arrays, facts = kept.arrays(name, partial(picture, one, prompt, seed))
            one.add(arrays["picture"], **facts)
            tick()
        if number == 0 and how.minutes is not None:
            turn = sum(one.seconds[0] for one in drawn)
            limit = min(limit, max(1, int(60 * how.minutes / turn)))
    return limit


def require_picture(picture: np.ndarray, one: Drawn, prompt: Prompt, seed: int) -> None:
    """ValueError where a speed came to black or to one colour: there is nothing to compare then."""
    if flaw := fidelity.flaw(picture):
        raise ValueError(
            f"{one.precision} at speed {one.name} drew a picture that is {flaw} (prompt {prompt.id!r}, seed {seed}): "
            "leave that speed out, or set device.inference_precision=f32"
        )


def _warm_up(one: Drawn, prompt: Prompt, seed: int, whole: bool) -> None:
    """Before every picture, as in turns with others a model finds its own memory cold: a picture of four steps took 1.4
    times as long as after another one of its kind.

    `whole`: all shapes that a picture asks for are met, for which kernels are chosen then; those of a paced one come at
    steps far apart.
    """
    steps = {} if whole and one.fast.spares else {"steps": min(WARM_STEPS, one.fast.sampler.steps)}
    one.fast.draw(prompt.text, seed, **steps)


def _rows(fast: Fast, work: Any) -> list[int]:
    if work is not None:
        return [work.whole_rows, work.shallow_rows]
    guided = 2 if fast.pipeline.do_classifier_free_guidance else 1
    return [guided * drawing.executed_steps(fast.pipeline), 0]


def figures(drawn: Sequence[Drawn], prompts: Sequence[Prompt], model: clip.Clip | None) -> list[dict[str, Any]]:
    """A row for each: seconds, speed against the second one's, likeness to its pictures, CLIP scores; `model` None
    where pictures mean nothing or nothing scores them."""
    exact = drawn[1]
    texts = model.text_features([prompt.text for prompt in prompts]) if model else None
    scores = [_scores(one, texts, model) for one in drawn]
    return [_row(one, exact, mine, scores[1]) for one, mine in zip(drawn, scores, strict=True)]


def forget(rows: list[dict[str, Any]]) -> None:
    """Null what says nothing where the weights are random."""
    for row in rows:
        row |= {"psnr_db": None, "ssim": None, "per_prompt": []}


def _row(one: Drawn, exact: Drawn, scores: list[float] | None, best: list[float] | None) -> dict[str, Any]:
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(exact.pictures, one.pictures, strict=True)]
    decibels = [fidelity.psnr_db(*pair) for pair in pairs]
    known = [value for value in decibels if value is not None]
    similar = [fidelity.ssim(*pair) for pair in pairs]
    sampler = one.fast.sampler
    return {
        "name": one.name,
        "precision": one.precision,
        "sampler": f"{sampler.scheduler}, {sampler.steps} steps",
        "unet_rows": round(float(np.mean([whole for whole, _ in one.rows])), 1),
        "outer_rows": round(float(np.mean([outer for _, outer in one.rows])), 1),
        "picture_s": latency.latency(one.seconds),
        "speed": latency.speedup(exact.seconds, one.seconds),
        "psnr_db": fidelity.rounded(float(np.median(known)) if known else None),
        "ssim": fidelity.rounded(float(np.mean(similar)), 4),
        "clip_score": fidelity.rounded(float(np.mean(scores))) if scores else None,
        "clip_drop_percent": likeness.drop_percent(float(np.mean(best)), float(np.mean(scores))) if scores else None,
        "per_prompt": [
            {
                "psnr_db": fidelity.rounded(decibel),
                "ssim": fidelity.rounded(ssim, 5),
                "clip_score": fidelity.rounded(scores[n], 3) if scores else None,
                "clip_score_reference": fidelity.rounded(best[n], 3) if best else None,
            }
            for n, (decibel, ssim) in enumerate(zip(decibels, similar, strict=True))
        ],
    }


def _scores(one: Drawn, texts: Any, model: clip.Clip | None) -> list[float] | None:
    if model is None:
        return None
    found = model.picture_features(one.pictures)
    return [fidelity.clip_score(*pair) for pair in likeness.pairs(found, texts)]
