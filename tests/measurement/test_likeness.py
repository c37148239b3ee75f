"""Likeness to the reference as computed by hand: by prompt, by quarter of the schedule, by sample; the worst three."""

import numpy as np
import pytest
from PIL import Image

from stages.measurement import curve, likeness, tasks
from stages.measurement.reference import Reference
from stages.prompts.sets import Prompt

SIDE = 16  # SSIM needs 11


class Stub:
    """A CLIP that sees a grey level as an angle in degrees, and reads it from a text."""

    def picture_features(self, pictures):
        return self.text_features([picture.getpixel((0, 0))[0] for picture in pictures])

    def text_features(self, texts):
        angles = np.radians([float(text) for text in texts])
        return 7 * np.stack([np.cos(angles), np.sin(angles)], 1)


def runs(task: str, *levels: int, latents: float = 1.0) -> list[tasks.Run]:
    """One plain picture of each level of grey, of prompts that read 0, 60, 120, ..."""
    jobs = [tasks.Job(task, Prompt(f"p{60 * n}", str(60 * n)), 1, None, {}) for n in range(len(levels))]
    pictures = [Image.new("RGB", (SIDE, SIDE), (level,) * 3) for level in levels]
    drawn = [tasks.drawn(picture, [np.array([latents])]) for picture in pictures]
    return [tasks.Run(job, arrays, 5, 1.0) for job, arrays in zip(jobs, drawn, strict=True)]


def rows(*names: str) -> dict:
    return {name: {"per_prompt": [dict.fromkeys(likeness.PER_PROMPT) for _ in range(2)]} for name in names}


def test_clip_figures_are_as_computed_by_hand():
    reference = Reference("float32", runs("text-to-image", 0, 90), [], [])
    found, others = rows("fp16", "int8"), runs("image-to-image", 180, 180)
    mine = {"fp16": runs("text-to-image", 0, 90) + others, "int8": others + runs("text-to-image", 60, 60)}
    likeness.add_clip_figures(found, reference, mine, Stub())
    # (cos 0 + cos 30) / 2, (cos 60 + cos 90) / 2
    assert found["fp16"] | {"per_prompt": 0} == {
        "clip_score": 93.3, "clip_floor": 25.0, "clip_similarity": 1.0, "clip_drop_percent": 0.0, "per_prompt": 0,
    }  # fmt: skip
    # (cos 60 + cos 0) / 2 both ways, (cos 60 + cos 30) / 2; 1 - 75 / 93.3
    assert found["int8"] | {"per_prompt": 0} == {
        "clip_score": 75.0, "clip_floor": 75.0, "clip_similarity": 0.683, "clip_drop_percent": 19.615, "per_prompt": 0,
    }  # fmt: skip
    first, second = found["int8"]["per_prompt"]
    assert (first["clip_score"], first["clip_score_reference"], first["clip_similarity"]) == (50.0, 100.0, 0.5)
    assert (second["clip_score"], second["clip_score_reference"]) == (100.0, 86.603)


def test_a_score_without_anything_to_lose_has_no_drop():
    assert likeness.drop_percent(50.0, 40.0) == 20.0 and likeness.drop_percent(50.0, 55.0) == -10.0
    assert str(likeness.drop_percent(50.0, 50.0001)) == "0.0"
    assert likeness.drop_percent(0.0, -1.0) is None and likeness.drop_percent(-2.0, 1.0) is None


@pytest.fixture
def found() -> dict:
    """Two prompts with two points each: signals of 10, errors of 1 and 0.1, then of 0 and 1."""
    reference = Reference(
        "float32",
        runs("text-to-image", 100, 100),
        [{"timestep": np.array([step])} for step in (999.0, 1.0, 999.0, 1.0)],
        [np.array([10.0])] * 4,
        ["p0", "p0", "p60", "p60"],
    )
    predicted = [np.array([value]) for value in (11.0, 10.1, 10.0, 11.0)]
    others = runs("image-to-image", 1, 1)
    return likeness.likeness(reference, others + runs("text-to-image", 101, 100, latents=-1.0), predicted)


def test_predictions_are_compared_at_every_sample_and_pooled_by_prompt_and_quarter(found):
    assert found["sqnr_by_sample"] == [20.0, 40.0, None, 20.0]
    assert found["sqnr_by_timestep"] == [[999.0, 23.01], [1.0, 22.97]]  # 200 / 1, 200 / 1.01
    assert found["sqnr_by_quarter"] == [22.97, None, None, 23.01]
    assert found["sqnr_db"] == 22.99  # 400 / 2.01
    assert [entry["sqnr_db"] for entry in found["per_prompt"]] == [22.97, 23.01]


def test_pictures_are_compared_prompt_by_prompt_and_null_stands_for_equal_ones(found):
    assert [entry["psnr_db"] for entry in found["per_prompt"]] == [48.13, None]  # every pixel off by one
    assert [entry["id"] for entry in found["per_prompt"]] == ["p0", "p60"]
    assert found["per_prompt"][1]["ssim"] == 1 and found["per_prompt"][0]["ssim"] < 1
    assert found["per_prompt"][0]["clip_score"] is None, "filled in by add_clip_figures"
    assert (found["psnr_db"], found["trajectory_cosine"]) == (48.13, -1.0)
    assert found.keys() == set(likeness.KEYS)


def test_the_worst_three_prompts_are_shown_the_worst_first_and_equal_pictures_last():
    prompts = [
        {"id": name, "text": name.upper(), "psnr_db": psnr, "ssim": 1.0}
        for name, psnr in (("a", None), ("b", 31.0), ("c", 28.5), ("d", 40.0), ("e", 29.0))
    ]
    assert likeness.worst(prompts) == [
        {"id": "c", "text": "C", "psnr_db": 28.5},
        {"id": "e", "text": "E", "psnr_db": 29.0},
        {"id": "b", "text": "B", "psnr_db": 31.0},
    ]
    assert [entry["id"] for entry in likeness.worst(prompts[:2])] == ["b", "a"]


def test_without_a_reference_every_figure_is_null_under_its_key():
    reference = Reference(None, runs("text-to-image", 1), [], [])
    assert likeness.likeness(reference, [], []) == dict.fromkeys(likeness.KEYS)


def test_quarters_end_below_250_500_and_750():
    steps = [0.0, 249.9, 250.0, 499.0, 500.0, 749.0, 750.0, 999.0]
    points = [{"timestep": np.array([step, step])} for step in steps]
    expected = [np.array([10.0])] * 8
    errors = [1.0, 1.0, 0.1, 0.1, 0.0, 0.0, 1.0, 0.0]
    predicted = [np.array([10.0 + error]) for error in errors]
    # equal predictions have no decibels; the last two pool to 200 / 1
    assert curve.sqnr_by_quarter(points, expected, predicted) == [20.0, 40.0, None, 23.01]
    assert curve.sqnr_by_quarter(points[:2], expected[:2], predicted[:2]) == [20.0, None, None, None]
    assert curve.worst_quarter_db([20.0, 40.0, None, 23.01]) == 20.0
    assert curve.worst_quarter_db([None] * 4) is None and curve.worst_quarter_db(None) is None
