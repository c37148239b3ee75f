"""A process apart returns, raises, or ends: and the error says in which way."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.machine import apart, watcher


def fail(message: str) -> None:
    raise FileNotFoundError(message)


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(status: int) -> None:
    os._exit(status)


def tell_and_work(file: str) -> None:
    Path(file).write_text(str(os.getpid()))
    time.sleep(600)


def nothing_to_be_sent() -> object:
    return lambda: None


def test_what_is_returned_comes_back() -> None:
    assert apart.run("counting", sum, [1, 2, 3]) == 6


def test_what_is_raised_is_raised_here_with_where_it_arose() -> None:
    with pytest.raises(FileNotFoundError, match="^no such file") as raised:
        apart.run("reading", fail, "no such file")
    assert "in fail" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGKILL, r"the process working was killed \(SIGKILL\) by someone$"),
        (signal.SIGSEGV, r"the process working crashed \(SIGSEGV\): that is a fault of a program, not of memory"),
        (signal.SIGABRT, r"the process working crashed \(SIGABRT\)"),
    ],
)
def test_a_signal_is_named_and_memory_is_not_blamed_for_it(number: int, said: str) -> None:
    if apart.killed_for_memory() is None:
        pytest.skip("this system does not count what it kills for memory")
    with pytest.raises(ValueError, match=said) as raised:
        apart.run("working", end_by, number)
    assert isinstance(raised.value, apart.Crashed) is (number != signal.SIGKILL)


def test_an_exit_without_a_word_tells_its_status() -> None:
    with pytest.raises(ValueError, match="the process working ended with exit status 3 and without a result"):
        apart.run("working", leave, 3)


def test_memory_is_blamed_where_the_system_has_killed_for_it(monkeypatch) -> None:
    monkeypatch.setattr(apart, "killed_for_memory", lambda: 4)
    assert apart.ended(-9, 3) == f"was killed by the system {apart.SHORT}"
    assert apart.ended(-9, 4) == "was killed (SIGKILL) by someone"
    assert "by someone, or by the system for lack of memory" in apart.ended(-9, None)


def test_the_count_of_ones_own_group_goes_before_the_machines(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(watcher, "VMSTAT", tmp_path / "vmstat")
    monkeypatch.setattr(watcher, "CGROUP", tmp_path)
    assert watcher.killed_for_memory() is None
    (tmp_path / "vmstat").write_text("nr_free_pages 5\noom_kill 3\n")
    assert watcher.killed_for_memory() == 3
    (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert watcher.killed_for_memory() == 1


class Unsendable(Exception):
    def __init__(self, one: str, *, two: str) -> None:
        super().__init__(one + two)


def fail_unsendably() -> None:
    raise Unsendable("half ", two="whole")


def test_an_error_that_cannot_be_sent_says_what_it_said() -> None:
    with pytest.raises(RuntimeError, match="^Unsendable: half whole"):
        apart.run("working", fail_unsendably)


PARENT = """
from stages.machine import apart, watcher
from tests.machine.test_apart import tell_and_work

if __name__ == "__main__":
    apart.run("working", tell_and_work, {file!r})
"""


def test_a_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    script, file = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT.format(file=str(file)))
    parent = subprocess.Popen([sys.executable, script], env=os.environ | {"PYTHONPATH": "."})
    wait_for(lambda: file.is_file() and file.read_text())
    child = int(file.read_text())
    assert is_alive(child)
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(child))


def is_alive(pid: int) -> bool:
    """Not so for one that has ended and that nobody has asked after."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.is_file() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(happened, seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < limit, "it did not happen"
        time.sleep(0.05)
