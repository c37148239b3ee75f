"""Fréchet distance of two Gaussians, and what so many pictures leave open of one.

Consumes features of pictures (n, d) and the Gaussian that they are compared with; produces the distance, its 95 %
interval, and the same of the difference of two sets of pictures. Knows no encoder: of Inception's features it is FID.

The formula stands here and is not torch-fidelity's, whose code of it cannot be imported without torchvision, and takes
all eigenvalues of an asymmetric matrix: 2,048 features a hundred times over would be hours. That both agree, and agree
with scipy's square root of a matrix, is tested.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from stages.measurement.moments import Gaussian

RESAMPLES = 100  # a standard error of so many is known to 7 %; with 2,048 features they take minutes
WIDE = 1.96  # standard errors each way, for 95 %


@dataclass(frozen=True)
class Distance:
    """A distance, or a difference of two, with its 95 % interval, of `count` pictures."""

    value: float
    low: float
    high: float
    count: int


def distance(one: Gaussian, other: Gaussian) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)): of N(0, 1) and N(3, 4) it is 9 + (1 - 2)^2 = 10.

    (S1 S2) has the eigenvalues of the symmetric R' S1 R, where R R' = S2. Source: Dowson and Landau, The Fréchet
    Distance between Multivariate Normal Distributions, Journal of Multivariate Analysis 12(3), 1982; Heusel et al.,
    GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, for FID.
    """
    root = _root(other.sigma)
    return _distance(one.mu, np.trace(one.sigma), root.T @ one.sigma @ root, other)


def distances(sets: dict[str, np.ndarray], truth: Gaussian, before: str) -> dict[str, tuple[Distance, Distance | None]]:
    """Of each set of features (n, d), the same prompts in the same order, to `truth`; and how far it lies above that
    of the set `before`: None of that one itself, and of all where there is no such set.

    The interval is 1.96 standard errors each way, by the bootstrap over prompts. The resamples' own quantiles would lie
    too high: a distance falls with the number of different pictures, and a resample holds 63 % of them. For the same
    reason the errors are rather too large than too small: of Gaussians 1.2 times what many samples show, and up to
    twice with hardly more pictures than features. A difference is resampled in pairs, so that what prompts have in
    common cancels out.
    """
    root, count = _root(truth.sigma), len(next(iter(sets.values())))
    projected = {name: (np.asarray(features, np.float64), features @ root) for name, features in sets.items()}
    found = {name: _weighted(*both, np.ones(count), truth) for name, both in projected.items()}
    again = {name: [] for name in sets}
    for weights in _resamples(count):
        for name, both in projected.items():
            again[name].append(_weighted(*both, weights, truth))
    rises = {
        name: _estimate(found[name] - found[before], np.subtract(again[name], again[before]), count)
        for name in sets
        if before in sets and name != before
    }
    return {name: (_estimate(found[name], again[name], count), rises.get(name)) for name in sets}


def _resamples(count: int) -> Iterator[np.ndarray]:
    """How often each of so many prompts is drawn; the same every time."""
    chance = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        yield chance.multinomial(count, np.full(count, 1 / count)).astype(np.float64)


def _weighted(features: np.ndarray, projected: np.ndarray, weights: np.ndarray, truth: Gaussian) -> float:
    """The distance where the n-th picture is there `weights[n]` times; `projected`: features times truth's root."""
    drawn = weights > 0
    features, projected, weights = features[drawn], projected[drawn], weights[drawn]
    number = weights.sum()
    mu, middle = weights @ features / number, weights @ projected / number
    apart = np.sqrt(weights / (number - 1))[:, None] * (projected - middle)
    spread = float(weights @ np.square(features - mu).sum(axis=1)) / (number - 1)
    return _distance(mu, spread, apart.T @ apart, truth)


def _distance(mu: np.ndarray, trace: float, product: np.ndarray, truth: Gaussian) -> float:
    """`product` (d, d): a covariance between truth's roots; what rounding makes of its zeros may lie below them."""
    shared = np.sqrt(np.linalg.eigvalsh(product).clip(0)).sum()
    return float(np.square(mu - truth.mu).sum() + trace + np.trace(truth.sigma) - 2 * shared)


def _root(sigma: np.ndarray) -> np.ndarray:
    """(d, d) R with R R' = sigma."""
    values, vectors = np.linalg.eigh(sigma)
    return vectors * np.sqrt(values.clip(0))


def _estimate(value: float, again: list[float] | np.ndarray, count: int) -> Distance:
    reach = WIDE * float(np.std(again, ddof=1))
    return Distance(value, value - reach, value + reach, count)
