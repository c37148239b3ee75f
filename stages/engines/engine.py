"""The engines, and the one thing that they do: `map`, the same results in the same order from each of them.

Consumes the settings of `engine`; produces the engine that they name. Ray is imported by the one that is called so,
when it begins to work, and by nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from stages.engines.work import Work

if TYPE_CHECKING:
    from stages.settings.schema import Engine as Settings


class Engine(Protocol):
    name: str

    def map(self, work: Work, items: Sequence[Any], what: str, unit: str) -> Iterator[Any]:
        """The items' results, in their order, as they come; `what` and `unit` label the progress bar."""

    def rest(self) -> None:
        """Let go of what was kept for more work to come: memory and cores that others wait for."""


class Local:
    """A loop, in this process."""

    name = "local"

    def map(self, work: Work, items: Sequence[Any], what: str, unit: str) -> Iterator[Any]:
        yield from map(work, bar(items, desc=what, unit=unit))

    def rest(self) -> None:
        """What is loaded here belongs to the work."""


LOCAL = Local()


def chosen(settings: Settings) -> Engine:
    if settings.name == "local":
        return LOCAL
    from stages.engines.crew import Crew

    return Crew(settings)


def bar(items: Sequence[Any] | None = None, **how: Any) -> Any:
    from tqdm import tqdm

    return tqdm(items, disable=None, leave=False, **how)
