"""`python -m stages.history`: figures of folders, revisions, experiments and schemes; a status for a CI."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages import history
from stages.report import results, tables
from tests.fake_history import MACHINE, record, written
from tests.test_dvc import HEAVY

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> int:
    """The exit status."""
    with pytest.raises(SystemExit) as end:
        history.main(list(arguments))
    return end.value.code


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository without figures, which is the working directory."""
    folder = tmp_path / "clone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    git("init", "-q")
    return folder


def git(*arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "a@b.c" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(["git", *arguments], env=os.environ | who, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit_reference(content: dict, machine: dict = MACHINE) -> str:
    """As `compare --readme` writes it; the commit."""
    folder = Path("reports/reference") / tables.machine_name(machine)
    folder.mkdir(parents=True, exist_ok=True)
    found = results.Result("mini-vega", "mini-Vega", "base", "", "mini", "x", "int8", content, [])
    tables.write_reference(folder, [found], machine)
    git("add", "-f", ".")
    git("commit", "-q", "-m", "figures")
    return git("rev-parse", "HEAD")


def test_two_commits_are_compared_by_the_raw_values_of_their_reference_figures(clone, capsys):
    first = commit_reference(record(sitting=1))
    commit_reference(record(sitting=2, step=2.0))
    assert run(first[:8], "HEAD") == 0
    shown = capsys.readouterr().out
    assert shown.startswith("**1 model, 11 figures: 3 slower, 7 no difference, 1 equal**")
    assert f"committed in {first[:7]} of 20" in shown


def test_without_figures_of_ones_own_the_second_ones_are_the_reference(clone, capsys):
    first = commit_reference(record(sitting=1))
    commit_reference(record(sitting=2, step=2.0))
    assert run(first) == 0
    assert "- after: this working tree (reports/reference/" in capsys.readouterr().out
    written(clone / "reports", mini_vega=record(sitting=3))
    assert run("reference") == 0
    shown = capsys.readouterr().out
    assert "3 faster" in shown.splitlines()[0] and "- after: this working tree (reports/benchmark)" in shown


def test_the_reference_of_a_measurement_is_that_measurement(clone, capsys):
    written(clone / "reports", mini_vega=record())
    commit_reference(record())
    assert run("HEAD") == 0
    assert "one and the same measurement" in capsys.readouterr().out.splitlines()[0]


def test_an_experiment_is_read_out_of_dvcs_cache(clone, capsys):
    commit_reference(record(sitting=1))
    text = json.dumps(record(sitting=2, step=2.0))
    digest = hashlib.md5(text.encode()).hexdigest()
    kept = clone / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.parent.mkdir(parents=True)
    kept.write_text(text)
    out = {"path": "reports/benchmark/mini-vega/record.json", "md5": digest}
    (clone / "dvc.lock").write_text(yaml.safe_dump({"stages": {"benchmark@mini-vega": {"outs": [out]}}}))
    git("add", "dvc.lock")
    git("commit", "-q", "-m", "experiment")
    git("update-ref", "refs/exps/ab/cdef/quick", "HEAD")
    git("reset", "-q", "--hard", "HEAD~1")
    assert run("HEAD", "quick") == 0
    shown = capsys.readouterr().out
    assert "3 slower" in shown.splitlines()[0] and "- after: quick (reports/benchmark, committed in " in shown


def test_another_clone_and_a_model_on_one_side_alone(clone, tmp_path, capsys):
    written(clone / "reports", mini_vega=record(sitting=1), mini_sdxl=record(sitting=3))
    written(tmp_path / "other/reports", mini_vega=record(sitting=2), mini_ssd_1b=record(sitting=4))
    assert run(str(tmp_path / "other"), "reports/benchmark") == 0
    shown = capsys.readouterr().out.splitlines()
    assert "- only before: mini-ssd-1b" in shown and "- only after: mini-sdxl" in shown
    assert shown[0].startswith("**1 model, 11 figures: 10 no difference")


def test_two_schemes_of_this_working_tree(clone, capsys):
    written(clone / "reports", mini_vega=record(sitting=1))
    both = record(sitting=2)
    both["precisions"]["int8-weights"] = record(sitting=2, step=2.0)["precisions"]["int8"]
    file = clone / "reports/schemes/mini-vega/record.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(both))
    assert run("mini-vega:int8", "mini-vega:int8-weights") == 0  # of the sitting that measured both
    assert capsys.readouterr().out.startswith("**1 model, 8 figures: 2 slower, 5 no difference, 1 equal**")
    assert run("int8", "int8-weights") == 0
    assert "2 slower" in capsys.readouterr().out.splitlines()[0]


def test_a_status_for_what_is_asked_to_stop(clone, tmp_path, capsys):
    written(clone / "reports", mini_vega=record(sitting=2, step=2.0))
    before = str(written(tmp_path / "before", mini_vega=record(sitting=1)))
    assert run(before, "--fail-on", "slower,worse") == 1
    assert run(before, "--fail-on", "worse,cannot-say") == 0
    assert run(before, "times=1.5", "--fail-on", "slower") == 0  # the whole interval lies within what is let pass
    assert run(before, "--all") == 0
    assert sum(line.startswith("| mini-vega") for line in capsys.readouterr().out.splitlines()[-20:]) == 11


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "error: 'nonsense' names no figures; allowed: a folder of figures"),
        (["mini-vega:int4"], r"(mini-vega:fp16, mini-vega:int8)"),
        (["reports", "time=0.1"], "time is not a setting (did you mean times?); allowed: times, turns, memory"),
        (["reports", "times=wide"], "times must be a tolerance of at least 0, for instance times=0.05, got 'wide'"),
        (["reports", "--fail-on", "slow"], "--fail-on slow is no verdict; allowed: slower, faster"),
        (["a", "b", "c"], "one or two sets of figures are compared, got 3: a, b, c"),
        (["reports", "../other"], "no model is on both sides: reports has mini-vega; ../other has mini-sdxl"),
    ],
)
def test_a_wrong_word_is_refused_in_one_line(clone, tmp_path, capsys, arguments, said):
    written(clone / "reports", mini_vega=record())
    written(tmp_path / "other/reports", mini_sdxl=record())
    assert run(*arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_of_several_machines_the_one_that_both_have_is_compared_or_one_is_to_be_named(clone, capsys):
    elsewhere = MACHINE | {"id": "eeeeeeeeeeee", "cpu": "Another Processor"}
    commit_reference(record(sitting=1))
    commit_reference(record(sitting=2, machine=elsewhere["id"]), elsewhere)
    assert run("HEAD~1", "HEAD") == 0
    assert "one and the same measurement" in capsys.readouterr().out
    assert run("HEAD", "HEAD") == 2
    assert "figures of several machines, name one" in capsys.readouterr().err
    assert run("HEAD~1", f"HEAD:{tables.machine_name(elsewhere)}") == 0
    assert "times and memory are of two machines" in capsys.readouterr().out


def test_the_figures_that_this_repository_holds_can_be_compared():
    done = subprocess.run(
        [sys.executable, "-m", "stages.history", "reference", "reference"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("**6 models"), done.stderr


def test_nothing_heavy_is_imported():
    code = f"import sys, stages.history; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
