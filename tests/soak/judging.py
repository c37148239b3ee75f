"""What becomes of one input: refused in one line, accepted and right, accepted and wrong, a traceback, or no end.

Consumes a function that does what a command does, and one that says what is wrong with its result. The function runs
under the commands' own guard: what that says and how it exits is what its user sees.
"""

from __future__ import annotations

import contextlib
import io
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from stages.endings import causes
from stages.endings.guard import main_guard

REFUSED, RIGHT, WRONG, TRACEBACK, STUCK = VERDICTS = ("refused", "right", "wrong", "traceback", "stuck")
LONGEST_S = 120


@dataclass(frozen=True)
class Verdict:
    name: str
    said: str


class Stuck(BaseException):
    """Not an Exception: nothing on the way may catch it."""


def judge(run: Callable[[], Any], wrong: Callable[[Any], str]) -> Verdict:
    """`wrong` is "" for a result that is what its input means, else what is wrong with it."""
    said = io.StringIO()
    with limited(LONGEST_S) as over:
        try:
            with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()), main_guard():
                result = run()
        except SystemExit as ended:
            return Verdict(STUCK, f"no end after {LONGEST_S} s") if over else _ended(ended, said.getvalue())
        except BaseException:
            return Verdict(TRACEBACK, traceback.format_exc())
    try:
        fault = wrong(result)
    except Exception:  # what reads the example by itself cannot read it
        fault = f"it is read as {repr(result)[:300]}, where nothing else can read it:\n{traceback.format_exc()}"
    return Verdict(WRONG, fault) if fault else Verdict(RIGHT, "")


def _ended(ended: SystemExit, said: str) -> Verdict:
    """What is refused says why in its last line, and what says more than a line of it is a traceback in disguise."""
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    if (
        ended.code == causes.REFUSED
        and len(errors) == 1
        and "Traceback" not in said
        and said.splitlines()[-1] == errors[0]
    ):
        return Verdict(REFUSED, errors[0])
    raised = "".join(traceback.format_exception(ended.__cause__)) if ended.__cause__ else ""
    return Verdict(TRACEBACK, f"{raised}exit status {ended.code}\n{said}")


@contextlib.contextmanager
def limited(seconds: int) -> Iterator[list[bool]]:
    """What is yielded is no longer empty once the time was over: whoever catches `Stuck` does not hide it."""
    over: list[bool] = []

    def rise(*_: Any) -> None:
        over.append(True)
        raise Stuck

    before = signal.signal(signal.SIGALRM, rise)
    # To this thread: of a process with others an alarm may wake one of them, and what waits here goes on waiting.
    timer = threading.Timer(seconds, signal.pthread_kill, (threading.get_ident(), signal.SIGALRM))
    timer.start()
    try:
        yield over
    finally:
        timer.cancel()
        timer.join()
        signal.signal(signal.SIGALRM, before)
