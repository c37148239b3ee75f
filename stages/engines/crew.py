"""The engine `ray`: workers of a Ray cluster share the items of one work after the other, until they are told to rest.

Consumes the settings of `engine`; produces what stages.engines.shift does. Between two works its processes are kept
where they are enough for the next one too: to start one, and to import what it draws with, takes ten seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from stages.engines import cluster
from stages.engines.engine import bar
from stages.engines.shift import Shift
from stages.engines.work import Work

if TYPE_CHECKING:
    from stages.settings.schema import Engine as Settings


class Crew:
    name = "ray"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._actors: list[Any] = []  # of the last work, free
        self._reserved: dict[str, float] = {}  # for each of them

    def map(self, work: Work, items: Sequence[Any], what: str, unit: str) -> Iterator[Any]:
        if not items:
            return
        ray = cluster.connected(self.settings.address or "auto")
        shift = Shift(ray, self.settings, work, items, what)
        try:
            with bar(total=len(items), desc=what, unit=unit) as shift.bar:
                for result in shift.results(self._taken(shift)):
                    yield result
                    shift.tell()
            self._actors = shift.leave()
        finally:
            shift.dismiss()

    def rest(self) -> None:
        self._let_go(self._actors)
        self._actors = []

    def _taken(self, shift: Shift) -> list[Any]:
        """As many of those that are there as the work wants, none where they are too few; the others make room."""
        asked, actors = shift.asked(), self._actors
        alike = asked["num_cpus"] == self._reserved.get("num_cpus")
        enough = alike and asked["memory"] <= self._reserved["memory"] and len(actors) >= shift.count()
        taken = actors[: shift.count()] if enough else []
        self._let_go(actors[len(taken) :])
        self._actors, self._reserved = [], self._reserved if taken else asked
        return taken

    def _let_go(self, actors: Sequence[Any]) -> None:
        if actors:
            ray = cluster.connected(self.settings.address or "auto")
            for actor in actors:
                ray.kill(actor)
