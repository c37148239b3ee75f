"""Mean and covariance of features: accumulated as they come, and read from the files that others keep them in.

Consumes features (n, d) or an .npz file with `mu` and `sigma`, the form of pytorch-fid, clean-fid and MLPerf Inference;
produces a `Gaussian`. No pickle is ever opened. Knows no encoder.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SYMMETRIC = 1e-5  # of the largest entry: how far sigma may be from its transpose by rounding
WANTED = "a statistics file holds mu (d) and sigma (d, d) of pictures' features"


@dataclass(frozen=True)
class Gaussian:
    """`mu` (d), `sigma` (d, d) in float64. `count` of pictures and `encoder`, None where a file does not say."""

    mu: np.ndarray
    sigma: np.ndarray
    count: int | None = None
    encoder: str | None = None


class Moments:
    """Sums and outer products in float64: as much memory for a million pictures as for one."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: np.ndarray | float = 0.0
        self._outer: np.ndarray | float = 0.0

    def add(self, features: np.ndarray) -> None:
        """(n, d) more."""
        values = np.asarray(features, np.float64)
        self.count += len(values)
        self._sum = self._sum + values.sum(axis=0)
        self._outer = self._outer + values.T @ values

    def gaussian(self, encoder: str | None = None) -> Gaussian:
        """With the covariance that divides by n - 1, as numpy.cov and every FID do; ValueError of fewer than two."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 pictures, got {self.count}")
        mu = self._sum / self.count
        sigma = (self._outer - self.count * np.outer(mu, mu)) / (self.count - 1)
        return Gaussian(mu, sigma, self.count, encoder)


def write(path: Path, found: Gaussian) -> None:
    """As pytorch-fid does, with the number of pictures and the encoder's digest beside."""
    known = {name: value for name in ("count", "encoder") if (value := getattr(found, name)) is not None}
    with path.open("wb") as file:
        np.savez(file, mu=found.mu, sigma=found.sigma, **known)


def read(path: Path) -> Gaussian:
    """ValueError that names the file and what is wrong with it."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in ("mu", "sigma", "count", "encoder") if name in file.files}
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz of plain arrays: {WANTED}") from error
    if missing := [name for name in ("mu", "sigma") if name not in arrays]:
        raise ValueError(f"{path} lacks {' and '.join(missing)}: {WANTED}")
    if flaw := _flaw(arrays["mu"], arrays["sigma"]):
        raise ValueError(f"{path}: {flaw}: {WANTED}")
    mu, sigma = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
    count, encoder = arrays.get("count"), arrays.get("encoder")
    return Gaussian(
        mu, (sigma + sigma.T) / 2, None if count is None else int(count), None if encoder is None else str(encoder)
    )


def _flaw(mu: np.ndarray, sigma: np.ndarray) -> str | None:
    if mu.dtype.kind != "f" or sigma.dtype.kind != "f":
        return f"mu and sigma must be floats, are {mu.dtype} and {sigma.dtype}"
    if mu.ndim != 1 or not len(mu) or sigma.shape != (len(mu), len(mu)):
        return f"mu is {mu.shape} and sigma {sigma.shape}"
    if not (np.isfinite(mu).all() and np.isfinite(sigma).all()):
        return "not all numbers are finite"
    slack = SYMMETRIC * max(float(np.abs(sigma).max()), np.finfo(np.float32).tiny)
    if np.abs(sigma - sigma.T).max() > slack:
        return "sigma is not symmetric"
    return "sigma has variances below zero" if np.diagonal(sigma).min() < -slack else None
