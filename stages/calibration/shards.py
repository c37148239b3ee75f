"""Recorded UNet inputs on disk: one file per prompt, each whole or absent, read one at a time.

Consumes samples, or a folder of shards; produces the one out of the other. Chooses samples evenly.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from stages.ir import finite
from stages.ir.runtime import Inputs


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def save_shard(path: Path, samples: list[Inputs], notes: dict[str, str]) -> None:
    """Write the samples of one prompt, whole or not at all."""
    from safetensors.numpy import save_file

    tensors = {f"{number:03d}/{name}": value for number, sample in enumerate(samples) for name, value in sample.items()}
    partial = path.with_suffix(".partial")
    save_file({name: tensors[name].copy(order="C") for name in sorted(tensors)}, partial, metadata=notes)
    os.replace(partial, path)


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
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise FileNotFoundError(f"{folder} holds no UNet inputs: run 'dvc repro -f -s calibrate@{folder.name}'")
    chosen = _spread([count_samples(path) for path in shards], count)
    for number, path in enumerate(shards):
        wanted = sorted(sample for shard, sample in chosen if shard == number)
        if wanted:
            samples = load_shard(path)
            yield from (samples[sample] for sample in wanted)


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


def count_samples(path: Path) -> int:
    """How many samples a shard holds, without reading them."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return len({key.split("/", 1)[0] for key in file.keys()})
    except SafetensorError as error:
        raise _damaged(path, error) from error
