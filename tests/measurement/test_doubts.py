"""Noise and unrelated pictures are doubted in words; good pictures, random weights and absent figures are not."""

from __future__ import annotations

import pytest

from stages.measurement.doubts import doubts


def record(psnr=31.9, alike=0.99, score=94.0, floor=-11.0, random_weights=False) -> dict:
    row = {"psnr_db": psnr, "clip_similarity": alike, "clip_score": score, "clip_floor": floor}
    rows = {"fp16": {"psnr_db": 48.0, "clip_similarity": 1.0, "clip_score": score, "clip_floor": floor}, "int8": row}
    return {"random_weights": random_weights, "precisions": rows}


@pytest.mark.parametrize(
    "fine",
    [
        record(),
        record(psnr=None, alike=None, score=None, floor=None),
        record(score=27.3, floor=13.8),  # ViT-L/14 on true photographs
        record(psnr=5.0, alike=0.1, score=0.0, floor=0.0, random_weights=True),
    ],
)
def test_nothing_is_said_where_nothing_is_wrong(fine: dict) -> None:
    assert doubts(fine) == []


def test_pictures_unlike_the_references_are_named_by_precision() -> None:
    for wrong in (record(psnr=8.3), record(alike=0.31)):
        (said,) = doubts(wrong)
        assert said.startswith("pictures in int8 have next to nothing in common with the reference's")


def test_pictures_that_fit_no_prompt_better_than_any_other_are_doubted() -> None:
    (said,) = doubts(record(score=1.7, floor=-0.9))
    assert "do not show their prompts even in fp16 (CLIP score 1.7, a wrong prompt's -0.9)" in said
