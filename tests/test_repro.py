"""`make repro` tells which stage of how many, leaves DVC's own talk out, and has the last word."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from stages import repro
from tests.fake_reports import fake_reports

SAID = """Running stage 'describe':
> python -m stages.describe
machine 8c2f11: An Ordinary Processor
Updating lock file 'dvc.lock'

Stage 'download@mini-vega' didn't change, skipping
Stage 'export@mini-vega' is cached - skipping run, checking out outputs
Running stage 'calibrate@mini-vega':
> python -m stages.calibrate mini-vega
calibrate mini-vega: 160 UNet inputs of 40 prompts
Updating lock file 'dvc.lock'

To track the changes with git, run:

	git add dvc.lock

To enable auto staging, run:

	dvc config core.autostage true
Use `dvc push` to send your updates to remote storage.
"""


def test_stages_are_numbered_and_dvcs_talk_is_left_out() -> None:
    told = Counter[str]()
    assert list(repro.tell(SAID.splitlines(keepends=True), 33, told)) == [
        "[ 1 of 33] describe",
        "machine 8c2f11: An Ordinary Processor",
        "[ 4 of 33] calibrate@mini-vega",
        "calibrate mini-vega: 160 UNet inputs of 40 prompts",
    ]
    assert told == {"run": 2, "skipped": 2}


def test_a_signal_is_named_where_dvc_gives_its_number() -> None:
    said = ["ERROR: failed to reproduce 'export@vega': failed to run: python -m stages.export vega, exited with -9"]
    assert list(repro.tell(said, 33, Counter())) == [f"{said[0]} (SIGKILL)"]


def test_the_last_words_say_what_was_found_and_what_to_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fake_reports(tmp_path))
    (tmp_path / "reports/index.html").touch()
    lines = repro.closing(Counter(run=2, skipped=31), "8 min").splitlines()
    assert lines[0] == "Done in 8 min: 2 stages run, 31 unchanged."
    assert lines[1].startswith("INT8 makes the UNets 1.96× smaller; pictures keep 27.9 dB PSNR or more")
    assert "a step runs 1.41× as fast as FP16's." in lines[1]
    assert lines[2].startswith("Gates: ")
    assert lines[3] == "Open reports/index.html"


def test_targets_without_figures_end_with_the_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_reports(tmp_path, ("mini-vega",))
    for name in ("record.json", "metrics.json"):
        (tmp_path / "reports/benchmark/mini-vega" / name).unlink()
    monkeypatch.chdir(tmp_path)
    assert repro.closing(Counter(run=1), "3 s") == "Done in 3 s: 1 stages run, 0 unchanged."


def test_a_run_that_fails_says_where_and_that_nothing_is_lost() -> None:
    words = repro.stopped(Counter(run=5, skipped=2), 33, "2 min")
    assert words == "Stopped after 2 min at stage 7 of 33: the reason stands above. What is finished is kept."


def test_the_stages_of_a_target_are_counted_with_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[1])
    assert repro.count_stages([]) == 39
    assert repro.count_stages(["quantize@mini-vega"]) == 4  # download, export, calibrate, itself
    assert repro.count_stages(["nosuch"]) == 0
