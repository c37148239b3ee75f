"""True pictures of a judge: its cut-outs, drawn by their definition."""

import numpy as np


def on(cutouts: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """(n, side, side, 3) in 0..1: cut-outs in front of a plain background."""
    alpha = cutouts[..., 3:]
    return cutouts[..., :3] * alpha + np.array(colour, np.float32) / 255 * (1 - alpha)
