"""Peak memory of a process and all its children, seen from outside: `python stages/machine/watcher.py PID WHAT GB`.

Consumes /proc, and sees nothing where there is none, until a word comes on standard input; prints {"anonymous_gb",
"total_gb"} as JSON. It is a process of its own since OpenVINO holds Python's lock for minutes. `total_gb` counts mapped
files, once per process. Where standard input ends without a word, the process was killed: the watcher is then the one
that can tell what it was (WHAT), what was foretold (GB), what it took, and whether the system killed it for memory.
Imports nothing of this project: it is started without its folder.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from pathlib import Path

INTERVAL_S = 0.25
VMSTAT = Path("/proc/vmstat")
CGROUP = Path("/sys/fs/cgroup")
SHORT = "for lack of memory: close other programs, or see `make plan` for what each model needs and what fits"


def watch(pid: int) -> dict[str, float]:
    """Peaks until something comes on standard input, or it ends, or the process does."""
    peaks = [0, 0]
    while True:
        seen = [memory(one) for one in tree(pid) if one != os.getpid()]
        peaks = [max(peak, sum(values)) for peak, values in zip(peaks, zip(*seen, (0, 0), strict=True), strict=True)]
        ended, _, _ = select.select([sys.stdin], [], [], INTERVAL_S)
        if ended or not Path(f"/proc/{pid}").exists():
            return {"anonymous_gb": round(peaks[0] / 1e9, 3), "total_gb": round(peaks[1] / 1e9, 3)}


def tree(pid: int) -> list[int]:
    """The process and all its descendants."""
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                todo += map(int, task.read_text().split())
            except OSError:  # it has just ended
                continue
    return found


def memory(pid: int) -> tuple[int, int]:
    """(anonymous, all) resident bytes of one process, zeros if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = dict(line.split(":", 1) for line in lines if line.startswith(("RssAnon:", "VmRSS:")))
    anonymous, total = (1024 * int(found.get(name, "0").split()[0]) for name in ("RssAnon", "VmRSS"))
    return anonymous, total


def killed_for_memory() -> int | None:
    """How many processes of this control group the kernel has killed for memory so far; None where it does not say.

    Of the whole machine where groups do not count: others' are among them then.
    """
    for path in [*_counts(), VMSTAT]:
        try:
            found = dict(line.split() for line in path.read_text().splitlines())
            return int(found["oom_kill"])
        except (OSError, KeyError, ValueError):
            continue
    return None


def _counts() -> list[Path]:
    """Files in which this process's control group counts, of both versions; in a container its group is the top."""
    try:
        lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except (OSError, ValueError):
        return []
    one, two = (
        [path.strip("/") for _, names, path in lines if wanted in names.split(",")] for wanted in ("memory", "")
    )
    files = [CGROUP / "memory" / path / "memory.oom_control" for path in one]
    files += [CGROUP / path / "memory.events" for path in two]
    return [*files, CGROUP / "memory.events", *([CGROUP / "memory/memory.oom_control"] if one else [])]


def epitaph(what: str, foretold_gb: float, taken_gb: float, killed_before: int | None) -> str:
    """Of a process that ended without a word: by the system for memory, or by whom nobody knows."""
    now = killed_for_memory()
    figures = f"it was foretold {foretold_gb:.1f} GB and had {taken_gb:.1f} GB at its last sight"
    if now is not None and killed_before is not None and now > killed_before:
        return f"error: {what} was killed by the system {SHORT} ({figures})"
    why = (
        "by someone, or by a crash of its own, not by the system for lack of memory"
        if now is not None
        else "or crashed"
    )
    return f"error: {what} was killed {why} ({figures}): its exit status names the signal; run it again to go on"


def main(pid: int, what: str, foretold_gb: float) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    before = killed_for_memory()
    peaks = watch(pid)
    try:
        if sys.stdin.readline():
            print(json.dumps(peaks), flush=True)
        else:
            print(epitaph(what, foretold_gb, peaks["anonymous_gb"], before), file=sys.stderr, flush=True)
    except BrokenPipeError:  # nobody is there to be told
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
