"""Statistics files: what pytorch-fid writes is read, and what is damaged, foreign or a pickle is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.measurement import moments
from stages.measurement.moments import Gaussian, Moments

GOOD = {"mu": np.array([1.0, 2.0]), "sigma": np.array([[2.0, 0.5], [0.5, 1.0]])}


def test_a_file_of_mu_and_sigma_alone_is_read(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "val.npz", **GOOD)  # as pytorch-fid and MLPerf Inference do
    found = moments.read(tmp_path / "val.npz")
    np.testing.assert_array_equal(found.mu, GOOD["mu"])
    np.testing.assert_array_equal(found.sigma, GOOD["sigma"])
    assert (found.count, found.encoder) == (None, None)


def test_what_is_written_is_read_again_with_count_and_encoder(tmp_path: Path) -> None:
    moments.write(tmp_path / "held.npz", Gaussian(**GOOD, count=414, encoder="ab12"))
    found = moments.read(tmp_path / "held.npz")
    assert (found.count, found.encoder, found.mu.tolist()) == (414, "ab12", [1.0, 2.0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sigma": None}, r"lacks sigma"),
        ({"mu": None, "sigma": None}, r"lacks mu and sigma"),
        ({"mu": np.array([1.0, 2.0, 3.0])}, r"mu is \(3,\) and sigma \(2, 2\)"),
        ({"mu": np.array([1, 2])}, r"must be floats, are int64"),
        ({"mu": np.array([1.0, np.nan])}, r"not all numbers are finite"),
        ({"sigma": np.array([[2.0, 0.5], [0.4, 1.0]])}, r"sigma is not symmetric"),
        ({"sigma": np.array([[2.0, 0.5], [0.5, -1.0]])}, r"sigma has variances below zero"),
        ({"mu": np.array([None, "x"], dtype=object)}, r"is no \.npz of plain arrays"),
    ],
)
def test_a_file_that_is_none_says_why(tmp_path: Path, changes: dict, said: str) -> None:
    arrays = {name: array for name, array in (GOOD | changes).items() if array is not None}
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ValueError, match=rf"bad\.npz.*{said}.*holds mu \(d\) and sigma"):
        moments.read(tmp_path / "bad.npz")


@pytest.mark.parametrize("content", [b"", b"<html>404</html>", b"PK\x03\x04 cut off"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "val.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"val\.npz is no \.npz of plain arrays"):
        moments.read(tmp_path / "val.npz")


def test_a_single_array_is_no_statistics_file(tmp_path: Path) -> None:
    np.save(tmp_path / "mu.npy", GOOD["mu"])
    with pytest.raises(ValueError, match=r"mu\.npy is no \.npz of plain arrays"):
        moments.read(tmp_path / "mu.npy")


def test_one_picture_has_no_covariance() -> None:
    sums = Moments()
    sums.add(np.ones((1, 3)))
    with pytest.raises(ValueError, match="at least 2 pictures, got 1"):
        sums.gaussian()
