"""No git, a poor locale, a reader that goes: where the project is run must not matter, or be told of in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.files import dvcstate
from tests.fake_reports import fake_reports
from tests.faults.projects import ROOT, ended, project, start
from tests.whole_run import dvc

POOR = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def unpacked(folder: Path) -> Path:
    """The project as a ZIP of it holds it: without git."""
    project(folder)
    (folder / ".dvc").mkdir()
    for name in (".dvc/config", "dvc.yaml", "dvc.lock", "README.md"):
        (folder / name).write_text((ROOT / name).read_text())
    return folder


def test_make_repro_works_without_git_and_dvc_by_hand_then_too(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "pocketxl")
    status, said = ended(folder, "repro", "describe")
    assert (status, said) == (0, "") and (folder / "reports/machine.json").is_file()
    by_hand = dvc(folder, "status", "describe")
    assert by_hand.returncode == 0, by_hand.stderr


def test_git_that_comes_later_is_used_again(tmp_path: Path) -> None:
    folder = unpacked(tmp_path / "pocketxl")
    local = folder / ".dvc/config.local"
    dvcstate.settle_git(folder)
    assert "no_scm" in local.read_text()
    (folder / ".git").mkdir()
    dvcstate.settle_git(folder)
    assert "no_scm" not in local.read_text()
    local.unlink()
    dvcstate.settle_git(folder)
    assert not local.exists()


def test_a_locale_that_knows_ascii_alone_is_enough(tmp_path: Path) -> None:
    folder = fake_reports(project(tmp_path / "project"), ("mini-vega",))
    process = start(folder, "compare", environment=POOR)
    printed, said = process.communicate(timeout=120)
    assert process.returncode == 0 and printed.isascii() and "reports/index.html: " in printed, said
    assert "×" in (folder / "reports/index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("key", ["dvc.yaml", "params.yaml"])
def test_a_run_by_dvc_stops_in_one_line_where_settings_are_in_conflict(tmp_path: Path, key: str) -> None:
    folder = unpacked(tmp_path / "pocketxl")
    text = (folder / key).read_text()
    (folder / key).write_text(f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> other\n")
    process = start(folder, "repro", "describe")
    printed, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "Traceback" not in printed + said
    assert key in printed + said


def test_a_plan_whose_reader_goes_away_ends_without_a_word(tmp_path: Path) -> None:
    process = start(project(tmp_path / "project"), "plan", "model=[mini-vega]")
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == ("", 141)
