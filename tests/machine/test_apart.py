"""A process apart returns, raises, or ends: and the error says in which way."""

import os
import signal
from pathlib import Path

import pytest

from stages.machine import apart


def fail(message: str) -> None:
    raise FileNotFoundError(message)


def end_by(number: int) -> None:
    os.kill(os.getpid(), number)


def leave(status: int) -> None:
    os._exit(status)


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
    if not apart.COUNTS.is_file():
        pytest.skip("this system does not count what it kills for memory")
    with pytest.raises(ValueError, match=said):
        apart.run("working", end_by, number)


def test_an_exit_without_a_word_tells_its_status() -> None:
    with pytest.raises(ValueError, match="the process working ended with exit status 3 and without a result"):
        apart.run("working", leave, 3)


def test_memory_is_blamed_where_the_system_has_killed_for_it(tmp_path: Path, monkeypatch) -> None:
    counts = tmp_path / "vmstat"
    monkeypatch.setattr(apart, "COUNTS", counts)
    counts.write_text("nr_free_pages 5\noom_kill 3\n")
    before = apart.killed_for_memory(counts)
    counts.write_text("nr_free_pages 5\noom_kill 4\n")
    monkeypatch.setattr(apart, "killed_for_memory", lambda: 4)
    assert before == 3
    assert apart.ended(-9, before) == f"was killed by the system {apart.SHORT}"
    assert "by someone, or by the system for lack of memory" in apart.ended(-9, None)
