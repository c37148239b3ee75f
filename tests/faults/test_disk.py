"""A disk that is full, read-only or knows no long names, where no forecast saw it: one line, and nothing half made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fake_reports import fake_reports
from tests.faults.projects import ended, left, project, start

FULL = "no space is left on the disk: make room, then run 'python -m stages.{}"


def fill(folder: Path, leave: int) -> None:
    """Take all room but `leave` bytes."""
    with (folder / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(65536)) == 65536:
                pass
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))


def test_the_scorer_needs_more_than_there_is(tmp_path: Path, small_disk: Callable) -> None:
    folder = project(tmp_path / "project")
    disk = small_disk(folder / "artifacts", "300k")
    status, said = ended(folder, "scorer")
    assert status == 2 and said.startswith("error: scorer: artifacts/") and FULL.format("scorer") in said
    assert list(disk.iterdir()) == []


@pytest.mark.slow
def test_an_export_that_was_let_in_finds_the_disk_filled_by_somebody_else(tmp_path: Path, small_disk: Callable) -> None:
    folder = project(tmp_path / "project")
    assert ended(folder, "download", "mini-vega")[0] == 0
    disk = small_disk(folder / "artifacts/ir", "30m")
    process = start(folder, "export", "mini-vega")
    assert "needs" in process.stderr.readline()
    fill(disk, leave=2_000_000)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 2 and "Traceback" not in said, said
    assert "error: export mini-vega: " in said and FULL.format("export mini-vega") in said
    assert not (disk / "mini-vega/fp16").exists() and left(disk) == []


@pytest.mark.parametrize("stage", ["compare", "describe"])
def test_reports_that_do_not_fit_leave_the_older_ones_whole(tmp_path: Path, small_disk: Callable, stage: str) -> None:
    folder = project(tmp_path / "project")
    disk = small_disk(folder / "reports", "8m")
    fake_reports(folder)
    (disk / "index.html").write_text("the older page")
    older = {name: (disk / name).read_text() for name in ("index.html", "machine.json")}
    fill(disk, leave=8192 if stage == "compare" else 0)
    status, said = ended(folder, stage)
    assert status == 2 and f"error: {stage}: " in said and FULL.format(stage) in said
    assert {name: (disk / name).read_text() for name in older} == older and left(disk) == []


def test_a_disk_that_is_read_only_is_named(tmp_path: Path, read_only: Callable) -> None:
    folder = fake_reports(project(tmp_path / "project"))
    (folder / "artifacts").mkdir(exist_ok=True)
    read_only(folder / "reports")
    read_only(folder / "artifacts")
    for stage, place in (("compare", "reports"), ("scorer", "artifacts")):
        status, said = ended(folder, stage)
        assert status == 2 and said.startswith(f"error: {stage}: {place}") and "the disk is read-only" in said


def test_a_name_that_is_too_long_is_told_of(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    status, said = ended(folder, "scorer", f"clip.repo={'x' * 300}")
    assert status == 2 and "\n" not in said and ("too long" in said or "longer than" in said or "not a folder" in said)
