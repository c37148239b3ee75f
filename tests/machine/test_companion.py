"""A process that stays answers, says in one line what went wrong, and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from stages.machine.companion import Companion, one_line


class Counter:
    def __init__(self, start: int) -> None:
        if start < 0:
            raise KeyError("below\nzero")
        self.count = start

    def add(self, more: int) -> int:
        self.count += more
        return self.count

    def fail(self) -> None:
        raise NoPickle("it broke", open)

    def crash(self) -> None:
        print("about to fall", flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

    def place(self) -> str:
        return tempfile.mkdtemp()


class NoPickle(Exception):
    """As some libraries raise them."""

    def __str__(self) -> str:
        return "\nit broke\nhere and there"


def test_it_remembers_between_questions_and_takes_its_files_with_it() -> None:
    one = Companion(Counter, 3)
    one.ready()
    assert one.ask("add", 4) == 7 and one.ask("add", 1) == 8
    place = Path(one.ask("place"))
    assert place.is_dir()
    one.end()
    assert not place.exists()


def test_an_error_over_there_is_one_line_here_and_the_next_question_is_answered() -> None:
    one = Companion(Counter, 3)
    one.ready()
    with pytest.raises(ValueError, match="^NoPickle: it broke$"):
        one.ask("fail")
    assert one.ask("add", 1) == 4
    one.end()


def test_what_cannot_be_made_says_why() -> None:
    one = Companion(Counter, -1)
    with pytest.raises(ValueError, match="^KeyError: 'below"):
        one.ready()
    one.end()


def test_a_crash_is_named_with_its_last_words() -> None:
    one = Companion(Counter, 3)
    one.ready()
    with pytest.raises(ValueError, match=r"its process crashed \(SIGSEGV\).*its last line: about to fall"):
        one.ask("crash")
    one.end()


def test_a_users_mistake_needs_no_name() -> None:
    assert one_line(ValueError("steps must be >= 1\nmore")) == "steps must be >= 1"
    assert one_line(RuntimeError("broken")) == "RuntimeError: broken"
    assert one_line(ImportError("No module named 'x'")) == "No module named 'x'"


KILLED = """
import os, signal
from tests.machine.test_companion import Companion, Counter
if __name__ == "__main__":
    companion = Companion(Counter, 3)
    companion.ready()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_one_had_is_swept_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "killed.py").write_text(KILLED)
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, tmp_path / "killed.py"], env=environment, capture_output=True)
    (left,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert done.returncode == -signal.SIGKILL
    companion = Companion(Counter, 3)
    companion.ready()
    assert not left.exists()
    companion.end()
    assert [path.name for path in tmp_path.iterdir()] == ["killed.py"]
