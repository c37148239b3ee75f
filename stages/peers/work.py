"""What every peer is asked for, and how it answers: a pipeline of its own, a picture for a prompt and a seed, timed.

Consumes a model's settings; produces a `Painter` in the process that draws. Knows no peer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.files import layout
from stages.machine import description
from stages.measurement import footprint, latency

if TYPE_CHECKING:
    from stages.settings.schema import Device, Sampler

Draw = Callable[[str, int, int], Any]  # (prompt, seed, steps) to a picture, a PIL image or (h, w, 3) in 8 bits
WARM_STEPS = 2  # before every timed picture: in turns with others a model finds its own memory cold


@dataclass(frozen=True)
class Work:
    """One model, drawn in one way by all: what a process is told."""

    key: str
    sampler: Sampler
    device: Device
    quantized: str  # name of our scheme
    steps: int

    @property
    def threads(self) -> int:
        """All cores by default: PyTorch would take them too, stable-diffusion.cpp half of them."""
        return self.device.threads or description.cores()

    def ir(self, precision: str) -> Path:
        return layout.ir(self.key, precision)

    @property
    def checkpoint(self) -> Path:
        return layout.checkpoint(self.key)


class Painter:
    """Draws with what `load` made of the work; lives in a process of its own (stages.machine.companion)."""

    def __init__(self, load: Callable[[Work], Draw], work: Work) -> None:
        self._draw, self._steps = load(work), work.steps

    def picture(self, prompt: str, seed: int, warm: bool = True) -> tuple[np.ndarray, float]:
        """Pixels (h, w, 3) and seconds from the prompt to the picture; `warm`: after two steps that do not count."""
        if warm:
            self._draw(prompt, seed, min(WARM_STEPS, self._steps))
        picture, seconds = latency.stopwatch(lambda: self._draw(prompt, seed, self._steps))
        return np.array(picture), seconds

    def peak_mb(self) -> float | None:
        """Of this process so far: Python, libraries and mapped files included."""
        return footprint.peak_rss_mb()


def place() -> Path:
    """A folder that goes with the process."""
    return Path(tempfile.mkdtemp())
