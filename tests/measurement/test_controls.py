"""Controls: the reference is itself when it runs again, another seed is not; few pictures are spent on it."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from stages.measurement import controls, doubts, extent, tasks
from stages.measurement import subject as subjects
from stages.measurement.extent import Extent
from stages.prompts.sets import Prompt

PROMPTS = [Prompt(f"p{n}", f"text {n}") for n in range(4)]


def runs(*levels: int) -> list[tasks.Run]:
    """One plain picture of each level of grey."""
    jobs = [tasks.Job("text-to-image", prompt, 1, None, {}) for prompt in PROMPTS[: len(levels)]]
    return [
        tasks.Run(job, tasks.drawn(Image.new("RGB", (16, 16), (level,) * 3), []), 5, 1.0)
        for job, level in zip(jobs, levels, strict=True)
    ]


class Stub:
    def picture_features(self, pictures):
        return np.array([[picture.getpixel((0, 0))[0], 1.0] for picture in pictures])


def figures(again: int, predicted: float) -> dict:
    control = controls.Controls(runs(again), [np.array([predicted])], runs(101, 102))
    return controls.figures(runs(100, 100, 100), [np.array([10.0]), np.array([5.0])], control, Stub())


def test_the_reference_run_again_is_identical_and_another_seed_is_not():
    found = figures(again=100, predicted=10.0)
    assert found["reference_again"] == {
        "prompts": 1, "points": 1, "identical": True, "sqnr_db": None, "psnr_db": None, "ssim": 1.0,
        "clip_similarity": 1.0,
    }  # fmt: skip
    other = found["other_seed"]
    assert (other["prompts"], other["identical"]) == (2, False)
    assert other["psnr_db"] == pytest.approx((48.13 + 42.11) / 2, abs=0.01)  # off by one, off by two
    assert 0.99 < other["ssim"] < 1 and other["clip_similarity"] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("again", "predicted"), [(101, 10.0), (100, 11.0)])
def test_a_reference_unlike_itself_is_doubted_in_words(again, predicted):
    found = figures(again, predicted)
    assert found["reference_again"]["identical"] is False
    record = {"random_weights": False, "precisions": {}, "controls": found}
    (said,) = doubts.doubts(record)
    assert said.startswith("the reference, run again, is not itself")
    assert doubts.doubts(record | {"controls": figures(100, 10.0)}) == []


def test_where_nothing_was_drawn_the_figures_are_null():
    found = controls.figures(runs(1), [], controls.Controls([], [], []))
    assert found["reference_again"]["identical"] is None and found["other_seed"]["psnr_db"] is None
    assert found["reference_again"]["prompts"] == found["other_seed"]["prompts"] == 0


def subject(prompts: int, random_weights: bool = False) -> subjects.Subject:
    settings = SimpleNamespace(quantization=SimpleNamespace(name="int8"))
    facts = {"fp16": {"random_weights": random_weights}, "int8": {"scheme": "hybrid"}}
    precisions = {name: SimpleNamespace(facts=stated) for name, stated in facts.items()}
    much = Extent({"text-to-image": prompts}, points=8, exact=True, controls=True, repetitions=1, warmup=1)
    return subjects.Subject("x", settings, precisions, {}, PROMPTS[:prompts], 5, None, much)


def test_few_pictures_are_spent_on_controls_and_none_on_random_weights():
    assert subject(4).controls == (extent.AGAIN, extent.OTHERS) == (1, 2)
    assert subject(1).controls == (1, 1)
    assert subject(4, random_weights=True).controls == (0, 0)


def test_the_scheme_is_the_one_that_the_ir_names():
    assert (subject(1).scheme("int8"), subject(1).scheme("fp16")) == ("hybrid", None)


def test_control_pictures_have_seeds_of_their_own():
    settings = SimpleNamespace(seed=1, strength=0.5, sdedit_strength=0.3)
    sampler = SimpleNamespace(high_noise_fraction=0.8)
    starts = [tasks.Start({})] * 4
    seeds = {
        job.seed
        for further in (0, tasks.OTHER_SEED)
        for task, begin in (("text-to-image", None), ("two-stage", starts))
        for job in tasks.jobs(task, PROMPTS, begin, settings, sampler, further)
    }
    assert len(seeds) == 4 * len(PROMPTS)
