"""What pieces of a benchmark take, foretold: steps by task, a refiner's base, and all of it within the time given."""

from types import SimpleNamespace

import pytest

from stages.machine import description, sizes, speed
from stages.machine.memory import FP16, INT8, Request
from stages.measurement import prices
from stages.measurement.extent import Extent

SETTINGS = SimpleNamespace(
    steps=None, strength=0.5, sdedit_strength=0.3, minutes=8, prompts=8, repetitions=10, warmup=2
)
ASKED = Request(1024, 2, "bf16")


@pytest.fixture(autouse=True)
def with_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that computes in bfloat16 faster than in float32, wherever the tests run."""
    monkeypatch.setattr(
        description, "instruction_sets", lambda: ["avx2", "avx512f", "avx512_vnni", "amx_bf16", "amx_int8"]
    )


def model(role: str = "base", steps: int = 25) -> SimpleNamespace:
    tasks = ["two-stage", "image-to-image"] if role == "refiner" else ["text-to-image", "image-to-image"]
    sampler = SimpleNamespace(steps=steps, high_noise_fraction=0.8 if role == "refiner" else None)
    return SimpleNamespace(role=role, tasks=tasks, sampler=sampler)


@pytest.mark.parametrize(
    "task, steps", [("text-to-image", 25), ("image-to-image", 12), ("two-stage", 5), ("two-stage-sdedit", 7)]
)
def test_a_task_runs_its_share_of_the_steps(task, steps):
    assert prices.own_steps(task, 25, SETTINGS, 0.8) == steps


def test_a_picture_is_its_steps_and_its_decoding_in_every_precision():
    found = sizes.of_architecture("vega")
    seconds = prices.foretold(model(), SETTINGS, found, None, ASKED, (FP16, INT8))
    steps = [speed.step_s(found["unet"], ASKED, stored) for stored in (FP16, INT8)]
    decode = speed.decode_s(ASKED)
    assert seconds.pictures["text-to-image"] == pytest.approx(25 * sum(steps) + 2 * decode)
    assert seconds.alone == pytest.approx(25 * steps[0] + decode)
    assert seconds.exact > seconds.alone and seconds.first == {"text-to-image": 0.0, "image-to-image": 0.0}


def test_a_refiners_picture_begins_with_its_bases_and_finished_ones_are_drawn_once():
    found, base = sizes.of_architecture("sdxl-refiner"), sizes.of_architecture("sdxl")
    seconds = prices.foretold(model("refiner"), SETTINGS, found, base, ASKED, (FP16, INT8))
    step = speed.step_s(base["unet"], ASKED)
    assert seconds.first["two-stage"] == pytest.approx(20 * step)
    assert seconds.first["image-to-image"] == pytest.approx(25 * step + speed.decode_s(ASKED))
    assert seconds.first["two-stage-sdedit"] == 0.0


@pytest.mark.parametrize("name", ["sdxl", "ssd-1b", "vega"])
def test_what_is_planned_stays_within_its_time_or_is_the_least(name):
    found = sizes.of_architecture(name)
    for minutes in (0, 20, 60, 600):
        settings = SimpleNamespace(**vars(SETTINGS) | {"minutes": minutes})
        extent, seconds, left_out = prices.planned(model(), settings, found, None, ASKED, (FP16, INT8))
        assert seconds.of(extent) <= 60 * minutes or extent.main == 1 and not extent.exact
        assert bool(left_out) == (extent.main < 8 or not extent.exact or not extent.controls)


def test_what_is_kept_on_disk_is_computed_by_hand():
    """Of two precisions and the reference: pixels twice, latents after every step, points and predictions at them."""
    found = sizes.of_architecture("sdxl")
    latents, picture, text = 4 * 128 * 128 * 4, 3 * 1024 * 1024, 77 * 2048 * 4
    points = 8 * (2 * (text + latents) + 3 * 2 * latents)
    of_base = 3 * (25 * latents + 2 * picture) + points
    many = Extent({"text-to-image": 5000}, 8, True, True, 10, 2)
    assert prices.kept_gb(model(), SETTINGS, many, found, ASKED, 2) == pytest.approx(5000 * of_base / 1e9)
    of_refiner = 3 * (5 * latents + 2 * picture) + points + latents + 2 * picture
    few = Extent({"two-stage": 10}, 8, True, True, 10, 2)
    assert prices.kept_gb(model("refiner"), SETTINGS, few, found, ASKED, 2) == pytest.approx(10 * of_refiner / 1e9)
