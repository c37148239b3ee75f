"""Parts of pipelines that share the memory at hand: compiled when they are called, let go when another needs the room.

Consumes optimum-intel pipelines that were loaded without compiling, and what each part takes; produces nothing but
their compiled models. While memory is plentiful nothing is ever let go. Loading stops the room's clock, so that what is
timed by it is drawing alone; calls are counted. Knows no model and estimates nothing: see stages.machine.budget.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Room:
    """Memory for compiled parts, `limit_gb` of it; a part larger than that gets the room alone.

    `timed`: a part's first call, in which weights are laid out, is made twice, and the first counts as loading.

    >>> smallest_enough({"unet": 5.0, "vae": 0.7, "text": 1.4}, shortfall=1.0)
    'text'
    """

    def __init__(self, limit_gb: float, *, timed: bool = True) -> None:
        self.limit_gb, self.loading_s, self._timed = limit_gb, 0.0, timed
        self.calls: Counter[str] = Counter()  # of compiled parts by name, but for those that are loading
        self._resident: dict[int, tuple[Any, float]] = {}  # by identity: (part, GB)

    def watch(self, parts: dict[str, Any], gb: dict[str, float]) -> None:
        """From now on the room compiles these parts when they are called."""
        for name, part in parts.items():
            part.compile = self._compiler(name, part, gb[name], part.compile)

    def clock(self) -> float:
        """Seconds like time.perf_counter, but for those in which parts were loaded."""
        return time.perf_counter() - self.loading_s

    def whole_clock(self) -> float:
        """The same clock with loading, as `clock` leaves it out: to be held against another one."""
        return self.clock() + self.loading_s

    @contextmanager
    def untimed(self) -> Iterator[None]:
        """Nothing is timed meanwhile: parts that come are called once at first."""
        before, self._timed = self._timed, False
        try:
            yield
        finally:
            self._timed = before

    def clear(self) -> None:
        """Let go of all parts; each comes back when it is called."""
        for part, _ in self._resident.values():
            part.request = None
        self._resident.clear()
        _give_back()

    def used_gb(self) -> float:
        return sum(gb for _, gb in self._resident.values())

    def _compiler(self, name: str, part: Any, gb: float, compile: Callable[[], None]) -> Callable[[], None]:
        def bring() -> None:
            if part.request is not None:
                return
            start = time.perf_counter()
            self._make_room(gb)
            compile()
            self._resident[id(part)] = (part, gb)
            part.request = _Counted(part.request, self, name, fresh=self._timed)
            self.loading_s += time.perf_counter() - start

        return bring

    def _make_room(self, gb: float) -> None:
        while self._resident and self.used_gb() + gb > self.limit_gb:
            shortfall = self.used_gb() + gb - self.limit_gb
            part, _ = self._resident.pop(
                smallest_enough({key: size for key, (_, size) in self._resident.items()}, shortfall)
            )
            part.request = None
            _give_back()


class _Counted:
    """A compiled model whose calls are counted; of a `fresh` one the first call, in which weights are laid out, is
    loading too: it is made twice."""

    def __init__(self, request: Any, room: Room, name: str, *, fresh: bool) -> None:
        self._request, self._room, self._name, self._fresh = request, room, name, fresh

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self._fresh:
            start = time.perf_counter()
            self._request(*args, **options)
            self._room.loading_s += time.perf_counter() - start
            self._fresh = False
        self._room.calls[self._name] += 1
        return self._request(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def smallest_enough(resident: dict[Any, float], shortfall: float) -> Any:
    """What to let go: the smallest that makes enough room, or else the largest. Loading costs by size."""
    enough = {key: gb for key, gb in resident.items() if gb >= shortfall}
    return min(enough, key=lambda key: enough[key]) if enough else max(resident, key=lambda key: resident[key])


def _give_back() -> None:
    """Free memory to the system: the C library would keep it for later."""
    if sys.platform == "linux" and (library := ctypes.util.find_library("c")):
        trim = getattr(ctypes.CDLL(library), "malloc_trim", None)
        if trim is not None:
            trim(0)
