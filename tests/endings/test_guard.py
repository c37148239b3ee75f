"""Every command ends in one line and a status of its own kind; what was begun is cleared away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAD = """
import os, sys, time
from pathlib import Path
from stages.files import placing
from stages.settings.config import main_guard
with main_guard():
"""


def guarded(body: str, folder: Path, **environment: str) -> subprocess.Popen:
    command = [sys.executable, "-c", HEAD + "".join(f"    {line}\n" for line in body.splitlines())]
    given = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=folder, env=given, stdout=pipe, stderr=pipe, text=True, start_new_session=True,
        preexec_fn=hear_whoever_asks,
    )  # fmt: skip


def hear_whoever_asks() -> None:
    """Also where whoever runs the tests does not, as in the background of a script or under nohup."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


WAITING = """
with placing.whole(Path("out")) as folder:
    (folder / "half").touch()
    print("ready", flush=True)
    time.sleep(60)
""".strip()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_whoever_is_asked_to_end_clears_away_and_says_so(tmp_path: Path, number: int, status: int) -> None:
    process = guarded(WAITING, tmp_path)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=30)
    assert process.returncode == status and list(tmp_path.iterdir()) == []
    assert said.count("\n") == 1 and f"stopped ({signal.Signals(number).name}): what is finished is kept" in said


CLEARING = """
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    for _ in range({seconds} * 100):
        time.sleep(0.01)
    Path("cleared").touch()
""".strip()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_wish_that_comes_twice_is_one(tmp_path: Path, number: int) -> None:
    """The kernel tells of a parent's end once for each of the parent's threads."""
    process = guarded(CLEARING.format(seconds=1), tmp_path)
    assert process.stdout.readline() == "ready\n"
    for _ in range(20):
        os.kill(process.pid, number)
        time.sleep(0.01)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number and (tmp_path / "cleared").exists()


def test_who_asks_again_later_does_not_wait(tmp_path: Path) -> None:
    process = guarded(CLEARING.format(seconds=600), tmp_path)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGTERM)
    while process.poll() is None:
        time.sleep(0.5)
        os.kill(process.pid, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM and not (tmp_path / "cleared").exists()


@pytest.mark.parametrize("letters", [1, 100_000], ids=["at the end", "amid"])
def test_a_reader_that_has_gone_is_no_fault(tmp_path: Path, letters: int) -> None:
    process = guarded(f"sys.stdin.readline()\nfor _ in range(9):\n    print('x' * {letters})", tmp_path)
    process.stdout.close()
    process.stdin = None
    said = process.stderr.read()
    assert (process.wait(), said) == (141, "")


def test_a_pipe_that_breaks_elsewhere_is_told(tmp_path: Path) -> None:
    process = guarded("r, w = os.pipe()\nos.close(r)\nos.write(w, b'x')", tmp_path)
    _, said = process.communicate()
    assert process.returncode == 2 and "Broken pipe" in said and said.count("\n") == 1


def test_the_traceback_is_shown_to_whoever_asks_for_it(tmp_path: Path) -> None:
    for environment, shown in (({}, False), ({"POCKETXL_TRACEBACK": "1"}, True)):
        process = guarded("{}['x']", tmp_path, **environment)
        _, said = process.communicate()
        assert process.returncode == 70 and ("Traceback" in said) == shown
        assert said.splitlines()[-1].startswith("error: KeyError: 'x', at ")


def test_a_line_stays_one_and_does_nothing_to_the_terminal(tmp_path: Path) -> None:
    """Names and values of other people's files stand in messages."""
    process = guarded("raise ValueError('has \\x1b[2J, \\x1c, \\u2028, \\ud800\\nerror: and \\u00e9')", tmp_path)
    assert process.communicate()[1] == "error: has \\x1b[2J, \\x1c, \\u2028, \\ud800\\nerror: and \u00e9\n"


def test_letters_that_a_locale_lacks_are_written_as_numbers(tmp_path: Path) -> None:
    locale = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = guarded("print('2\\u00d7')\nraise ValueError('caf\\u00e9')", tmp_path, **locale)
    assert process.communicate() == ("2\\xd7\n", "error: caf\\xe9\n")


PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=os.environ | {"DVC_STAGE": "x"})
child.wait()
"""


def test_a_stage_ends_with_the_dvc_that_has_started_it(tmp_path: Path) -> None:
    body = HEAD + "".join(
        f"    {line}\n" for line in f"Path('pid').write_text(str(os.getpid()))\n{WAITING}".splitlines()
    )
    given = os.environ | {"PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    dvc = subprocess.Popen([sys.executable, "-c", PARENT, body], cwd=tmp_path, env=given, stdout=pipe, text=True)
    assert dvc.stdout.readline() == "ready\n"
    stage = int((tmp_path / "pid").read_text())
    dvc.kill()
    dvc.wait()
    limit = time.monotonic() + 30
    while Path(f"/proc/{stage}").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["pid"]
