"""How much of a benchmark fits a time: the least always, then more in the order of what it tells."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from stages.measurement import extent
from stages.measurement.prices import Seconds

TASKS = ["text-to-image", "image-to-image"]
# A picture takes a minute in both precisions, image-to-image half a minute, and so on; all sums are made by hand below.
SECONDS = Seconds(
    pictures={"text-to-image": 60.0, "image-to-image": 30.0},
    first={"text-to-image": 0.0, "image-to-image": 0.0},
    exact=100.0,
    alone=40.0,
    point=5.0,
    turn=4.0,
    once=10.0,
)
LEAST = 10 + 60 + 4 * 5 + 3 * 4
WHOLE = 10 + 8 * (60 + 30) + 8 * 8 * 5 + (10 + 2) * 4 + 8 * 100 + (1 + 2) * 100


def settings(minutes: float | None, **how) -> SimpleNamespace:
    return SimpleNamespace(**{"minutes": minutes, "prompts": 8, "repetitions": 10, "warmup": 2} | how)


def fitting(minutes: float | None, **how) -> extent.Extent:
    return extent.fitting(settings(minutes, **how), TASKS, 25, SECONDS)


def test_what_fp16_predicts_on_its_own_way_costs_nothing():
    least = extent.least(settings(0), TASKS, 25)
    known = replace(SECONDS, known=2.0)
    assert known.of(least) == LEAST - 4 * 2
    assert known.of(replace(least, exact=True)) == SECONDS.of(replace(least, exact=True))


def test_without_a_limit_and_within_it_everything_is_measured():
    whole = extent.everything(settings(None), TASKS, 25)
    assert whole == extent.Extent(dict.fromkeys(TASKS, 8), 8, True, True, 10, 2)
    assert SECONDS.of(whole) == WHOLE
    assert fitting(None) == fitting(WHOLE / 60) == whole
    assert extent.left_out(whole, whole, None, SECONDS) == []


def test_the_least_is_measured_whatever_it_takes():
    found = fitting(0)
    assert found == extent.Extent({"text-to-image": 1}, 4, False, False, 3, 0)
    assert SECONDS.of(found) == LEAST
    assert fitting(0, repetitions=1) == extent.Extent({"text-to-image": 1}, 4, False, False, 1, 0)


@pytest.mark.parametrize(
    "more, added",
    [
        (30, {"prompts": {"text-to-image": 1, "image-to-image": 1}}),
        (30 + 4 * 5, {"prompts": {"text-to-image": 1, "image-to-image": 1}, "points": 8}),
        (30 + 20 + 60 + 8 * 5, {"prompts": {"text-to-image": 2, "image-to-image": 1}, "points": 8}),
    ],
)
def test_time_goes_to_another_task_then_to_points_then_to_prompts(more, added):
    assert fitting((LEAST + more) / 60) == replace(fitting(0), **added)


def test_what_does_not_fit_is_passed_over_for_what_does():
    turns = (7 + 2) * 4  # seven more of them, two that warm up, and of nothing else so little
    assert fitting((LEAST + turns) / 60, prompts=2) == replace(fitting(0), prompts={"text-to-image": 1, TASKS[1]: 1})
    without_tasks = extent.fitting(settings((LEAST + turns) / 60, prompts=2), TASKS[:1], 4, SECONDS)
    assert (without_tasks.repetitions, without_tasks.warmup, without_tasks.exact) == (10, 2, False)


def test_more_time_never_measures_less():
    found = [fitting(minutes) for minutes in range(0, 40)]
    for less, more in zip(found, found[1:], strict=False):
        assert SECONDS.of(less) <= SECONDS.of(more)
        assert less.main <= more.main


def test_every_picture_of_another_task_has_one_of_the_main_task_to_start_from():
    for minutes in range(0, 40):
        found = fitting(minutes)
        assert max(found.prompts.values()) == found.main


def test_a_few_step_models_schedule_has_no_more_points_than_steps():
    assert extent.fitting(settings(0), TASKS[:1], 3, SECONDS).points == 3


def test_the_report_is_told_what_is_missing_and_what_all_of_it_would_take():
    found, whole = fitting(0), extent.everything(settings(0), TASKS, 25)
    (said,) = extent.left_out(found, whole, 0, SECONDS)
    assert said == (
        "text-to-image: 1 of 8 prompts; image-to-image: 0 of 8 prompts; 4 of 8 points of each prompt's schedule; "
        "3 of 10 timed turns; pictures in float32: fp16's own are what pictures are compared with; controls "
        "(benchmark.minutes 0; all of it would take about 0.6 h)"
    )
