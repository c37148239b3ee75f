"""The one place where a command meets its end: a line on stderr and an exit status, whatever was raised.

2: refused, or the system, the network or a library failed; the line says what to do. 70: a fault of ours. 130, 143 or
129: stopped by Ctrl-C, a polite kill or a closed terminal, temporaries removed. 141: nobody reads our output any more.
POCKETXL_TRACEBACK=1 shows the traceback before the line.
"""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from stages.endings import causes, parent

POLITE = [signal.SIGTERM, signal.SIGHUP]
UNREAD = 128 + signal.SIGPIPE
ONE_WISH_S = 1.0  # within it another signal is the same wish
STDOUT = 1


class Stopped(BaseException):
    """Somebody asks this process to end."""

    def __init__(self, number: int) -> None:
        self.number = number


@contextmanager
def main_guard() -> Iterator[None]:
    """Around all that a command does: no traceback unless it is asked for, and what was begun is cleared away."""
    _write_any_letter()
    if "DVC_STAGE" in os.environ:  # a killed DVC would leave a stage that writes where the next run does
        parent.end_with_parent(signal.SIGTERM)
    with _stoppable():
        try:
            yield
            sys.stdout.flush()
        except (SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            raise SystemExit(_end(error)) from error


def _end(error: BaseException) -> int:
    if os.environ.get(causes.TRACEBACK):
        traceback.print_exception(error)
    if isinstance(error, BrokenPipeError) and _is_unread():
        os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)  # Python writes what is left when it ends
        return UNREAD
    if isinstance(error, KeyboardInterrupt | Stopped):
        number = error.number if isinstance(error, Stopped) else signal.SIGINT
        _say(f"stopped ({signal.Signals(number).name}): what is finished is kept; run '{causes.again()}' to go on")
        return 128 + number
    line, status = causes.told(error)
    _say(f"error: {line}")
    return status


def _say(line: str) -> None:
    with suppress(BrokenPipeError):
        print(visible(line), file=sys.stderr, flush=True)


def visible(text: str) -> str:
    """One line, of letters that do nothing: what a file holds is said as it is, and is not obeyed by the terminal.

    >>> visible("names are 'a\\x1b[2Jb' and 'é'")
    "names are 'a\\\\x1b[2Jb' and 'é'"
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _is_unread() -> bool:
    """Whether standard output is a pipe that nobody has the other end of."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    return any(found & select.POLLERR for _, found in poll.poll(0))


def _write_any_letter() -> None:
    """In a locale that knows ASCII alone, other letters are written as their numbers."""
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.encoding.lower().startswith("utf"):
        sys.stdout.reconfigure(errors="backslashreplace")


@contextmanager
def _stoppable() -> Iterator[None]:
    """A polite kill is raised like Ctrl-C, so that temporaries are removed; another one, later, ends at once.

    The kernel tells of a parent's end once for every thread that the parent had, all within a moment: raised twice, the
    second would cut short what clears away after the first.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    began: list[float] = []

    def asked(number: int, _frame: Any) -> None:
        began.append(time.monotonic())
        if len(began) == 1:
            raise Stopped(number)
        if began[-1] - began[0] > ONE_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    caught = [one for one in POLITE if signal.getsignal(one) is signal.SIG_DFL]  # nohup ignores one of them
    try:
        for one in caught:
            signal.signal(one, asked)
        yield
    finally:
        for one in caught:
            signal.signal(one, signal.SIG_DFL)
