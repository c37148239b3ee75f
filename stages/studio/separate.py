"""A studio in a process of its own: it begins to import what drawing needs at once, beside whatever this one does.

Consumes requests; tells and returns, or raises, what `Studio.draw` does. A process that was killed, or crashed, takes
the picture along that it drew, and no other: the next one is drawn by a new process. This one imports no library that
draws.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.machine.apart import Ended
from stages.machine.companion import Companion
from stages.studio.studio import LIBRARIES, Listener, Progress, Stopped, Studio

if TYPE_CHECKING:
    from stages.settings.schema import Device
    from stages.studio.request import Request
    from stages.studio.studio import Drawn

LOOK_S = 0.1  # between looks at whether somebody who waits for libraries wants to stop


class SeparateStudio:
    """`Studio` for those who draw with what lies in artifacts/ir. Its process is there while the block is run."""

    def __init__(self, device: Device, root: Path = Path("."), limit_gb: float | None = None) -> None:
        self._how = (device, root, limit_gb)
        self._lock, self._ended = threading.Lock(), False
        # A companion ends with the thread that made it, and those that draw pictures come and go.
        self._maker = ThreadPoolExecutor(1, "companions")
        self._made = self._make()

    def __enter__(self) -> SeparateStudio:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()

    def draw(self, request: Request, on_progress: Listener | None = None, stop: threading.Event | None = None) -> Drawn:
        """One picture; raises what `Studio.draw` does, and Ended, a ValueError, where its process ended meanwhile."""
        tell, stop = on_progress or (lambda progress: None), stop or threading.Event()
        with self._lock:
            companion = self._present()
            try:
                _wait(companion, request, tell, stop)
                return companion.follow("draw", request, tell=tell, stop=stop)
            except Ended as error:
                self._renew()
                raise Ended(f"the picture is lost: {error}; draw it again, a new process is being started") from error

    def end(self) -> None:
        """Whoever draws is told that the process ended."""
        self._ended = True
        if not self._made.exception():
            self._made.result().kill()
        with self._lock:
            self._clear_away()
        self._maker.shutdown()

    def pid(self) -> int | None:
        """Of the process that draws, or will."""
        return self._made.result().pid

    def _present(self) -> Companion:
        if not self._ended and (self._made.exception() or not self._made.result().is_alive()):
            self._renew()
        if self._ended:
            raise Stopped("the studio has ended")
        return self._made.result()

    def _renew(self) -> None:
        if not self._ended:
            self._clear_away()
            self._made = self._make()

    def _make(self) -> Future[Companion]:
        return self._maker.submit(Companion, studio, *self._how)

    def _clear_away(self) -> None:
        if not self._made.exception():
            self._made.result().end()


def studio(device: Device, root: Path, limit_gb: float | None) -> Studio:
    """Over there: the libraries, which take seconds, then the studio. Nothing is asked of any network."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    from tqdm import tqdm

    from stages.generation import libraries, pipelines

    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which outlives a process that is killed
    for name in set(pipelines.CLASSES.values()):
        libraries.pipeline_class(name)
    return Studio(device, root, limit_gb)


def _wait(companion: Companion, request: Request, tell: Listener, stop: threading.Event) -> None:
    """Until the libraries are there, or nobody wants the picture any more."""
    if companion.ready(0):
        return
    tell(Progress(LIBRARIES, steps=request.steps))
    while not companion.ready(LOOK_S):
        if stop.is_set():
            raise Stopped("stopped")
