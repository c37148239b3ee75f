"""Figures of a sitting: a row for each, how its time compares with our INT8's, how near its pictures are, what matters.

Consumes groups of seats, the reference's pictures and CLIP where there is one; produces rows of plain numbers. Measures
nothing. Ratios are seconds of a picture of our INT8 by seconds of the peer's: below 1 ours is the faster one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stages.measurement import clip, fidelity, latency, likeness
from stages.peers.known import INT8, PEERS, QUANTIZED, RUNTIME, TORCH
from stages.peers.sitting import Group, Seat

Row = dict[str, Any]
GB = 1000  # MB
BEST = {"int8": INT8, "pytorch": TORCH, "runtime": RUNTIME}  # what ours is compared with in the last sentence


def rows(
    names: Sequence[str],
    groups: list[Group],
    reasons: dict[str, str],
    reference: Seat | None,
    prompts: list[str],
    model: clip.Clip | None,
) -> list[Row]:
    """In the order of names; `reference` None where pictures mean nothing, `model` where nothing scores them."""
    texts = model.text_features(prompts) if model else None
    return [_row(name, groups, reasons.get(name), reference, texts, model) for name in names]


def _row(
    name: str, groups: list[Group], reason: str | None, reference: Seat | None, texts: Any, model: clip.Clip | None
) -> Row:
    mine = [(seat, group) for group in groups for seat in group if seat.name == name]
    reason = reason or next((seat.reason for seat, _ in mine if seat.reason), None)
    about = {"name": name, "kind": PEERS[name].kind, "about": PEERS[name].about(), "skipped": reason}
    empty = dict.fromkeys(("picture_s", "time_ratio", "in_turns", "load_s", "first_s", "cold_s", "memory_gb"))
    nothing = empty | dict.fromkeys(("psnr_db", "ssim", "clip_score")) | {"per_prompt": []}
    if reason:
        return about | nothing
    first = mine[0][0]
    times = [value for seat, _ in mine for value in seat.seconds]
    ratio, together = against(first, mine[0][1], groups)
    cold = first.cold
    found = {"picture_s": latency.latency(times), "time_ratio": ratio, "in_turns": together}
    found |= {"load_s": cold["load_s"], "first_s": cold["first_s"], "cold_s": cold["load_s"] + cold["first_s"]}
    found |= {"memory_gb": fidelity.rounded(cold["peak_mb"] and cold["peak_mb"] / GB, 3)}
    scores = _scores(first, texts, model)
    per_prompt = likenesses(first, reference if PEERS[name].same_noise else None, scores)
    return about | nothing | found | summary(per_prompt) | {"per_prompt": per_prompt}


def against(seat: Seat, group: Group, groups: list[Group]) -> tuple[dict[str, float] | None, bool]:
    """Our INT8's seconds by the seat's, picture by picture where both drew in turns, else median by median."""
    beside = next((one for one in group if one.name == QUANTIZED and not one.reason), None)
    if beside is not None and len(beside.seconds) == len(seat.seconds):
        return latency.speedup(beside.seconds, seat.seconds), True
    apart = next((one for every in groups for one in every if one.name == QUANTIZED and not one.reason), None)
    return (latency.speedup_apart(apart.seconds, seat.seconds), False) if apart else (None, False)


def likenesses(seat: Seat, reference: Seat | None, scores: list[float] | None) -> list[dict[str, float | None]]:
    """Each prompt's own figures; decibels are null of equal pictures, and all of it where there is no reference."""
    expected = reference.pictures[: len(seat.pictures)] if reference and not reference.reason else []
    pairs = list(zip(expected, seat.pictures, strict=False))
    known = len(pairs) == len(seat.pictures)
    return [
        {
            "psnr_db": fidelity.rounded(fidelity.psnr_db(*pairs[n])) if known else None,
            "ssim": fidelity.rounded(fidelity.ssim(*pairs[n]), 5) if known else None,
            "clip_score": fidelity.rounded(scores[n], 3) if scores else None,
        }
        for n in range(len(seat.pictures))
    ]


def summary(per_prompt: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Median decibels, as a single equal picture would make their mean infinite; mean SSIM and CLIP score."""
    known = {name: [one[name] for one in per_prompt if one[name] is not None] for name in per_prompt[0]}
    decibels, similar, scores = (known[name] for name in ("psnr_db", "ssim", "clip_score"))
    return {
        "psnr_db": fidelity.rounded(float(np.median(decibels))) if decibels else None,
        "ssim": fidelity.rounded(float(np.mean(similar)), 4) if similar else None,
        "clip_score": fidelity.rounded(float(np.mean(scores))) if scores else None,
    }


def best(table: list[Row]) -> dict[str, Row | None]:
    """The fastest peer of each kind that ours is compared with."""
    able = [row for row in table if not row["skipped"] and row["time_ratio"]]
    kinds = {name: [row for row in able if row["kind"] == kind] for name, kind in BEST.items()}
    return {name: min(mine, key=lambda row: row["picture_s"]["median"], default=None) for name, mine in kinds.items()}


def _scores(seat: Seat, texts: Any, model: clip.Clip | None) -> list[float] | None:
    if model is None:
        return None
    from PIL import Image

    found = model.picture_features([Image.fromarray(picture) for picture in seat.pictures])
    return [fidelity.clip_score(*pair) for pair in likeness.pairs(found, texts[: len(found)])]
