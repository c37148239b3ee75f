"""What is to be doubted in a record: prompts that are read in part, pictures that cannot be right although none is
black, INT8 that hardly runs, times of a clock at another pace or of more steps than were asked for.

Consumes a record; produces sentences, none where all is well. Pictures of random weights are not doubted: they are
noise.
"""

from __future__ import annotations

from typing import Any

from stages.files.layout import FP16
from stages.measurement import clocks, evaluations, proof

NOTHING_IN_COMMON_DB = 12.0  # PSNR of two unrelated pictures of the miniatures: 6 to 11
ALIKE = 0.6  # CLIP similarity of unrelated pictures stays below
NAMED = 5  # prompts, in one sentence
ABOVE_FLOOR = 0.1  # of the way from a wrong prompt's score to 100


def doubts(record: dict[str, Any]) -> list[str]:
    rows = record["precisions"].items()
    said = [proof.doubt(row, name, row.get("scheme") or record.get("scheme")) for name, row in rows if name != FP16]
    said += [f"{name}: {row['overflow']}" for name, row in rows if row.get("overflow")]
    said = [sentence for sentence in [*said, clocks.doubt(record.get("clock"))] if sentence]
    said += [sentence for name, row in rows for sentence in evaluations.doubts(row, name)]
    if record["random_weights"]:
        return said
    return [*said, *of_prompts(record), *of_pictures(record), *of_controls(record)]


def of_prompts(record: dict[str, Any]) -> list[str]:
    """Texts that are not drawn to their end, though scores judge pictures by them."""
    cut = record.get("truncated") or {}
    ids, tokens, said = cut.get("prompts") or [], cut.get("tokens"), []
    if ids:
        named = ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
        what = "prompts are" if len(ids) > 1 else "prompt is"
        said += [f"{len(ids)} {what} longer than the {tokens} tokens that are read, the rest is not drawn: {named}"]
    if cut.get("negative_prompt"):
        said += [f"the negative prompt is longer than the {tokens} tokens that are read: the rest has no effect"]
    return said


def of_controls(record: dict[str, Any]) -> list[str]:
    """Figures that mean nothing, since the reference is not even like itself."""
    again = (record.get("controls") or {}).get("reference_again") or {}
    if again.get("identical") is not False:
        return []
    return [
        f"the reference, run again, is not itself (predictions {again['sqnr_db']} dB, pictures {again['psnr_db']} dB): "
        "nothing is known better than that"
    ]


def of_pictures(record: dict[str, Any]) -> list[str]:
    said = []
    for name, row in record["precisions"].items():
        psnr, alike = row.get("psnr_db"), row.get("clip_similarity")
        if (psnr is not None and psnr < NOTHING_IN_COMMON_DB) or (alike is not None and alike < ALIKE):
            said.append(
                f"pictures in {name} have next to nothing in common with the reference's ({psnr} dB, CLIP similarity "
                f"{alike}): look at them before you use it"
            )
    row = record["precisions"].get(FP16) or {}
    score, floor = row.get("clip_score"), row.get("clip_floor")
    if score is not None and floor is not None and score < floor + ABOVE_FLOOR * (100 - floor) / 2:
        said.append(
            f"pictures do not show their prompts even in {FP16} (CLIP score {score}, a wrong prompt's {floor}): the "
            f"sampler may not fit the checkpoint"
        )
    return said
