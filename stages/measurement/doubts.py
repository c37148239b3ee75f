"""Pictures that cannot be right although none is black: noise instead of what the prompt says, or another picture.

Consumes a record; produces sentences, none where all is well. Random weights are not doubted: they draw noise.
"""

from __future__ import annotations

from typing import Any

from stages.files.layout import FP16

NOTHING_IN_COMMON_DB = 12.0  # PSNR of two unrelated pictures of the miniatures: 6 to 11
ALIKE = 0.6  # CLIP similarity of unrelated pictures stays below
ABOVE_FLOOR = 0.1  # of the way from a wrong prompt's score to 100


def doubts(record: dict[str, Any]) -> list[str]:
    if record["random_weights"]:
        return []
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
