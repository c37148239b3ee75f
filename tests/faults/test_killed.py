"""Whatever is killed, stage, child or DVC: somebody tells of it, nobody is left behind, and the next run sweeps."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.endings.test_guard import hear_whoever_asks
from tests.faults.projects import ROOT, left

STAGE = """
import ctypes, json, os, sys, time
from pathlib import Path
from stages.files import manifest, placing
from stages.machine import apart, usage
from stages.machine.budget import Need
from stages.settings.config import main_guard
from tests.faults.test_killed import hold_pythons_lock

if __name__ == "__main__":
    with main_guard(), usage.recorded("export", "mini", Need(0.05, 0, 1), Path("out")):
        with placing.whole(Path("out")) as folder:
            (folder / "half").touch()
            if Path("wait").exists():
                apart.run("compressing", hold_pythons_lock)
            manifest.write(folder, stage="export", inputs={}, settings={})
"""


def hold_pythons_lock() -> None:
    """As compressing weights does, for an hour: no thread of this process gets a turn, no signal is heard."""
    import ctypes

    Path("pids").write_text(json.dumps([os.getppid(), os.getpid()]))
    ctypes.PyDLL(None).sleep(100)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stage.py").write_text(STAGE)
    (tmp_path / "wait").touch()
    return tmp_path


def begun(folder: Path, *command: str) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that has come as far as its child, and the ids of stage and child."""
    pipe, environment = subprocess.PIPE, os.environ | {"PYTHONPATH": str(ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    started = subprocess.Popen(
        [sys.executable, *command], cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True,
        start_new_session=True, preexec_fn=hear_whoever_asks,
    )  # fmt: skip
    limit = time.monotonic() + 60
    while not (folder / "pids").is_file() or not (folder / "pids").read_text():
        assert started.poll() is None and time.monotonic() < limit, started.communicate()
        time.sleep(0.05)
    return started, json.loads((folder / "pids").read_text())


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def said_by(started: subprocess.Popen[str]) -> str:
    """What it and all its children wrote to standard error, once the last of them has ended."""
    try:
        return started.communicate(timeout=120)[1]
    except subprocess.TimeoutExpired:
        states = ["ps", "-s", str(started.pid), "-o", "pid,ppid,stat,wchan:20,pending,blocked,ignored,args"]
        pytest.fail(f"somebody still writes: {subprocess.run(states, capture_output=True, text=True).stdout}")


def all_gone(pids: list[int]) -> bool:
    limit = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


def rerun(folder: Path) -> None:
    """The next run finishes, and finds nothing in its way."""
    (folder / "wait").unlink()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "stage.py"], cwd=folder, env=environment, check=True, capture_output=True)
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["half", "manifest.json"]
    assert left(folder) == []


@pytest.mark.parametrize("whole_group", [False, True], ids=["stage", "group"])
def test_a_killed_stage_is_told_of_by_its_watcher_and_takes_its_child_along(folder: Path, whole_group: bool) -> None:
    stage, pids = begun(folder, "stage.py")
    (os.killpg if whole_group else os.kill)(stage.pid, signal.SIGKILL)
    said = said_by(stage)
    assert all_gone(pids) and stage.returncode == -9 and not (folder / "out").exists()
    assert "error: export mini was killed by someone, or by a crash of its own" in said and "foretold 0.1 GB" in said
    assert "Traceback" not in said and "BrokenPipe" not in said
    rerun(folder)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stage_that_is_asked_to_end_ends_its_child_and_clears_away(folder: Path, number: int, status: int) -> None:
    stage, pids = begun(folder, "stage.py")
    os.killpg(stage.pid, number) if number == signal.SIGINT else os.kill(stage.pid, number)
    said = said_by(stage)
    assert all_gone(pids) and stage.returncode == status and left(folder) == []
    assert said.splitlines()[-1].startswith(f"stopped ({number.name}): ") and "Traceback" not in said
    rerun(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_dvc_that_is_killed_alone_leaves_nobody_behind(folder: Path, number: int) -> None:
    command = f"{sys.executable} stage.py"
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"make": {"cmd": command, "outs": ["out"]}}}))
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    dvc, pids = begun(folder, "-m", "dvc", "repro")
    os.kill(dvc.pid, number)
    said_by(dvc)
    assert all_gone(pids) and left(folder) == []
    rerun(folder)
