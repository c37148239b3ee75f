"""Folders that are whole or absent, and pieces that outlive the run that made them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.files import placing

HOLDER = """
import sys, time
from pathlib import Path
from stages.files import placing
with placing.unfinished(Path(sys.argv[1]), sys.argv[2]) as kept:
    print("holding", flush=True)
    sys.stdin.readline()
    (kept / "piece").write_text("mine")
    print("done", flush=True)
"""


def holder(target: Path, key: str) -> subprocess.Popen:
    """A process that makes pieces of `target`, and has none yet."""
    made = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(target), key], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert made.stdout.readline() == "holding\n"
    return made


@pytest.mark.parametrize("key", ["a" * 64, "b" * 64], ids=["same settings", "other settings"])
def test_a_second_run_is_refused_by_name_and_the_first_loses_nothing(tmp_path: Path, key: str) -> None:
    first = holder(tmp_path / "out", "a" * 64)
    for _ in range(2):
        with pytest.raises(ValueError, match=rf"another run \(process {first.pid}\) is making .*/out: wait for it"):
            with placing.unfinished(tmp_path / "out", key):
                raise AssertionError("two runs at once")
    first.communicate("go on\n")
    assert first.returncode == 0


def test_what_a_killed_run_left_is_found_by_the_same_settings_and_swept_by_others(tmp_path: Path) -> None:
    killed = holder(tmp_path / "out", "a" * 64)
    (folder,) = tmp_path.glob(".out.unfinished-*")
    (folder / "piece").write_text("half")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    with pytest.raises(RuntimeError), placing.unfinished(tmp_path / "out", "a" * 64) as kept:
        assert (kept / "piece").read_text() == "half"
        raise RuntimeError
    with placing.unfinished(tmp_path / "out", "b" * 64) as kept:
        assert not any(kept.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_shared_once_and_what_is_shared_already_leaves_no_second_name(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    for _ in range(2):
        placing.share(one, two)
        assert one.samefile(two)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        placing.write_text(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_a_run_that_went_on_from_pieces_and_fails_says_where_they_are(tmp_path: Path) -> None:
    for noted in (False, True):
        with pytest.raises(RuntimeError) as failure, placing.unfinished(tmp_path / "out", "a" * 64) as kept:
            (kept / "piece").write_text("cut off")
            raise RuntimeError("no piece")
        notes = getattr(failure.value, "__notes__", [])
        assert [str(kept) in note and "remove that first" in note for note in notes] == [True] * noted
    with pytest.raises(ValueError, match="^steps") as failure, placing.unfinished(tmp_path / "out", "a" * 64):
        raise ValueError("steps must be >= 1")
    assert not hasattr(failure.value, "__notes__")
