"""Steps counted as asked, as told by the sampler and as calls of the UNet: a doubled one shows."""

from __future__ import annotations

import pytest

from stages.generation import pipelines
from stages.generation.residency import Room
from stages.measurement import doubts, evaluations, tasks
from stages.prompts.sets import Prompt
from tests.tiny_ir import CPU, sampler, tiny_ir


def job(**settings: float) -> tasks.Job:
    return tasks.Job("text-to-image", Prompt("p", "a red dog"), 1, None, settings)


def run(steps: int, calls: int | None, **settings: float) -> tasks.Run:
    return tasks.Run(job(**settings), {}, steps, 1.0, calls)


def told(*runs: tasks.Run, steps: int, order: int = 1) -> list[str]:
    found = evaluations.counted(list(runs), steps, order) | {"own_steps": runs[0].steps}
    rows = {"int8": {"tasks": {"text-to-image": found, "two-stage": None}}}
    return doubts.doubts({"random_weights": True, "precisions": rows})


@pytest.mark.parametrize(
    ("settings", "steps", "order", "asked"),
    [
        ({}, 25, 1, 25), ({"strength": 0.5}, 25, 1, 13), ({"denoising_start": 0.8}, 25, 1, 5),
        ({"denoising_start": 0.8}, 5, 1, 1), ({"strength": 0.3}, 1, 1, 1), ({}, 10, 2, 20),
    ],
)  # fmt: skip
def test_a_job_asks_for_its_share_of_the_steps(settings: dict, steps: int, order: int, asked: int) -> None:
    assert evaluations.asked(job(**settings), steps, order) == asked


def test_nothing_is_said_where_counts_agree() -> None:
    assert told(run(25, 25), run(25, 25), steps=25) == []
    assert told(run(12, 12, strength=0.5), steps=25) == []
    assert told(run(7, 7, denoising_start=0.8), steps=30) == [], "6 asked for: schedules round"
    assert told(run(19, 19), steps=10, order=2) == [], "Heun's solver: 2 n - 1"
    assert told(run(25, None), steps=25) == [], "of an older record"


def test_a_unet_that_is_called_twice_a_step_is_named_even_if_one_picture_alone_has_it() -> None:
    (said,) = told(run(4, 4), run(4, 8), run(4, 4), steps=4)
    assert said.startswith("int8 called its UNet 8 times for the 4 steps of a picture (text-to-image)")
    assert "called its UNet 3 times for the 4" in told(run(4, 3), steps=4)[0]


@pytest.mark.parametrize(("steps", "settings"), [(25, {}), (4, {}), (5, {"denoising_start": 0.8})])
def test_twice_the_steps_are_named(steps: int, settings: dict) -> None:
    own = evaluations.asked(job(**settings), steps)
    (said,) = told(run(2 * own, 2 * own, **settings), steps=steps)
    assert said == (f"int8 ran {2 * own} steps of text-to-image where {own} were asked for: its times are of those")


def test_calls_are_those_of_the_compiled_unet_however_it_comes_to_be_called_again() -> None:
    room = Room(10.0)
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", sampler(), CPU, room=room)

    def calls() -> int:
        before = room.calls["unet"]
        tasks.run(pipeline, job(), sampler(), 3, room.clock)
        return room.calls["unet"] - before

    assert calls() == 3, "the first call, which is loading, does not count"
    assert calls() == 3 and room.calls["vae_decoder"] == 2
    forward = pipeline.unet.forward
    pipeline.unet.forward = lambda *args, **how: (forward(*args, **how), forward(*args, **how))[1]
    assert calls() == 6
