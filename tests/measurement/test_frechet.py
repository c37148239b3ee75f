"""Fréchet distance: equal to what is computed by hand, by scipy and by torch-fidelity; and its interval."""

from __future__ import annotations

import numpy as np
import pytest

from stages.measurement import frechet
from stages.measurement.moments import Gaussian, Moments

RANDOM = np.random.default_rng(0)


def gaussian(features: np.ndarray) -> Gaussian:
    return Gaussian(features.mean(0), np.cov(features, rowvar=False))


def mixed(count: int, width: int, shift: float = 0.0) -> np.ndarray:
    """(count, width) features that depend on one another."""
    return RANDOM.normal(size=(count, width)) @ RANDOM.normal(size=(width, width)) + shift


def test_of_two_normal_distributions_on_a_line_it_is_as_computed_by_hand() -> None:
    one, other = (Gaussian(np.array([mu]), np.array([[variance]])) for mu, variance in ((0.0, 1.0), (3.0, 4.0)))
    assert frechet.distance(one, other) == pytest.approx(3**2 + (1 - 2) ** 2)


def test_of_independent_features_it_is_the_sum_over_them() -> None:
    one = Gaussian(np.array([0.0, 1.0]), np.diag([1.0, 9.0]))
    other = Gaussian(np.array([2.0, 1.0]), np.diag([16.0, 4.0]))
    assert frechet.distance(one, other) == pytest.approx(2**2 + (1 - 4) ** 2 + (3 - 2) ** 2)


@pytest.mark.parametrize("count", [500, 12])
def test_it_is_what_scipys_square_root_of_a_matrix_gives(count: int) -> None:
    """Of fewer pictures than features too: there torch-fidelity and MLPerf agree to fewer digits with each other."""
    linalg = pytest.importorskip("scipy.linalg")
    one, other = gaussian(mixed(count, 20)), gaussian(mixed(400, 20, shift=1.0))
    root = linalg.sqrtm(one.sigma @ other.sigma).real
    expected = np.square(one.mu - other.mu).sum() + np.trace(one.sigma + other.sigma - 2 * root)
    assert frechet.distance(one, other) == pytest.approx(expected, rel=1e-5)
    assert frechet.distance(other, one) == pytest.approx(expected, rel=1e-5)


def test_it_is_what_the_eigenvalues_of_the_product_give_which_is_torch_fidelitys_way() -> None:
    one, other = gaussian(mixed(300, 24)), gaussian(mixed(200, 24))
    roots = np.sqrt(np.linalg.eigvals(one.sigma @ other.sigma).astype(complex)).real.sum()
    expected = np.square(one.mu - other.mu).sum() + np.trace(one.sigma) + np.trace(other.sigma) - 2 * roots
    assert frechet.distance(one, other) == pytest.approx(expected)


def test_pictures_are_no_distance_from_themselves() -> None:
    features = mixed(50, 6)
    assert frechet.distance(gaussian(features), gaussian(features)) == pytest.approx(0, abs=1e-8)


def test_sums_as_they_come_are_the_mean_and_covariance_of_all() -> None:
    features, sums = mixed(101, 7, shift=30.0).astype(np.float32), Moments()
    for start in range(0, 101, 10):
        sums.add(features[start : start + 10])
    found = sums.gaussian("abc")
    np.testing.assert_allclose(found.mu, features.mean(0, dtype=np.float64))
    np.testing.assert_allclose(found.sigma, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-9)
    assert (found.count, found.encoder) == (101, "abc")


def test_each_set_has_its_distance_within_its_interval_and_a_rise_above_fp16s() -> None:
    truth, before = gaussian(mixed(500, 5)), mixed(60, 5, shift=0.5)
    sets = {"fp16": before, "int8": before + 0.5}
    found = frechet.distances(sets, truth, "fp16")
    for name, features in sets.items():
        own, _ = found[name]
        assert own.value == pytest.approx(frechet.distance(gaussian(features), truth))
        assert own.low < own.value < own.high and own.count == 60
    own, rise = found["int8"]
    assert found["fp16"][1] is None
    assert rise.value == pytest.approx(own.value - found["fp16"][0].value)


def test_what_prompts_have_in_common_cancels_out_of_the_difference() -> None:
    before = mixed(80, 5)
    found = frechet.distances({"fp16": before, "int8": before + 0.01}, gaussian(mixed(300, 5)), "fp16")
    own, rise = found["int8"]
    assert rise.high - rise.low < 0.1 * (own.high - own.low)
    same = frechet.distances({"fp16": before, "int8": before}, gaussian(mixed(300, 5)), "fp16")["int8"][1]
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_interval_is_the_same_every_time_and_narrower_of_more_pictures() -> None:
    truth, features = gaussian(mixed(500, 4)), mixed(800, 4)
    one, again = (frechet.distances({"fp16": features[:50]}, truth, "fp16")["fp16"][0] for _ in range(2))
    many, _ = frechet.distances({"fp16": features}, truth, "fp16")["fp16"]
    assert one == again
    assert many.high - many.low < one.high - one.low


def test_without_fp16_there_is_nothing_to_rise_above() -> None:
    found = frechet.distances({"int8": mixed(20, 3)}, gaussian(mixed(50, 3)), "fp16")
    assert found["int8"][0].count == 20 and found["int8"][1] is None
