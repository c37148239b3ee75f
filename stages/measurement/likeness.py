"""How like the reference a precision's results are: predictions, trajectories, pictures, prompt by prompt.

Consumes the reference's recording, a precision's runs and predictions; produces the entries of record.json that say
so. Decibels and cosines are against the reference; null where a figure does not apply, and where both are identical.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.measurement import clip, curve, fidelity, tasks
from stages.measurement.fidelity import rounded
from stages.measurement.reference import Reference
from stages.measurement.stored import Looks

WORST = 3  # prompts that are shown
PER_PROMPT = ("psnr_db", "ssim", "sqnr_db", "clip_score", "clip_score_reference", "clip_similarity")
KEYS = (
    "sqnr_db",
    "sqnr_by_timestep",
    "sqnr_by_quarter",
    "sqnr_by_sample",
    "trajectory_cosine",
    "psnr_db",
    "ssim",
    "clip_score",
    "clip_floor",
    "clip_drop_percent",
    "clip_similarity",
    "retrieval",
    "per_prompt",
    "worst_prompts",
)


def likeness(reference: Reference, runs: list[tasks.Run], predictions: Sequence[np.ndarray]) -> dict[str, Any]:
    """All of KEYS; `predictions`: at the reference's points.

    What CLIP and the judge of prompts say is filled in later, see `add_clip_figures`.
    """
    found = dict.fromkeys(KEYS)
    if reference.name is None:
        return found
    mine = reference.same_task(runs)
    cosines = [
        fidelity.cosine(*pair)
        for expected, run in zip(reference.runs, mine, strict=True)
        for pair in zip(expected.latents, run.latents, strict=True)
    ]
    prompts = per_prompt(reference, mine, predictions)
    decibels = [entry["psnr_db"] for entry in prompts if entry["psnr_db"] is not None]
    both = reference.predictions, predictions
    return found | {
        "sqnr_db": rounded(fidelity.pooled_sqnr_db(*both)),
        "sqnr_by_timestep": curve.sqnr_by_timestep(reference.points, *both),
        "sqnr_by_quarter": curve.sqnr_by_quarter(reference.points, *both),
        "sqnr_by_sample": [rounded(fidelity.sqnr_db(*pair)) for pair in zip(*both, strict=True)],
        "trajectory_cosine": round(float(np.mean(cosines)), 6),
        "psnr_db": rounded(float(np.median(decibels)) if decibels else None),
        "ssim": rounded(float(np.median([entry["ssim"] for entry in prompts])), 4),
        "per_prompt": prompts,
        "worst_prompts": worst(prompts),
    }


def per_prompt(
    reference: Reference, runs: list[tasks.Run], predictions: Sequence[np.ndarray]
) -> list[dict[str, float | str | None]]:
    """Each prompt's own figures, in the order of drawing."""
    mine: dict[str, list[int]] = defaultdict(list)
    for number, owner in enumerate(reference.owners):
        mine[owner].append(number)
    entries = []
    for expected, run in zip(reference.runs, runs, strict=True):
        pair = np.asarray(expected.picture), np.asarray(run.picture)
        numbers = mine[run.job.prompt.id]
        pooled = [Looks(numbers, array.__getitem__) for array in (reference.predictions, predictions)]
        entries.append(
            {"id": run.job.prompt.id, "text": run.job.prompt.text}
            | dict.fromkeys(PER_PROMPT)
            | {
                "psnr_db": rounded(fidelity.psnr_db(*pair)),
                "ssim": rounded(fidelity.ssim(*pair), 5),
                "sqnr_db": rounded(fidelity.pooled_sqnr_db(*pooled)) if numbers else None,
            }
        )
    return entries


def worst(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The prompts whose pictures differ most from the reference's, the worst first; identical ones are last."""
    order = sorted(prompts, key=lambda entry: np.inf if entry["psnr_db"] is None else entry["psnr_db"])
    return [{name: entry[name] for name in ("id", "text", "psnr_db")} for entry in order[:WORST]]


def forget(rows: dict[str, dict[str, Any]]) -> None:
    """Null what says nothing where the weights are random: only times, sizes, memory and work are left."""
    for row in rows.values():
        row.update(dict.fromkeys(KEYS))


def add_clip_figures(
    rows: dict[str, dict[str, Any]], reference: Reference, runs: dict[str, list[tasks.Run]], model: clip.Clip
) -> None:
    """How well every precision's pictures fit their prompts, and how like the reference's they are, as CLIP sees it."""
    texts = model.text_features([run.job.prompt.text for run in reference.runs])
    expected = model.picture_features(tasks.pictures(reference.runs))
    best = [fidelity.clip_score(*pair) for pair in pairs(expected, texts)]
    for name in runs:
        row = rows[name]
        found = model.picture_features(tasks.pictures(reference.same_task(runs[name])))
        scores = [fidelity.clip_score(*pair) for pair in pairs(found, texts)]
        alike = [fidelity.clip_similarity(*pair) for pair in pairs(expected, found)]
        row["clip_score"] = rounded(float(np.mean(scores)))
        if len(texts) > 1:  # each picture with the next one's prompt
            row["clip_floor"] = rounded(fidelity.clip_score(found, np.roll(texts, -1, axis=0)))
        row["clip_drop_percent"] = drop_percent(float(np.mean(best)), float(np.mean(scores)))
        row["clip_similarity"] = rounded(float(np.mean(alike)), 4)
        for entry, score, first, similarity in zip(row["per_prompt"], scores, best, alike, strict=True):
            entry["clip_score"], entry["clip_score_reference"] = rounded(score, 3), rounded(first, 3)
            entry["clip_similarity"] = rounded(similarity, 5)


def drop_percent(before: float, after: float) -> float | None:
    """Percent of a score that was lost, below 0 where it rose; None where there was none above 0 to lose."""
    return round(100 * (before - after) / before, 3) + 0.0 if before > 0 else None  # + 0.0: none of -0.0


def pairs(one: np.ndarray, other: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """n pairs of single features (1, width) of two times n."""
    return [(one[n : n + 1], other[n : n + 1]) for n in range(len(one))]
