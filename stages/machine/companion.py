"""A process that stays: it makes an object and is asked for its methods, one question after the other, until it ends.

Consumes a function of a module that makes the object; returns what its methods return. Whatever goes wrong over there,
a Python error or a crash, is a ValueError of one line here, as other people's libraries raise what they like. What they
print is kept out of sight. See stages.machine.apart for a single answer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from stages.endings import parent
from stages.files import placing
from stages.machine import apart

PATIENCE_S = 10  # of one that was asked to end


class Companion:
    """`Companion(make, "red").ask("paint", 3)` is `make("red").paint(3)` of a process of its own."""

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        context, self._killed_before = multiprocessing.get_context("spawn"), apart.killed_for_memory()
        opened = ExitStack()
        self._log = opened.enter_context(placing.passing(placing.scratch("companion"))) / "log"
        self._clear_away = weakref.finalize(self, opened.close)
        self._pipe, theirs = context.Pipe()
        # The place in which it leaves temporary files goes with it, however it ends.
        self._process = context.Process(target=_serve, args=(theirs, self._log, make, arguments))
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        """Wait until the object is made."""
        self._answer()

    def ask(self, method: str, *arguments: Any) -> Any:
        try:
            self._pipe.send((method, arguments))
        except OSError:  # it has ended: reading says how
            pass
        return self._answer()

    def end(self) -> None:
        """Whatever it is doing; its memory is free when this returns."""
        self._pipe.close()
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._clear_away()

    def _answer(self) -> Any:
        try:
            answer, reason = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            ended = apart.ended(self._process.exitcode or 0, self._killed_before)
            raise ValueError(f"its process {ended}{self._last_words()}") from error
        if reason is not None:
            raise ValueError(reason)
        return answer

    def _last_words(self) -> str:
        said = self._log.read_text(errors="replace").strip().splitlines() if self._log.is_file() else []
        return f"; its last line: {said[-1].strip()}" if said else ""


def one_line(error: Exception) -> str:
    """`RuntimeError: no such thing`; of a user's mistake the message alone."""
    first = next(iter(str(error).strip().splitlines()), "")
    plain = isinstance(error, ValueError | FileNotFoundError | ImportError)
    return first if plain and first else f"{type(error).__name__}: {first}"


def _serve(pipe: Any, log: Path, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this
    parent.child_ends_with_parent()
    tempfile.tempdir = str(log.parent)
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(printed, descriptor)
    made = _told(pipe, make, *arguments)
    while made is not None:
        try:
            method, given = pipe.recv()
        except EOFError:
            return
        _told(pipe, getattr(made, method), *given, answered=True)


def _told(pipe: Any, function: Callable[..., Any], *arguments: Any, answered: bool = False) -> Any:
    """Call it and send its answer, or why there is none; what was made stays here."""
    try:
        result = function(*arguments)
    except Exception as error:  # of libraries whose errors have no base in common, and may not be pickled
        pipe.send((None, one_line(error)))
        return None
    pipe.send((result if answered else None, None))
    return result
