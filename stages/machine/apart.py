"""Work done in a process of its own, which gives all its memory back to the system when it ends.

Consumes a function of a module and its arguments; returns what it returns and raises what it raises. A child that ended
in any other way becomes an error that says how: with which exit status, by which signal, and for memory only where the
system says that it killed a process for it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNTS = Path("/proc/vmstat")  # `oom_kill`: processes that the kernel has killed for memory since it started
SHORT = "for lack of memory: close other programs, or see `make plan` for what each model needs"


def run(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in a fresh process; ValueError that says how a process `what` ended, if without a word."""
    context, before = multiprocessing.get_context("spawn"), killed_for_memory()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, *arguments))
    process.start()
    sender.close()
    try:
        answer, raised_at = receiver.recv()
    except EOFError as error:
        process.join()
        raise ValueError(f"the process {what} {ended(process.exitcode or 0, before)}") from error
    finally:
        receiver.close()
    process.join()
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
        return f"crashed ({name}): that is a fault of a program, not of memory; please report it with this line"
    now = killed_for_memory()
    if now is None or killed_before is None:
        return f"was killed ({name}) by someone, or by the system {SHORT}"
    return f"was killed by the system {SHORT}" if now > killed_before else f"was killed ({name}) by someone"


def killed_for_memory(counts: Path = COUNTS) -> int | None:
    """How many processes the kernel has killed for memory so far; None where it does not say."""
    if not counts.is_file():
        return None
    found = dict(line.split() for line in counts.read_text().splitlines())
    return int(found["oom_kill"]) if "oom_kill" in found else None


def _answer(sender: Any, function: Callable[..., Any], *arguments: Any) -> None:
    """Send what the function returns and None, or what it raises and where."""
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        answer = (function(*arguments), None)
    except Exception as error:  # whatever it is, it is raised again on the other side
        answer = (error, traceback.format_exc())
    sender.send(answer)


def end_with_parent() -> None:
    """Nobody waits for an answer once the parent was killed, and the next run wants the memory."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
