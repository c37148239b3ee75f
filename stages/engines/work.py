"""Work on independent items: what an engine carries to wherever the items are worked on.

Consumes IR folders, a device and a room for parts; produces a callable that gives each item its result, whatever came
before it. Pickled, it is a recipe alone: what it has loaded stays where it was loaded, and is loaded anew elsewhere.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.engines import threads

if TYPE_CHECKING:
    from stages.settings.schema import Device


class Work:
    """`load` and `do` are the subclass's own. `folders`: all that it reads, by name; `room_gb`: for compiled parts;
    `pinned`: whether threads are bound to cores, which `load` has to see to."""

    pinned = True

    def __init__(self, folders: dict[str, Path], device: Device, room_gb: float) -> None:
        self.folders, self.device, self.room_gb = folders, device, room_gb
        self._loaded: Any = None

    def need_gb(self) -> float:
        """GB of a process that does it with everything in memory, foretold."""
        raise NotImplementedError

    def threads(self) -> int:
        """How many it computes with on this machine: results are of so many; 0 where none are counted (GPU)."""
        return threads.effective(self.device)

    def load(self) -> Any:
        """What `do` works with, out of `folders`, for `device`."""
        raise NotImplementedError

    def do(self, loaded: Any, item: Any) -> Any:
        """The result of one item, decided by the item and the recipe alone."""
        raise NotImplementedError

    def loaded(self) -> Any:
        """The same object at every call."""
        if self._loaded is None:
            self._loaded = self.load()
        return self._loaded

    def __call__(self, item: Any) -> Any:
        return self.do(self.loaded(), item)

    def at(self, folders: dict[str, Path], count: int, room_gb: float) -> Work:
        """The same work on another machine's folders, in its room, computed with `count` threads."""
        other = copy.copy(self)
        other.folders, other.room_gb = folders, room_gb
        other.device = copy.copy(self.device)
        other.device.threads = count
        other.pinned = False  # two workers of one thread each would be bound to the same core
        return other

    def __copy__(self) -> Work:
        other = object.__new__(type(self))
        other.__dict__.update(self.__getstate__())
        return other

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}
