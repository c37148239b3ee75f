"""Pictures of a session: one browser tab's, as PNG files that reproduce themselves, until it is closed.

Consumes what the studio drew; produces files in one folder, the newest `LIMIT` of each session, and what was measured
of each. Nothing of a picture stays in memory but its figures.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.studio.request import Request
    from stages.studio.studio import Drawn

LIMIT = 100  # pictures of a session
SESSIONS = 64  # a browser that vanished without a word makes room when others come


@dataclass(frozen=True)
class Kept:
    """A picture on the disk."""

    path: Path
    size: tuple[int, int]
    request: Request  # without the picture that it started from
    seconds: dict[str, float]
    memory_mb: float
    said: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.request.model} {self.request.precision}, seed {self.request.seed}"


@dataclass
class Session:
    folder: Path
    stop: threading.Event = field(default_factory=threading.Event)
    drawing: bool = False
    ended: threading.Event = field(default_factory=threading.Event)  # what was drawn last, with `word` of it
    word: str = ""
    began: str | None = None  # what a PNG read back started from, until the next drawing: see `metadata.of_start`
    kept: list[Kept] = field(default_factory=list)  # the newest first
    shown: list[Kept] = field(default_factory=list)  # one, or two beside each other

    def keep(self, drawn: Drawn) -> Kept:
        from stages.studio import metadata

        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{secrets.token_hex(12)}.png"
        metadata.write(drawn, path)
        request = replace(drawn.request, image=None)
        kept = Kept(path, drawn.picture.size, request, drawn.seconds, drawn.memory_mb, drawn.said)
        self.kept.insert(0, kept)
        for old in self.kept[LIMIT:]:
            old.path.unlink(missing_ok=True)
        del self.kept[LIMIT:]
        return kept

    def end(self) -> None:
        self.stop.set()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """By the hash that the page gives each tab; folders have names of their own, as addresses of pictures are known."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._lock = folder, threading.Lock()
        self._sessions: OrderedDict[str, Session] = OrderedDict()

    def of(self, name: Any) -> Session:
        with self._lock:
            session = self._sessions.setdefault(str(name), Session(self.folder / secrets.token_hex(12)))
            self._sessions.move_to_end(str(name))
            idle = [key for key, other in self._sessions.items() if not other.drawing and other is not session]
            for key in idle[: max(0, len(self._sessions) - SESSIONS)]:
                self._sessions.pop(key).end()
            return session

    def end(self, name: Any) -> None:
        with self._lock:
            session = self._sessions.pop(str(name), None)
        if session:
            session.end()
