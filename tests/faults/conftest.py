"""Faults made for real: a small disk, a disk that cannot be written to, a group with little memory; skipped, with the
reason, where this user may not make them. All are taken away again."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

GROUPS = Path("/sys/fs/cgroup")


def attempt(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        attempt("mount", *options, str(folder))
    except FileNotFoundError:
        pytest.skip("this system has no mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small_disk() -> Iterator[Callable[[Path, str], Path]]:
    """`small_disk(folder, "300k")`: an empty disk of that size there."""
    with ExitStack() as stack:
        yield lambda folder, size: stack.enter_context(mounted(folder, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"))


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], Path]]:
    """`read_only(folder)`: what is there can be read, and not written to by anybody."""
    with ExitStack() as stack:

        def make(folder: Path) -> Path:
            stack.enter_context(mounted(folder, "--bind", str(folder)))
            attempt("mount", "-o", "remount,bind,ro", str(folder))
            return folder

        yield make


@pytest.fixture
def little_memory() -> Iterator[Callable[[int], Path]]:
    """`little_memory(bytes)`: the file to write a process's id to, who then is killed for more."""
    made: list[Path] = []

    def make(size: int) -> Path:
        one = (GROUPS / "memory").is_dir()
        group = GROUPS / ("memory" if one else "") / f"pocketxl-test-{os.getpid()}"
        try:
            group.mkdir()
            made.append(group)
            (group / ("memory.limit_in_bytes" if one else "memory.max")).write_text(str(size))
        except OSError as error:
            pytest.skip(f"no control group can be made here: {error}")
        swap = group / ("memory.memsw.limit_in_bytes" if one else "memory.swap.max")
        if swap.exists():
            swap.write_text(str(size) if one else "0")
        return group / "cgroup.procs"

    yield make
    for group in made:
        remove(group)


def remove(group: Path) -> None:
    """As soon as the last of its processes is quite gone."""
    for _ in range(200):
        try:
            group.rmdir()
            return
        except OSError:
            time.sleep(0.05)
    raise AssertionError(f"{group} still has processes")
