"""Work done in a process of its own, which gives all its memory back to the system when it ends.

Consumes a function of a module and its arguments; returns what it returns and raises what it raises. A child that ended
in any other way becomes an error that says how: with which exit status, by which signal, and for memory only where the
system says that it killed a process for it.
"""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import traceback
from collections.abc import Callable
from typing import Any

from stages.endings import causes, parent
from stages.machine.watcher import SHORT
from stages.machine.watcher import killed_for_memory as killed_for_memory


class Ended(ValueError):
    """A process ended without an answer."""


class Crashed(Ended):
    """By a fault of a program: the same once more would do the same."""


def run(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in a fresh process; Ended, which says how a process `what` ended, if without a word."""
    context, before = multiprocessing.get_context("spawn"), killed_for_memory()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, *arguments))
    process.start()
    sender.close()
    said = None
    try:
        said = receiver.recv()
    except EOFError as error:
        process.join()
        status = process.exitcode or 0
        kind = Crashed if status < 0 and status != -signal.SIGKILL else Ended
        raise kind(f"the process {what} {ended(status, before)}") from error
    finally:  # after Ctrl-C or a polite kill nobody waits for it any more
        if said is None:
            process.kill()
        receiver.close()
        process.join()
    answer, raised_at = said
    if raised_at is None:
        return answer
    answer.add_note(raised_at)
    raise answer


def ended(status: int, killed_before: int | None) -> str:
    """How a process ended that should have answered; `killed_before`: `killed_for_memory()` before it was started.

    >>> ended(3, 0)
    'ended with exit status 3 and without a result'
    """
    if status >= 0:
        return f"ended with exit status {status} and without a result"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    if status != -signal.SIGKILL:
        limits = "; ".join(causes.limits())  # past them a thread of a library that asks for memory aborts all of it
        of_what = f"perhaps for memory, as {limits}" if limits else "that is a fault of a program, not of memory"
        return f"crashed ({name}): {of_what}; please report it with this line"
    now = killed_for_memory()
    if now is None or killed_before is None:
        return f"was killed ({name}) by someone, or by the system {SHORT}"
    return f"was killed by the system {SHORT}" if now > killed_before else f"was killed ({name}) by someone"


def _answer(sender: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Send what the function returns and None, or what it raises and where."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which says so and ends this
    parent.child_ends_with_parent()
    try:
        answer = (function(*arguments), None)
    except Exception as error:  # whatever it is, it is raised again on the other side
        answer = (sendable(error), traceback.format_exc())
    sender.send(answer)


def sendable(error: Exception) -> Exception:
    """The error, or where it does not survive the way to another process, as some libraries' do not, one that says the
    same."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # of whatever kind its own code raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
