"""A process that stays: it makes an object and is asked for its methods, one question after the other, until it ends.

Consumes a function of a module that makes the object; returns what its methods return. Of a question that is followed,
news comes before the answer, and who asks may wish that it stops. Whatever goes wrong over there is a ValueError of one
line here, as other people's libraries raise what they like; of a question that is followed, it is raised as it was.
What they print is kept out of sight. See stages.machine.apart for a single answer.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
import traceback
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.endings import parent
from stages.files import placing
from stages.machine import apart

if TYPE_CHECKING:
    import threading

PATIENCE_S = 10  # of one that was asked to end
LOOK_S = 0.05  # between looks at whether a question that is followed should stop
NEWS, ANSWER, ERROR = "news", "answer", "error"
STOP = None  # where a question would stand
MAKING = 0  # the number of what is answered first: the object made


class Companion:
    """`Companion(make, "red").ask("paint", 3)` is `make("red").paint(3)` of a process of its own.

    That process ends with the thread that makes the companion (stages.endings.parent): let a thread do it that stays.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        context, self._killed_before = multiprocessing.get_context("spawn"), apart.killed_for_memory()
        opened = ExitStack()
        self._log = opened.enter_context(placing.passing(placing.scratch("companion"))) / "log"
        self._clear_away = weakref.finalize(self, opened.close)
        self._pipe, theirs = context.Pipe()
        self._number, self._read, self._made = MAKING, 0, False
        # The place in which it leaves temporary files goes with it, however it ends.
        self._process = context.Process(target=_serve, args=(theirs, self._log, make, arguments))
        resource_tracker.ensure_running()  # begun by the process's start, it would let Ctrl-C through to that
        with _no_ctrl_c():
            self._process.start()
        theirs.close()

    def ready(self, patience_s: float | None = None) -> bool:
        """Wait until the object is made, or as long as this; whether it is. Ended, a ValueError, if it cannot be."""
        if not self._made and self._pipe.poll(patience_s):
            kind, value = self._heard(MAKING)
            if kind == ERROR:
                raise apart.Ended(str(value[0]))
            self._made = True
        return self._made

    def ask(self, method: str, *arguments: Any) -> Any:
        kind, value = self._heard(self._put(method, arguments, followed=False))
        if kind == ERROR:
            raise value[0]
        return value

    def follow(self, method: str, *arguments: Any, tell: Callable[[Any], Any], stop: threading.Event) -> Any:
        """`ask` a method that takes two things more: what it tells news with, which reaches `tell` here, and what says
        `is_set()` once `stop` is set. What it raises is raised here, with where as a note."""
        kind, number = NEWS, self._put(method, arguments, followed=True)
        stopping = False
        try:
            while kind == NEWS:
                if stop.is_set() and not stopping:
                    stopping = self._say(STOP)
                elif self._pipe.poll(LOOK_S):
                    kind, value = self._heard(number)
                    if kind == NEWS:
                        tell(value)
        finally:
            if kind == NEWS and not stopping:  # nobody waits for it any more
                self._say(STOP)
        if kind == ERROR:
            error, raised_at = value
            error.add_note(raised_at)
            raise error
        return value

    def is_alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int | None:
        return self._process.pid

    def kill(self) -> None:
        """Whatever it is doing; who waits for an answer, in another thread, is told so."""
        self._process.kill()

    def end(self) -> None:
        """Whatever it is doing; its memory is free when this returns."""
        self._pipe.close()
        self._process.join(PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._clear_away()

    def _put(self, method: str, arguments: tuple[Any, ...], followed: bool) -> int:
        """Ask, and the number under which it is answered."""
        self.ready()
        self._number += 1
        self._read = self._log.stat().st_size if self._log.is_file() else 0
        self._say((self._number, method, arguments, followed))
        return self._number

    def _say(self, what: Any) -> bool:
        with suppress(OSError):  # it has ended: reading says how
            self._pipe.send(what)
        return True

    def _heard(self, number: int) -> tuple[str, Any]:
        """What is said next of a question; of an earlier one, which nobody waits for any more, it is passed over."""
        about = None
        try:
            while about != number:
                about, kind, value = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            ended = apart.ended(self._process.exitcode or 0, self._killed_before)
            raise apart.Ended(f"its process {ended}{self._last_words()}") from error
        return kind, value

    def _last_words(self) -> str:
        """Of what it printed since it was asked."""
        printed = self._log.read_bytes()[self._read :] if self._log.is_file() else b""
        said = printed.decode(errors="replace").strip().splitlines()
        return f"; its last line: {said[-1].strip()}" if said else ""


def one_line(error: Exception) -> str:
    """`RuntimeError: no such thing`; of a user's mistake the message alone."""
    first = next(iter(str(error).strip().splitlines()), "")
    plain = isinstance(error, ValueError | FileNotFoundError | ImportError)
    return first if plain and first else f"{type(error).__name__}: {first}"


class _Wish:
    """Over there: whether it is wished that the question stops. Until it is answered nothing else is said."""

    def __init__(self, pipe: Any) -> None:
        self._pipe, self._stop = pipe, False

    def is_set(self) -> bool:
        self._stop = self._stop or (self._pipe.poll() and self._pipe.recv() is STOP)
        return self._stop


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """Ctrl-C waits; for a process that is started here, until it says what it makes of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Any, log: Path, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which ends this
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    parent.child_ends_with_parent()
    tempfile.tempdir = str(log.parent)
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor in (1, 2):
        os.dup2(printed, descriptor)
    made = _told(pipe, MAKING, make, *arguments)
    while made is not None:
        try:
            question = pipe.recv()
        except EOFError:
            return
        if question is not STOP:  # a wish that came after the answer
            _answer(pipe, made, *question)


def _answer(pipe: Any, made: Any, number: int, method: str, given: tuple[Any, ...], followed: bool) -> None:
    if followed:
        given = (*given, lambda news: pipe.send((number, NEWS, news)), _Wish(pipe))
    _told(pipe, number, getattr(made, method), *given, as_it_was=followed)


def _told(pipe: Any, number: int, function: Callable[..., Any], *arguments: Any, as_it_was: bool = False) -> Any:
    """Call it and send its answer, or why there is none; what was made stays here."""
    try:
        result = function(*arguments)
    except Exception as error:  # of libraries whose errors have no base in common, and may not be pickled
        told = apart.sendable(error) if as_it_was else ValueError(one_line(error))
        pipe.send((number, ERROR, (told, traceback.format_exc())))
        return None
    pipe.send((number, ANSWER, None if number == MAKING else result))
    return result
