"""UNet inputs recorded while a pipeline draws, and the shards they are kept in.

Consumes a loaded pipeline, or a folder of shards; produces copies of what the UNet was given, one file per prompt,
each whole or absent. Does not run the pipeline itself, and chooses no steps but by even strata.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

Sample = dict[str, np.ndarray]  # the UNet's inputs by name: sample, timestep, encoder_hidden_states, ...


@contextmanager
def recording(pipeline: Any, keep: Callable[[int], bool]) -> Iterator[list[Sample]]:
    """Yield a list that fills with the UNet's inputs at the steps (0, 1, ... since entering) that `keep` wants.

    They are copies: OpenVINO shares the memory of what it is given, and a later request may write into it.
    """
    unet, samples, step = pipeline.unet, [], count()
    compile = unet.compile

    def compile_and_listen() -> None:
        compile()
        if not isinstance(unet.request, _Recorder):  # compiled just now, perhaps not for the first time
            unet.request = _Recorder(unet.request, keep, samples, step)

    unet.compile = compile_and_listen
    compile_and_listen()
    try:
        yield samples
    finally:
        unet.compile = compile
        if isinstance(unet.request, _Recorder):
            unet.request = unet.request.request


class _Recorder:
    """Stands in for the UNet's compiled model: notes the inputs, then calls it."""

    def __init__(self, request: Any, keep: Callable[[int], bool], samples: list[Sample], step: Iterator[int]) -> None:
        self.request, self._keep, self._samples, self._step = request, keep, samples, step

    def __call__(self, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        if self._keep(next(self._step)):
            self._samples.append({name: np.asarray(value).copy() for name, value in inputs.items()})
        return self.request(inputs, *args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)


def choose_steps(total: int, count: int, turn: int, turns: int, seed: int = 0) -> list[int]:
    """`count` of `total` steps, one in each of `count` equal stretches; `turns` prompts sweep their stretch evenly.

    >>> [choose_steps(8, 2, turn, 4) for turn in range(4)]
    [[2, 6], [0, 4], [1, 5], [3, 7]]
    """
    count = min(count, total)
    order = np.random.default_rng(seed).permutation(turns)
    place = (order[turn] + 0.5) / turns  # of this prompt within each stretch
    return [int((stretch + place) * total / count) for stretch in range(count)]


def shard_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.safetensors"


def save_shard(path: Path, samples: list[Sample], notes: dict[str, str]) -> None:
    """Write the samples of one prompt, whole or not at all."""
    from safetensors.numpy import save_file

    tensors = {f"{number:03d}/{name}": value for number, sample in enumerate(samples) for name, value in sample.items()}
    partial = path.with_suffix(".partial")
    save_file({name: tensors[name].copy(order="C") for name in sorted(tensors)}, partial, metadata=notes)
    os.replace(partial, path)


def load_shard(path: Path) -> list[Sample]:
    from safetensors.numpy import load_file

    samples: dict[str, Sample] = {}
    for key, value in sorted(load_file(path).items()):
        number, name = key.split("/", 1)
        samples.setdefault(number, {})[name] = value
    return list(samples.values())


def load_samples(folder: Path, count: int) -> Iterator[Sample]:
    """`count` samples of a folder of shards, evenly out of all of them, one shard in memory at a time.

    Fewer than there are: one of every shard before a second of any, and neighbours give different steps.
    """
    shards = sorted(folder.glob("*.safetensors"))
    chosen = _spread([count_samples(path) for path in shards], count)
    for number, path in enumerate(shards):
        wanted = sorted(sample for shard, sample in chosen if shard == number)
        if wanted:
            samples = load_shard(path)
            yield from (samples[sample] for sample in wanted)


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
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return len({key.split("/", 1)[0] for key in file.keys()})
