"""Fidelity figures against cases computed by hand."""

import numpy as np
import pytest

from stages.measurement import fidelity

RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (32, 40, 3), dtype=np.uint8)


def test_a_tenth_of_the_amplitude_off_is_twenty_decibels():
    signal = RANDOM.standard_normal((2, 4, 8, 8))
    assert fidelity.sqnr_db(signal, 1.1 * signal) == pytest.approx(20)


def test_pooled_noise_is_that_of_one_long_signal():
    references = [RANDOM.standard_normal((2, 3)) for _ in range(3)]
    results = [array + 0.1 * RANDOM.standard_normal((2, 3)) for array in references]
    joined = fidelity.sqnr_db(np.stack(references), np.stack(results))
    assert fidelity.pooled_sqnr_db(references, results) == pytest.approx(joined)


def test_identical_arrays_have_no_finite_noise_ratio():
    assert fidelity.sqnr_db(PICTURE, PICTURE) is None
    assert fidelity.psnr_db(PICTURE, PICTURE) is None


def test_eight_bit_pictures_are_not_subtracted_in_eight_bits():
    assert fidelity.psnr_db(np.uint8([[10]]), np.uint8([[11]])) == pytest.approx(48.1308, abs=1e-4)
    assert fidelity.psnr_db(np.uint8([[0]]), np.uint8([[255]])) == pytest.approx(0)


def test_cosine_sees_direction_not_length():
    assert fidelity.cosine([1, 2, 3], [2, 4, 6]) == pytest.approx(1)
    assert fidelity.cosine([1, 0], [0, 5]) == 0
    assert fidelity.cosine([1, 1], [1, 0]) == pytest.approx(2**-0.5)
    assert fidelity.cosine([0, 0], [1, 0]) == 0


def test_clip_score_is_a_hundred_times_the_mean_cosine_of_picture_and_text():
    pictures, texts = np.array([[3.0, 4.0], [0.0, 2.0]]), np.array([[10.0, 0.0], [1.0, 0.0]])
    assert fidelity.clip_score(pictures, texts) == pytest.approx(100 * (0.6 + 0) / 2)
    assert fidelity.clip_score(pictures, -texts) == pytest.approx(-30)  # not cut off at zero


def test_clip_similarity_is_one_for_equal_pictures_only():
    features = RANDOM.standard_normal((3, 8))
    assert fidelity.clip_similarity(features, features) == pytest.approx(1)
    assert fidelity.clip_similarity([[1, 0], [1, 0]], [[1, 0], [0, 1]]) == pytest.approx(0.5)


def test_clip_figures_want_as_many_pictures_as_texts():
    with pytest.raises(ValueError, match="zip"):
        fidelity.clip_score(np.ones((2, 4)), np.ones((1, 4)))


def test_ssim_of_flat_pictures_is_the_luminance_term():
    dark, light = np.full((16, 16), 100.0), np.full((16, 16), 120.0)
    c1 = (0.01 * 255) ** 2
    assert fidelity.ssim(dark, light) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise():
    noisy = np.clip(PICTURE + RANDOM.normal(0, 25, PICTURE.shape), 0, 255).astype(np.uint8)
    assert fidelity.ssim(PICTURE, PICTURE) == pytest.approx(1)
    assert 0.3 < fidelity.ssim(PICTURE, noisy) < 0.99


def test_ssim_equals_its_definition_at_one_window():
    r, x = (RANDOM.integers(0, 256, (11, 11)).astype(float) for _ in range(2))
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    mean_r, mean_x = (weights * r).sum(), (weights * x).sum()
    variances = (weights * (r - mean_r) ** 2).sum(), (weights * (x - mean_x) ** 2).sum()
    covariance = (weights * (r - mean_r) * (x - mean_x)).sum()
    c1, c2 = 2.55**2, 7.65**2
    expected = (2 * mean_r * mean_x + c1) * (2 * covariance + c2)
    expected /= (mean_r**2 + mean_x**2 + c1) * (sum(variances) + c2)
    assert fidelity.ssim(r, x) == pytest.approx(expected)


def test_a_picture_smaller_than_the_window_is_refused():
    with pytest.raises(ValueError, match="at least 11 x 11"):
        fidelity.ssim(np.zeros((8, 8)), np.zeros((8, 8)))


def test_arrays_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        fidelity.sqnr_db(np.zeros((1, 4)), np.zeros((4, 1)))


@pytest.mark.parametrize(
    ("pixels", "flaw"),
    [
        (PICTURE, None),
        (np.zeros((4, 4, 3)), "black"),
        (np.full((4, 4, 3), 127), "constant"),
        (np.full((4, 4, 3), np.nan), "not finite"),
    ],
)
def test_what_is_no_picture_is_told(pixels, flaw):
    assert fidelity.flaw(pixels) == flaw
