"""Who wants to draw, in the order of coming: one draws, the others see how many are before them, and may leave.

Gradio's own queue shows a place too, but who is stopped in it stays, and what is cancelled ends as an error. Knows
neither pictures nor people.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 20  # who comes then is asked to come back later
LOOK_S = 0.5  # between looks at whether somebody who waits wants to leave


class Line:
    def __init__(self) -> None:
        self._waiting: list[object] = []
        self._moved = threading.Condition()

    @contextmanager
    def place(self, leave: threading.Event) -> Iterator[Iterator[int]]:
        """The number of those before, told whenever it changes, until there is none or `leave` is set.

        The place is held until the block ends. ValueError where the line is as long as it may be.
        """
        ticket = object()
        with self._moved:
            if len(self._waiting) > LONGEST:
                raise ValueError(f"{LONGEST} pictures are waited for already: come back later")
            self._waiting.append(ticket)
        try:
            yield self._before(ticket, leave)
        finally:
            with self._moved:
                self._waiting.remove(ticket)
                self._moved.notify_all()

    def _before(self, ticket: object, leave: threading.Event) -> Iterator[int]:
        told = 0
        while not leave.is_set():
            with self._moved:
                before = self._waiting.index(ticket)
                if before and before == told:
                    self._moved.wait(LOOK_S)
                    before = self._waiting.index(ticket)
            if not before:
                return
            if before != told:
                told = before
                yield before
