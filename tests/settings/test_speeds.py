"""Speeds: out of conf/speed, or setting by setting; what they make of a model's sampler; what is refused."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from stages.settings import checks, composing, speeds
from stages.settings.schema import EXACT, FEW_STEPS
from tests.tiny_ir import sampler

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def settings() -> dict:
    return yaml.safe_load(composing.compose())


def test_the_file_exact_spares_nothing() -> None:
    found = settings()["speed"]
    assert {name: found[name] for name in EXACT} == EXACT
    assert set(found) - set(EXACT) == {"name", "min_ssim", "max_clip_drop_percent"}


def test_without_words_come_the_rows_of_the_list_and_then_the_files() -> None:
    names = [way.name for way in speeds.ways([])]
    assert names == ["exact", *speeds.listed(), "balanced", "fast"]
    alone = {key for way in speeds.ways([])[1:-2] for key in speeds.changes(way.speed)}
    assert alone == set(EXACT)  # every setting is measured by itself somewhere


def test_words_are_files_or_settings_alone() -> None:
    _, file, one, two = speeds.ways(["fast", "evaluate_every=2", "steps=9,scheduler=DDIMScheduler,options={}"])
    assert file.speed.name == "fast" and speeds.changes(file.speed)["decoder"] == "tiny"
    assert speeds.changes(one.speed) == {"evaluate_every": 2}
    assert speeds.changes(two.speed) == {"steps": 9, "scheduler": "DDIMScheduler"}
    interval, options = speeds.ways(
        ["guidance_interval=[0.1,0.9],static_shapes=true", "steps=9,scheduler=DDIMScheduler,options={clip_sample:true}"]
    )[1:]
    assert speeds.changes(interval.speed) == {"guidance_interval": [0.1, 0.9], "static_shapes": True}
    assert options.speed.options == {"clip_sample": True}


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fats", r"speed 'fats' is not in conf/speed \(did you mean fast\?\); it has balanced, fast"),
        ("evaluate_evry=2", r"speed.evaluate_evry is not a setting \(did you mean evaluate_every\?\)"),
        ("evaluate_every=1", "speed.evaluate_every must be at least 2"),
        ("evaluate_every=often", "speed.evaluate_every must be a whole number"),
        ("decoder=int4", "speed.decoder must be one of fp16, int8, tiny"),
        ("guidance_interval=[0.9,0.1]", r"speed.guidance_interval must be \[low, high\]"),
        ("guidance_interval=[0.9]", r"speed.guidance_interval must be \[low, high\]"),
        ("guidance_interval=[0.1,2]", r"speed.guidance_interval\[1\] must be at least 0 and at most 1"),
        ("scheduler=DDIMScheduler", "speed.steps must be given where speed.scheduler is"),
        ("steps=9,scheduler=DDIM", "speed.scheduler must be one of"),
        ("options={clip_sample:true}", "speed.options must be {} where speed.scheduler is null"),
        ("evaluate_every=2,deep_every=2", "spare the same steps"),
        ("name=mine", "speed.name is not a setting"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(word: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        speeds.ways([word])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"speed": {"name": "a b"}}, "speed.name must be letters"),
        ({"tiny_vae": {"kind": "hub", "repo": "a/b", "revision": None}}, "tiny_vae.revision must be a commit or main"),
        ({"tiny_vae": {"repo": None}}, "tiny_vae.repo must be a folder or a repository"),
    ],
)
def test_params_are_held_to_the_same(changed: dict, said: str) -> None:
    params = settings()
    for section, values in changed.items():
        params[section] |= values
    with pytest.raises(ValueError, match=said):
        checks.check(params)


def speed(word: str):
    return speeds.ways([word])[1].speed


def test_a_speed_gives_fewer_steps_and_their_scheduler_to_models_that_have_many() -> None:
    own = sampler(steps=25)
    found = speeds.sampler(
        own, speed("steps=12,scheduler=DPMSolverMultistepScheduler,options={use_karras_sigmas:true}")
    )
    assert (found.steps, found.scheduler) == (12, "DPMSolverMultistepScheduler")
    assert found.options == {"use_karras_sigmas": True} and found.guidance == own.guidance
    assert (own.steps, own.scheduler, own.options) == (25, "EulerDiscreteScheduler", {})


@pytest.mark.parametrize("steps", [4, FEW_STEPS, 12])
def test_models_of_few_steps_or_no_more_keep_their_sampler(steps: int) -> None:
    own = sampler(steps=steps)
    assert speeds.sampler(own, speed("steps=12,scheduler=DDIMScheduler")) is own


def test_what_changes_nothing_for_a_model_is_no_row_of_its_table() -> None:
    few = [way.name for way in speeds.apart(sampler(steps=4, guidance=1.0), speeds.ways([]))]
    assert few == ["exact", "static shapes", "INT8 text weights", "INT8 decoder", "tiny decoder", "balanced", "fast"]
    many = [way.name for way in speeds.apart(sampler(steps=25), speeds.ways([]))]
    assert many == [way.name for way in speeds.ways([])]


def test_the_selected_speed_stands_beside_exact() -> None:
    fast = speed("fast")
    before = copy.copy(vars(fast))
    exact, own = speeds.selected(fast)
    assert (exact.name, own.name) == ("exact", "fast") and not speeds.changes(exact.speed)
    assert own.speed is fast and vars(fast) == before
    assert [way.name for way in speeds.selected(exact.speed)] == ["exact"]
