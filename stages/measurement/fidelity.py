"""Fidelity: how near a result is to its reference, as numbers.

Consumes two arrays or pictures of one shape; produces decibels or a similarity, None where both are identical and
the figure would be infinite. Knows no model and runs none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

PEAK = 255.0  # of an 8-bit pixel
WINDOW, SIGMA = 11, 1.5  # of the SSIM paper
K1, K2 = 0.01, 0.03


def sqnr_db(reference: np.ndarray, result: np.ndarray) -> float | None:
    """Signal to quantization noise: 10 log10(sum(r^2) / sum((r - x)^2)); a tenth of the amplitude off is 20 dB.

    Source: Gray and Neuhoff, Quantization, IEEE Transactions on Information Theory 44(6), 1998, equation 1.
    """
    r, x = _pair(reference, result)
    return _decibels(np.sum(r**2), np.sum((r - x) ** 2))


def pooled_sqnr_db(references: Iterable[np.ndarray], results: Iterable[np.ndarray]) -> float | None:
    """`sqnr_db` of all arrays taken as one long signal, one pair of them in memory at a time."""
    signal = noise = 0.0
    for reference, result in zip(references, results, strict=True):
        r, x = _pair(reference, result)
        signal, noise = signal + np.sum(r**2), noise + np.sum((r - x) ** 2)
    return _decibels(signal, noise)


def cosine(reference: np.ndarray, result: np.ndarray) -> float:
    """Cosine of the angle between two arrays as vectors: 1 for the same direction; 0 if either is all zeros."""
    r, x = (array.ravel() for array in _pair(reference, result))
    lengths = float(np.linalg.norm(r) * np.linalg.norm(x))
    return float(r @ x) / lengths if lengths else 0.0


def clip_score(pictures: np.ndarray, texts: np.ndarray) -> float:
    """100 x the cosine of CLIP's features of a picture and of its text, mean over n pairs of features (n, width).

    Source: MLPerf Inference, text_to_image/coco.py; torchmetrics' CLIPScore is the same, cut off below zero. Hessel et
    al., CLIPScore, EMNLP 2021, scale by 2.5 instead.
    """
    return 100 * _mean_cosine(pictures, texts)


def clip_similarity(references: np.ndarray, results: np.ndarray) -> float:
    """The cosine of CLIP's features of two pictures, mean over n pairs of features (n, width); 1 for equal pictures.

    Source: openvino.genai's who-what-benchmark, evaluate_image_similarity.
    """
    return _mean_cosine(references, results)


def psnr_db(reference: np.ndarray, result: np.ndarray) -> float | None:
    """Peak signal to noise of 8-bit pictures: 10 log10(255^2 / mean((r - x)^2)); every pixel off by one is 48.13 dB.

    Source: ITU-T J.340 (2010), equation for PSNR.
    """
    r, x = _pair(reference, result)
    return _decibels(PEAK**2, np.mean((r - x) ** 2))


def ssim(reference: np.ndarray, result: np.ndarray) -> float:
    """Structural similarity of two 8-bit pictures (h, w, 3) or (h, w): the mean over luminance, 1 for equal ones.

    Source: Wang, Bovik, Sheikh and Simoncelli, Image Quality Assessment: From Error Visibility to Structural
    Similarity, IEEE Transactions on Image Processing 13(4), 2004: 11 x 11 Gaussian window, sigma 1.5, valid part.
    """
    r, x = (_luminance(array) for array in _pair(reference, result))
    if min(r.shape) < WINDOW:
        raise ValueError(f"ssim needs pictures of at least {WINDOW} x {WINDOW} pixels, got {r.shape}")
    mean_r, mean_x = _blur(r), _blur(x)
    variance_r, variance_x = _blur(r * r) - mean_r**2, _blur(x * x) - mean_x**2
    covariance = _blur(r * x) - mean_r * mean_x
    c1, c2 = (K1 * PEAK) ** 2, (K2 * PEAK) ** 2
    numerator = (2 * mean_r * mean_x + c1) * (2 * covariance + c2)
    denominator = (mean_r**2 + mean_x**2 + c1) * (variance_r + variance_x + c2)
    return float(np.mean(numerator / denominator))


def rounded(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def flaw(pixels: np.ndarray) -> str | None:
    """What makes a picture (h, w, 3) no picture: "not finite", "black" or "constant"; None for a usable one."""
    values = np.asarray(pixels, dtype=np.float64)
    if not np.all(np.isfinite(values)):
        return "not finite"
    if values.max() <= 1:
        return "black"
    return "constant" if values.max() - values.min() <= 1 else None


def _pair(reference: Any, result: Any) -> tuple[np.ndarray, np.ndarray]:
    r, x = np.asarray(reference, dtype=np.float64), np.asarray(result, dtype=np.float64)
    if r.shape != x.shape:
        raise ValueError(f"reference and result must have one shape, got {r.shape} and {x.shape}")
    return r, x


def _mean_cosine(references: np.ndarray, results: np.ndarray) -> float:
    return float(np.mean([cosine(*pair) for pair in zip(references, results, strict=True)]))


def _decibels(signal: float, noise: float) -> float | None:
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal > 0 else -math.inf


def _luminance(pixels: np.ndarray) -> np.ndarray:
    """ITU-R BT.601 luma, as the SSIM authors' own code takes it (rgb2gray)."""
    return pixels if pixels.ndim == 2 else pixels @ np.array([0.299, 0.587, 0.114])


def _blur(plane: np.ndarray) -> np.ndarray:
    """Gaussian mean of every whole window: (h, w) to (h - 10, w - 10)."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    kernel = np.exp(-(offsets**2) / (2 * SIGMA**2))
    kernel /= kernel.sum()
    rows = np.lib.stride_tricks.sliding_window_view(plane, WINDOW, axis=0) @ kernel
    return np.lib.stride_tricks.sliding_window_view(rows, WINDOW, axis=1) @ kernel
