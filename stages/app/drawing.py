"""Pictures on their way: what happens in the studio, as a generator that whoever shows it can leave at any time.

Consumes requests; produces `Progress` as it comes, the latest only where the reader is slow, then each `Drawn`. Leaving
the generator stops the drawing at its next step. Draws in a thread, and knows no page.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stages.studio.studio import Stopped

if TYPE_CHECKING:
    from stages.studio.request import Request
    from stages.studio.separate import SeparateStudio
    from stages.studio.studio import Drawn, Progress

EVERY_S = 0.1  # news of one part


def drawn(
    studio: SeparateStudio, requests: list[Request], stop: threading.Event
) -> Iterator[tuple[int, Progress | Drawn]]:
    """(number of the request, what is new of it). Raises what the studio raises: Stopped, Refused.

    Each is drawn to its end before the next; none is begun where `stop` is set already.
    """
    for number, request in enumerate(requests):
        if stop.is_set():  # the studio would look only once whoever draws there is done
            raise Stopped("stopped")
        for found in _one(studio, request, stop):
            yield number, found


def _one(studio: SeparateStudio, request: Request, stop: threading.Event) -> Iterator[Progress | Drawn]:
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    end: list[Any] = []

    def work() -> None:
        try:
            end.append(studio.draw(request, told.put, stop))
        except BaseException as error:  # handed on to whoever reads
            end.append(error)
        told.put(None)

    thread = threading.Thread(target=work, name="drawing", daemon=True)
    thread.start()
    try:
        yield from _latest(told)
    finally:
        if thread.is_alive() and not end:
            stop.set()
        thread.join()
    if isinstance(end[0], BaseException):
        raise end[0]
    yield end[0]


def _latest(told: queue.SimpleQueue[Any]) -> Iterator[Progress]:
    """What was told until None, but not more than a page can follow; a preview is never lost."""
    preview, part, last = None, None, 0.0
    while (news := told.get()) is not None:
        preview = news.preview or preview
        if told.empty() and (news.part != part or time.monotonic() - last >= EVERY_S):
            part, last = news.part, time.monotonic()
            yield replace(news, preview=preview)
