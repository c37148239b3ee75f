"""Recorded UNet inputs on disk: one file per prompt, each whole or absent, read one at a time.

Consumes samples, or a folder of shards; produces the one out of the other. Chooses samples evenly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stages.ir import finite
from stages.ir.runtime import Inputs

if TYPE_CHECKING:
    import numpy as np

EXTREMES = "extremes"  # folder of what was computed beside, a file per shard
KINDS = ("inputs", "extremes", "answer")  # of what was seen of a UNet


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def save_shard(path: Path, samples: list[Inputs], notes: dict[str, str]) -> None:
    """Write the samples of one prompt, whole or not at all."""
    tensors = {f"{number:03d}/{name}": value for number, sample in enumerate(samples) for name, value in sample.items()}
    _write(path, {name: tensors[name] for name in sorted(tensors)}, notes)


def _write(path: Path, tensors: Inputs, notes: dict[str, str] | None = None) -> None:
    """A file of tensors, whole or not at all."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: value.copy(order="C") for name, value in tensors.items()}, partial, metadata=notes)
    os.replace(partial, path)


def beside(path: Path) -> Path:
    """The file with what layers were given at a shard's samples; there is none where nothing was taken."""
    return path.parent / EXTREMES / path.name


def save_extremes(path: Path, found: list[Inputs | None]) -> None:
    """Write what was taken beside the samples of the shard `path`, whole or not at all; None of a sample without it."""
    tensors = {f"{n:03d}/{name}": value for n, one in enumerate(found) for name, value in (one or {}).items()}
    _write(beside(path), tensors)


def save_seen(path: Path, inputs: list[Inputs], found: list[Inputs], answers: list[np.ndarray]) -> None:
    """Write what a UNet was given on the way of one prompt, what its layers were, and what it answered."""
    tensors = {}
    for kind, every in zip(KINDS, (inputs, found, [{"": answer} for answer in answers]), strict=True):
        tensors |= {f"{n:03d}/{kind}/{name}": value for n, one in enumerate(every) for name, value in one.items()}
    _write(path, tensors)


class Seen:
    """A folder of what `save_seen` wrote: inputs in the order of prompts and steps, extremes and answers by number."""

    def __init__(self, folder: Path) -> None:
        files = sorted(folder.glob("*.safetensors"))
        self._of = [(path, number) for path in files for number in range(count_samples(path))]

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[Inputs]:
        return map(self.inputs, range(len(self)))

    def inputs(self, number: int) -> Inputs:
        return self._kind(number, "inputs")

    def extremes(self, number: int) -> Inputs:
        return self._kind(number, "extremes")

    def answer(self, number: int) -> np.ndarray:
        return self._kind(number, "answer")[""]

    def _kind(self, number: int, kind: str) -> Inputs:
        from safetensors import safe_open

        path, sample = self._of[number]
        begin = f"{sample:03d}/{kind}/"
        with safe_open(path, framework="numpy") as file:
            return {key.removeprefix(begin): file.get_tensor(key) for key in file.keys() if key.startswith(begin)}


class Extremes:
    """Of the samples that `load_samples` gives, by their number; None of one that has none."""

    def __init__(self, folder: Path, count: int) -> None:
        self._of = [(beside(path), sample) for path, samples in _chosen(folder, count) for sample in samples]

    def __call__(self, number: int) -> Inputs | None:
        from safetensors import SafetensorError, safe_open

        path, sample = self._of[number]
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="numpy") as file:
                keys = [key for key in file.keys() if key.startswith(f"{sample:03d}/")]
                return {key.split("/", 1)[1]: file.get_tensor(key) for key in keys} or None
        except SafetensorError as error:
            way = f"run 'dvc repro -f -s calibrate@{path.parents[1].name}'"
            raise ValueError(f"{path} holds no extremes ({error}): {way}") from error


def load_shard(path: Path) -> list[Inputs]:
    """Its samples; ValueError where the file is cut off, holds something else, or NaN and infinity."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    samples: dict[str, Inputs] = {}
    try:
        for key, value in sorted(load_file(path).items()):
            number, name = key.split("/", 1)
            samples.setdefault(number, {})[name] = value
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, error) from error
    for number, sample in samples.items():
        finite.require(sample, f"{path}, sample {number.lstrip('0') or 0}")
    return list(samples.values())


def _damaged(path: Path, error: Exception | str) -> ValueError:
    return ValueError(f"{path} holds no UNet inputs ({error}): run 'dvc repro -f -s calibrate@{path.parent.name}'")


def load_samples(folder: Path, count: int) -> Iterator[Inputs]:
    """`count` samples of a folder of shards, evenly out of all of them, one shard in memory at a time.

    Fewer than there are: one of every shard before a second of any, and neighbours give different steps.
    """
    for path, wanted in _chosen(folder, count):
        samples = load_shard(path)
        yield from (samples[sample] for sample in wanted)


def _chosen(folder: Path, count: int) -> list[tuple[Path, list[int]]]:
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise FileNotFoundError(f"{folder} holds no UNet inputs: run 'dvc repro -f -s calibrate@{folder.name}'")
    chosen = _spread([count_samples(path) for path in shards], count)
    found = [(path, sorted(sample for shard, sample in chosen if shard == n)) for n, path in enumerate(shards)]
    return [(path, samples) for path, samples in found if samples]


def rows(folder: Path) -> int:
    """Rows of the samples in a folder of shards: 2 where the model draws with guidance and so evaluates twice."""
    found = next(load_samples(folder, 1)).get("sample")
    if found is None or found.ndim != 4:
        raise _damaged(sorted(folder.glob("*.safetensors"))[0], "no latents under the name 'sample'")
    return len(found)


def _spread(sizes: list[int], count: int) -> list[tuple[int, int]]:
    """(shard, sample) pairs; shard n begins with its n-th sample.

    >>> _spread([2, 2, 2], 4)
    [(0, 0), (1, 1), (2, 0), (0, 1)]
    """
    rounds = range(max(sizes, default=0))
    pairs = [(shard, (shard + turn) % size) for turn in rounds for shard, size in enumerate(sizes) if turn < size]
    return pairs[:count]


def count_told(path: Path) -> int:
    """At how many samples of a shard it is known what layers were given."""
    return count_samples(beside(path)) if beside(path).is_file() else 0


def count_samples(path: Path) -> int:
    """How many samples a shard holds, without reading them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return len({key.split("/", 1)[0] for key in file.keys()})
    except SafetensorError as error:
        raise _damaged(path, error) from error
