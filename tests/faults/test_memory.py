"""Memory that runs out, at the shell's limit or by the kernel's hand: one line with what was foretold and seen."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.machine import watcher
from tests.faults.projects import ROOT, ended, left, project

GREEDY = """
import os, sys
from pathlib import Path
from stages.machine import apart, usage
from stages.machine.budget import Need
from stages.settings.config import main_guard
from tests.faults.test_memory import take

if __name__ == "__main__":
    with main_guard(), usage.recorded("export", "mini", Need(0.05, 0, 1), Path("artifacts/out")):
        take() if sys.argv[1] == "itself" else apart.run("converting unet", take)
"""


def take() -> None:
    """More and more, no faster than the watcher looks, until somebody puts an end to it."""
    held = []
    while True:
        held.append(bytearray(os.urandom(1) * 10_000_000))
        time.sleep(watcher.INTERVAL_S)


@pytest.mark.slow
@pytest.mark.parametrize("limit_gb", [0.9, 1.5])
def test_the_shells_limit_is_named_and_what_to_run(tmp_path: Path, limit_gb: float) -> None:
    """Seldom a library is imported by half, and what follows looks like a mistake of ours: then with a doubt."""
    folder = project(tmp_path / "project")
    assert ended(folder, "download", "mini-vega")[0] == 0
    size = int(limit_gb * 1e9)
    limited = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size))}
    status, said = ended(folder, "export", "mini-vega", **limited)
    assert status in (2, 70) and said.startswith("error: export mini-vega: "), said
    assert f"(ulimit -v is {limit_gb} GB)" in said and left(folder) == []
    assert status == 70 or "run 'python -m stages.export mini-vega'" in said


@pytest.mark.parametrize("who", ["itself", "a process apart"])
def test_what_the_kernel_kills_for_memory_is_told_with_forecast_and_peak(
    tmp_path: Path, little_memory: Callable, who: str
) -> None:
    """Of a child the stage tells; of the stage itself its watcher, which is not in the group here."""
    group = little_memory(200_000_000)
    (tmp_path / "greedy.py").write_text(GREEDY)

    def confine() -> None:
        group.write_text(str(os.getpid()))

    run = subprocess.run(
        [sys.executable, "greedy.py", who],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        preexec_fn=confine,
        capture_output=True,
        text=True,
    )
    said = run.stderr.splitlines()
    assert "Traceback" not in run.stderr and len(said) == 2, run.stderr
    assert "killed by the system for lack of memory: close other programs, or see `make plan`" in said[1]
    figures = (
        r"foretold 0.1 GB and had 0\.[12] GB" if who == "itself" else r"0.1 GB were foretold, 0\.[12] GB were seen"
    )
    assert re.search(figures, said[1]), said
    assert run.returncode == (-9 if who == "itself" else 2)
