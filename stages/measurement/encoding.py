"""CLIP's features of many pictures and texts, made by an engine: here one batch after the other, or by its workers.

Consumes an engine and a CLIP model's folder; produces what stages.measurement.clip produces, each batch once, the same
bytes whoever makes it: features depend in their last bits on what else is in a batch, so that batches are those that
one machine would make, and are what is spread.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.engines.engine import Engine
from stages.engines.work import Work
from stages.machine import sizes
from stages.machine.costs import costs
from stages.measurement import clip

if TYPE_CHECKING:
    from PIL.Image import Image

    from stages.settings.schema import Device

FLOAT_GB = 4e-9  # of a weight
BATCH_GB = 0.5  # what a batch takes on its way, at most: ViT-L/14 takes 0.2


@dataclass(frozen=True)
class Batch:
    """At most clip.BATCH pictures or texts, as one call encodes them."""

    items: Sequence[Any]

    @property
    def key(self) -> str:
        """Another one for other contents."""
        whole = hashlib.sha256()
        for item in self.items:
            whole.update(item.encode() + b"\0" if isinstance(item, str) else _content(item))
        return whole.hexdigest()


class Encoding(Work):
    """A batch to its features. `device.threads` are CLIP's too, as far as they are set: torch computes on the CPU."""

    def __init__(self, folder: Path, device: Device, room_gb: float = 0.0) -> None:
        super().__init__({"clip": folder}, device, room_gb)

    def threads(self) -> int:
        import torch

        return self.device.threads or torch.get_num_threads()

    def need_gb(self) -> float:
        weights = sizes.of_files(sorted(self.folders["clip"].glob("*.safetensors")))
        return costs()["process_gb"] + FLOAT_GB * weights.parameters + BATCH_GB

    def load(self) -> clip.Clip:
        return clip.load(self.folders["clip"], self.threads())

    def do(self, loaded: clip.Clip, item: Batch) -> np.ndarray:
        items = list(item.items)
        return loaded.text_features(items) if isinstance(items[0], str) else loaded.picture_features(items)


class Encoder:
    """As a clip.Clip; what is looked at ahead is made in one go, so that no worker waits for another one's list."""

    def __init__(self, engine: Engine, work: Encoding) -> None:
        self._engine, self._work = engine, work
        self._known: dict[str, np.ndarray] = {}  # by a batch's key

    def look_ahead(self, *lists: Sequence[Any]) -> None:
        """Make the features of these lists, each of pictures or of texts, as far as they are not known."""
        self._make(batch for items in lists for batch in _batches(items))

    def picture_features(self, pictures: Sequence[Image]) -> np.ndarray:
        """(n, width) of n pictures."""
        return self._features(pictures)

    def text_features(self, texts: list[str]) -> np.ndarray:
        """(n, width) of n texts."""
        return self._features(texts)

    def _features(self, items: Sequence[Any]) -> np.ndarray:
        batches = _batches(items)
        self._make(batches)
        return np.concatenate([self._known[batch.key] for batch in batches])

    def _make(self, batches: Iterable[Batch]) -> None:
        wanted = {key: batch for batch in batches if (key := batch.key) not in self._known}
        made = self._engine.map(self._work, list(wanted.values()), "CLIP", "batch")
        self._known |= dict(zip(wanted, made, strict=True))


def _batches(items: Sequence[Any]) -> list[Batch]:
    return [Batch(items[n : n + clip.BATCH]) for n in range(0, len(items), clip.BATCH)]


def _content(picture: Image) -> bytes:
    return repr((picture.mode, picture.size)).encode() + picture.tobytes()
