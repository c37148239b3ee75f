"""Run a command under a hard memory limit: a control group, as root; RLIMIT_DATA where there is none to be had.

Consumes a limit in GB (1e9 bytes) and a command; produces an entry of proofs/results/limits.json: seconds, peaks of the
process tree, and whether the limit killed it. Page cache counts towards a control group, and gives way.

    python -m proofs.limit 8 "SDXL, whole pipeline" dvc repro benchmark@synthetic-sdxl
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.files import placing
from stages.machine import description

RESULTS = Path("proofs/results/limits.json")
WATCHER = Path("stages/machine/watcher.py")


def run(limit_gb: float, command: list[str]) -> dict[str, Any]:
    """What became of the command: exit status, seconds, peaks in GB, and how it was limited."""
    with _limited(limit_gb) as (how, enter, killed):
        start = time.perf_counter()
        child = subprocess.Popen(command, preexec_fn=enter)
        watcher = subprocess.Popen(
            [sys.executable, "-I", str(WATCHER), str(child.pid), command[0], str(limit_gb)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        status = child.wait()
        seconds = time.perf_counter() - start
        peaks = json.loads(watcher.communicate("ended\n")[0] or "{}")
        return {
            "limit_gb": limit_gb, "limited_by": how, "status": status, "killed": killed(),
            "seconds": round(seconds, 1), **peaks,
        }  # fmt: skip


@contextmanager
def _limited(limit_gb: float) -> Iterator[tuple[str, Any, Any]]:
    """(how, what the child calls to enter, whether something was killed)."""
    bytes_ = int(limit_gb * 1e9)
    for top, name, oom in ((Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.oom_control"),
                           (Path("/sys/fs/cgroup"), "memory.max", "memory.events")):  # fmt: skip
        group = top / f"proof-{os.getpid()}"
        try:
            group.mkdir()
            (group / name).write_text(str(bytes_))
        except OSError:
            continue
        try:
            yield (
                "control group",
                lambda group=group: (group / "cgroup.procs").write_text(str(os.getpid())),
                lambda group=group, oom=oom: "oom_kill 0" not in (group / oom).read_text(),
            )
        finally:
            time.sleep(1)  # until the last process has left
            group.rmdir()
        return
    yield "RLIMIT_DATA", lambda: resource.setrlimit(resource.RLIMIT_DATA, (bytes_, bytes_)), lambda: False


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.limit", description=__doc__.splitlines()[0])
    parser.add_argument("limit_gb", type=float)
    parser.add_argument("name", help="what the entry is called")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    given = parser.parse_args(argv)
    if not given.command:
        parser.error("a command is wanted")
    entry = run(given.limit_gb, given.command)
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    results[given.name] = {"command": " ".join(given.command), "machine": description.describe()["cpu"], **entry}
    placing.write_text(RESULTS, json.dumps(results, indent=1) + "\n")
    print(f"{given.name}: {entry}")


if __name__ == "__main__":
    main()
