"""Intervals that gates are decided by: wide where prompts are few, the same for the same prompts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stages.report import intervals
from stages.report.intervals import Estimate


def mean(rows: np.ndarray) -> np.ndarray:
    return rows[..., 0]


@pytest.mark.parametrize(("freedom", "quantile"), [(5, 2.5706), (7, 2.3646), (39, 2.0227), (10**6, 1.96)])
def test_students_quantiles_are_those_of_the_tables(freedom, quantile):
    assert intervals.student(freedom) == pytest.approx(quantile, rel=2e-3)


def test_the_interval_of_a_mean_is_students():
    """Of values that are bell-shaped the two agree: mean and standard error by hand."""
    values = np.random.default_rng(1).normal(10, 2, 40)
    found = intervals.of_means(mean, values[:, None])
    error = intervals.student(39) * values.std(ddof=1) / math.sqrt(40)
    assert found.found == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - error, values.mean() + error), abs=0.05)


def test_the_interval_of_few_prompts_holds_the_truth_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(intervals, "RESAMPLES", 2000)
    random = np.random.default_rng(2)
    found = [intervals.of_means(mean, random.normal(0, 1, (8, 1))) for _ in range(500)]
    assert 0.93 <= np.mean([one.low <= 0 <= one.high for one in found]) <= 0.98


def test_the_same_prompts_have_the_same_interval_and_equal_ones_have_none():
    values = np.random.default_rng(3).normal(0, 1, (8, 1))
    assert intervals.of_means(mean, values) == intervals.of_means(mean, values)
    assert intervals.of_means(mean, np.full((8, 1), 0.75)) == Estimate(0.75, 0.75, 0.75, 8)


def test_one_prompt_leaves_everything_open():
    assert intervals.of_means(mean, np.ones((1, 1))) == Estimate(1.0, -math.inf, math.inf, 1)


@pytest.mark.parametrize(
    ("estimate", "asked", "number"),
    [
        (Estimate(31, 29, 33, 8), 30, 32),  # half as wide would do: four times as many
        (Estimate(29, 27, 33, 8), 30, 128),  # the end that lies beyond 30 counts: 4 against 1
        (Estimate(30, 29, 31, 8), 30, None),  # the very figure that is asked for
        (Estimate(30.001, 29, 31, 8), 30, None),  # millions
        (Estimate(31, -math.inf, math.inf, 1), 30, None),
        (Estimate(0.5, 0.5, 0.5, None), 0.6, None),
    ],
)
def test_how_many_prompts_would_do_follows_from_the_width(estimate, asked, number):
    assert intervals.enough(estimate, asked) == number
