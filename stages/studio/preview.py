"""What a half-finished picture looks like: its latents, made small, through the pipeline's own decoder.

Consumes latents on the way; produces a small picture, seldom enough that drawing is hardly slower for it. Knows no
model: a table of colours by channel, as other programs have it, is right for one VAE alone.
"""

from __future__ import annotations

import time
from typing import Any

from stages.generation import drawing

SIDE = 32  # latent positions of the longer side at the most: 256 pixels of SDXL's, a sixteenth of the decoder's work
EVERY_S = 0.5
SHARE = 0.2  # of the time of drawing that previews may take


class Previews:
    """`previews(latents)` is a picture, or None where the last one was a moment ago."""

    def __init__(self, pipeline: Any, clock: Any = time.perf_counter) -> None:
        self._pipeline, self._clock = pipeline, clock
        self._start, self._last, self._spent = clock(), None, 0.0

    def __call__(self, latents: Any) -> Any | None:
        now = self._clock()
        if self._last is not None and now - self._last < EVERY_S:
            return None
        if self._spent > SHARE * (now - self._start):
            return None
        picture = draw(self._pipeline, latents)
        self._last = self._clock()
        self._spent += self._last - now
        return picture

    @property
    def spent_s(self) -> float:
        return self._spent


def draw(pipeline: Any, latents: Any) -> Any:
    """A picture of at most SIDE latent positions a side; noise far above a picture's own is scaled down to it."""
    return drawing.decode(pipeline, smaller(latents) / max(1.0, float(latents.std())))


def smaller(latents: Any) -> Any:
    """Means of squares, as many whole ones as fit; latents (1, c, h, w) are kept where they are small already.

    >>> import torch
    >>> smaller(torch.ones(1, 4, 128, 96)).shape
    torch.Size([1, 4, 32, 24])
    """
    from torch.nn import functional

    factor = max(1, max(latents.shape[-2:]) // SIDE)
    return functional.avg_pool2d(latents, min(factor, *latents.shape[-2:]))
