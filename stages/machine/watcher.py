"""Peak memory of a process and all its children, seen from outside: `python stages/machine/watcher.py PID`.

Consumes /proc, and sees nothing where there is none, until standard input ends; prints {"anonymous_gb", "total_gb"} as
JSON. It is a process of its own since OpenVINO holds Python's lock for minutes. `total_gb` counts mapped files, once
per process.
"""

from __future__ import annotations

import json
import os
import select
import sys
from pathlib import Path

INTERVAL_S = 0.25


def watch(pid: int) -> dict[str, float]:
    """Peaks until standard input ends or the process does."""
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


if __name__ == "__main__":
    print(json.dumps(watch(int(sys.argv[1]))))
