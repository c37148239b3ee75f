"""A process that stays answers, says in one line what went wrong, and goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.machine.apart import Ended
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

    def chatter(self) -> None:
        print("of no concern", flush=True)

    def to(self, most: int, tell, stop) -> int:
        for number in range(most):
            if stop.is_set():
                raise Halted(number)
            tell(number)
            time.sleep(0.005)
        return most

    def fall(self, tell, stop) -> None:
        raise NoPickle("it broke", lambda: None)


class Halted(Exception):
    def __init__(self, number: int) -> None:
        super().__init__("halted")
        self.number = number

    def __reduce__(self):
        return Halted, (self.number,)


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


@pytest.fixture(scope="module")
def counter() -> Iterator[Companion]:
    one = Companion(Counter, 3)
    yield one
    one.end()


def test_news_of_a_question_comes_in_order_before_its_answer(counter: Companion) -> None:
    seen: list[int] = []
    assert counter.follow("to", 5, tell=seen.append, stop=threading.Event()) == 5
    assert seen == [0, 1, 2, 3, 4]


def test_a_wish_to_stop_is_heard_on_the_way_and_what_is_raised_comes_as_it_was(counter: Companion) -> None:
    stop = threading.Event()
    with pytest.raises(Halted) as halted:
        counter.follow("to", 100_000, tell=lambda number: number == 3 and stop.set(), stop=stop)
    assert 3 < halted.value.number < 100 and "in to" in halted.value.__notes__[0]
    assert counter.ask("add", 0) == 3


def test_a_wish_that_comes_too_late_stops_nothing_else(counter: Companion) -> None:
    stop = threading.Event()
    assert counter.follow("to", 1, tell=lambda _: stop.set(), stop=stop) == 1
    assert counter.follow("to", 4, tell=print, stop=threading.Event()) == 4


def test_a_listener_that_fails_stops_the_question_and_the_next_one_gets_its_own_answer(counter: Companion) -> None:
    def fail(number: int) -> None:
        raise KeyError(number)

    with pytest.raises(KeyError):
        counter.follow("to", 100_000, tell=fail, stop=threading.Event())
    assert counter.ask("add", 0) == 3


def test_an_error_that_cannot_travel_says_the_same(counter: Companion) -> None:
    with pytest.raises(RuntimeError, match="NoPickle: \nit broke") as broken:
        counter.follow("fall", tell=print, stop=threading.Event())
    assert "in fall" in broken.value.__notes__[0]


def test_whether_it_is_ready_can_be_looked_at() -> None:
    one = Companion(Counter, 3)
    assert not one.ready(0)
    assert one.ready() and one.ready(0) and one.is_alive()
    one.end()


def test_ctrl_c_before_it_has_begun_does_not_reach_it() -> None:
    one = Companion(Counter, 3)
    os.kill(one.pid, signal.SIGINT)
    assert one.ask("add", 1) == 4
    os.kill(one.pid, signal.SIGINT)
    assert one.ask("add", 1) == 5
    one.end()


def test_who_waits_is_told_of_a_kill_and_not_of_what_was_printed_before() -> None:
    one = Companion(Counter, 3)
    one.ask("chatter")
    with pytest.raises(Ended, match=r"^its process was killed \(SIGKILL\)") as killed:
        one.follow("to", 100_000, tell=lambda number: number == 3 and one.kill(), stop=threading.Event())
    assert "concern" not in str(killed.value) and not one.is_alive()
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
