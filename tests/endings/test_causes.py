"""Each kind of error in one line with what to do, wherever it was raised; mistakes of ours are called so."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from safetensors import SafetensorError

from stages.endings import causes


def raised(act: Callable[[], object]) -> BaseException:
    with pytest.raises(BaseException) as failure:  # noqa: B017, PT011
        act()
    return failure.value


def throw(error: BaseException, cause: BaseException | None = None) -> Callable[[], None]:
    def act() -> None:
        raise error from cause

    return act


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "artifacts/x.bin")


OPENVINO = "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/plugin.cpp:54:\n{}\n\n"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (throw(full()), "artifacts/x.bin: no space is left on the disk: make room, then run "),
        (throw(SafetensorError("I/O error: No space left on device (os error 28)")), "no space is left on the disk"),
        (throw(OSError("2000 requested and 1000 written")), "no space is left on the disk"),
        (throw(RuntimeError(OPENVINO.format("No space left on device"))), "no space is left on the disk"),
        (throw(RuntimeError("basic_ios::clear: iostream error")), "no space is left on the disk"),
        (throw(RuntimeError("cannot save"), cause=full()), "artifacts/x.bin: no space is left"),
        (lambda: Path("x" * 300).read_text(), "xxx: the name is longer than the file system takes"),
        (throw(PermissionError(errno.EACCES, "no", "reports")), "reports: you have no right to it"),
        (throw(OSError(errno.EROFS, "no", "a", None, "b")), "b: it cannot be written to: the disk is read-only"),
        (throw(OSError(errno.EMFILE, "no")), "too many files are open in this process: raise `ulimit -n`"),
        (throw(OSError(errno.EXDEV, "no", "reports")), "reports.*mend that, then run"),
        (throw(OSError("no file named\nanywhere")), "no file named: mend that"),
        (throw(MemoryError()), r"memory or threads ran out \(MemoryError\): close other programs"),
        (throw(RuntimeError(OPENVINO.format("std::bad_alloc"))), r"memory or threads ran out \(std::bad_alloc\)"),
        (throw(RuntimeError("can't start new thread")), r"ran out \(can't start new thread\)"),
        (throw(ImportError("x.so: failed to map segment from shared object")), "memory or threads ran out"),
        (throw(OSError(errno.ENOMEM, "Cannot allocate memory")), "memory or threads ran out"),
        (lambda: np.empty(2**50), "memory or threads ran out"),
        (throw(OSError("no weights"), cause=MemoryError("os error 12")), r"ran out \(os error 12\)"),
        (throw(httpx.ConnectError("refused")), r"the network failed \(refused\): run "),
        (throw(ConnectionResetError(errno.ECONNRESET, "reset")), "the network failed"),
        (throw(socket.gaierror(-2, "Name or service not known")), "the network failed"),
        (throw(TimeoutError("timed out")), "the network failed"),
        (throw(RuntimeError(OPENVINO.format("Check 'x' failed"))), "OpenVINO failed: Check 'x' failed; run "),
        (throw(ModuleNotFoundError("No module named 'nncf'")), "No module named 'nncf': .*run 'make install'"),
        (lambda: "\u00d7".encode("ascii"), "cannot be written here: set LC_ALL=C.UTF-8"),
        (lambda: b"\xe9".decode(), "a file holds other bytes than UTF-8's"),
        (lambda: np.zeros(2) + np.zeros(3), "operands could not be broadcast"),
        (lambda: json.loads("{"), "Expecting property name.* \\(says json, at tests/endings/test_causes.py:"),
        (lambda: int("x"), "invalid literal for int.* \\(says Python, at tests/endings/test_causes.py:"),
    ],
)
def test_what_the_machine_and_libraries_say_is_one_line_with_a_way_out(act, said: str) -> None:
    line, status = causes.told(raised(act))
    assert status == causes.REFUSED and "\n" not in line
    assert re.search(said, line), line
    assert line.endswith("(POCKETXL_TRACEBACK=1 shows where)")


@pytest.mark.parametrize("kind", [KeyError, TypeError, AssertionError, AttributeError, IndexError, ZeroDivisionError])
def test_a_mistake_of_ours_is_called_so_and_says_where(kind: type[Exception]) -> None:
    line, status = causes.told(raised(throw(kind("what"))))
    assert status == causes.FAULT
    assert line.startswith(f"{kind.__name__}: ") and "at tests/endings/test_causes.py:" in line
    assert "a fault of PocketXL" in line and "POCKETXL_TRACEBACK=1" in line


def test_a_mistake_within_a_library_says_where_we_called_it() -> None:
    line, status = causes.told(raised(lambda: json.dumps(object)))
    assert status == causes.FAULT and "at tests/endings/test_causes.py:" in line


def test_a_refusal_of_ours_says_all_by_itself() -> None:
    assert causes.told(raised(throw(ValueError("steps must be >= 1, got 0")))) == ("steps must be >= 1, got 0", 2)
    assert causes.told(raised(throw(FileNotFoundError("x is missing: run 'y'")))) == ("x is missing: run 'y'", 2)


def test_a_refusal_for_a_lock_that_another_run_holds_is_no_lack_of_memory() -> None:
    held = BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    assert causes.told(raised(throw(ValueError("another run is making x"), cause=held)))[0] == "another run is making x"


def test_a_refusal_that_arose_from_a_lack_is_told_as_that() -> None:
    for cause, said in (
        (PermissionError(errno.EACCES, "no", "x"), "x: you have no right"),
        (MemoryError(), "memory or"),
    ):
        assert causes.told(raised(throw(ValueError("x is damaged"), cause=cause)))[0].startswith(said)


def test_figures_left_with_the_error_stand_in_the_line_and_tracebacks_do_not() -> None:
    error = MemoryError()
    error.add_note("2.0 GB were foretold, 3.1 GB were seen")
    error.add_note("Traceback:\n  line")
    assert "; 2.0 GB were foretold, 3.1 GB were seen: close" in causes.told(error)[0]


def test_what_to_run_again_is_dvcs_where_dvc_has_started_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "export@mini-vega")
    assert "then run 'dvc repro export@mini-vega' again" in causes.told(full())[0]
