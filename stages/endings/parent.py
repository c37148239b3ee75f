"""A process that ends when the one that waits for it does: nobody wants its answer then, and the next run its memory.

On Linux the kernel sees to it, whatever this process is busy with: a thread of ours would wait for Python's lock, which
compressing weights holds for an hour. Elsewhere a thread has to do.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(number: int = signal.SIGKILL, pid: int | None = None) -> None:
    """Let the kernel send this process a signal when its parent's thread that started it ends; `pid`: the parent's."""
    if sys.platform != "linux":
        return
    pid = os.getppid() if pid is None else pid
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    if os.getppid() != pid:  # it has ended meanwhile
        os.kill(os.getpid(), number)


def child_ends_with_parent() -> None:
    """The same in a child of multiprocessing, on any system."""
    started_by = multiprocessing.parent_process()
    assert started_by is not None
    threading.Thread(target=_watch, args=(started_by,), daemon=True).start()
    end_with_parent(pid=started_by.pid)


def _watch(started_by: multiprocessing.process.BaseProcess) -> None:
    started_by.join()
    os._exit(1)
