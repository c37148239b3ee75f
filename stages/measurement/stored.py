"""What stays on disk until it is looked at, and is forgotten again: memory does not grow with the number of pictures.

Consumes files of arrays, and sequences of what is to be read; produces mappings and sequences that read anew at every
look. Sent to another process they become what they hold, since a path means nothing on another machine.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


class OnDisk(Mapping[str, np.ndarray]):
    """Arrays of a safetensors file, by the names that they have here; `stored`: those that they have there."""

    def __init__(self, path: Path, stored: Mapping[str, str]) -> None:
        self._path, self._stored = path, dict(stored)

    def __getitem__(self, name: str) -> np.ndarray:
        from safetensors import safe_open

        with safe_open(self._path, framework="numpy") as file:
            return file.get_tensor(self._stored[name])

    def __contains__(self, name: object) -> bool:
        return name in self._stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    def chosen(self, names: Mapping[str, str]) -> OnDisk:
        """Some of them by new names: `names` of those that they have now."""
        return OnDisk(self._path, {new: self._stored[old] for new, old in names.items()})


class Looks(Sequence[Any]):
    """What `read` makes of each of the items, at every look; a slice reads nothing."""

    def __init__(self, items: Sequence[Any], read: Callable[[Any], Any]) -> None:
        self._items, self._read = items, read

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return Looks(self._items[place], self._read)
        return self._read(self._items[place])

    def __len__(self) -> int:
        return len(self._items)

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)


def chosen(arrays: Arrays, names: Mapping[str, str]) -> Arrays:
    """Some of the arrays by new names (`names`: new to old), read no sooner than before."""
    if isinstance(arrays, OnDisk):
        return arrays.chosen(names)
    return {new: arrays[old] for new, old in names.items()}


def each(places: Sequence[tuple[Arrays, str]]) -> Sequence[np.ndarray]:
    """The arrays of these names, one after the other, out of any number of files."""
    return Looks(places, lambda place: place[0][place[1]])


def save(path: Path, arrays: Arrays, facts: dict[str, Any]) -> None:
    """Arrays in their order and facts beside them; into the file as it stands: whoever calls writes aside."""
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    save_file(tensors, path, metadata={"facts": json.dumps({"order": list(arrays), "facts": facts})})


def load(path: Path) -> tuple[OnDisk, dict[str, Any]]:
    """What `save` wrote, of the arrays their names alone."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["facts"])
    names = map(sys.intern, about["order"])  # the same ones in thousands of files
    return OnDisk(path, {name: name for name in names}), about["facts"]
