"""What DVC and git leave behind: a clean tree, outputs of what is not selected, settings that no typing error spoils.

In a repository with the real conf/, .dvc/config, .gitignore and dvc.lock, and a pipeline of shell commands.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.files import dvcstate

ROOT = Path(__file__).parents[1]
DOWNLOAD = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["download"]["do"]
FLAGS = DOWNLOAD["outs"][0]["artifacts/checkpoints/${key}"]  # what DVC is told to do with checkpoints
PIPELINE = """
stages:
  download:
    cmd: mkdir -p artifacts/checkpoints/mini && echo x > artifacts/checkpoints/mini/weights
    deps: [stages/files]
    outs:
      - artifacts/checkpoints/mini: FLAGS
  quantize:
    foreach: ${model}
    do:
      cmd: mkdir -p artifacts/ir/${key}/${quantization.name} && echo ${key} > artifacts/ir/${key}/${quantization.name}/x
      params: [quantization.name]
      outs:
        - artifacts/ir/${key}/${quantization.name}
  compare:
    cmd: >-
      mkdir -p reports/table/mini && echo '{"vega":' ${calibration.prompts} '}' > reports/table/mini/step_ms.json
    params: [calibration.prompts]
    metrics: [reports/table]
""".replace("FLAGS", json.dumps(FLAGS))


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    who = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(command, cwd=folder, env=os.environ | who | {"PATH": path}, capture_output=True, text=True)


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return run(folder, sys.executable, "-m", "dvc", *arguments)


def git(folder: Path, *arguments: str) -> str:
    done = run(folder, "git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository that users clone."""
    folder = tmp_path_factory.mktemp("upstream") / "pocketxl"
    for name in ("conf", ".dvc/config", ".dvc/.gitignore", ".dvcignore", ".gitignore", "params.yaml", "stages/files",
                 "stages/settings", "stages/__init__.py"):  # fmt: skip
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    (folder / "dvc.lock").write_text(git(ROOT, "show", "HEAD:dvc.lock") or "")
    (folder / "dvc.yaml").write_text(PIPELINE)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "upstream")
    return folder


@pytest.fixture
def clone(upstream: Path, tmp_path: Path) -> Path:
    """A user's clone, after a first run as `make repro` does it."""
    git(tmp_path, "clone", "-q", str(upstream), "clone")
    folder = tmp_path / "clone"
    dvcstate.overlook_lock(folder)
    assert dvc(folder, "repro").returncode == 0
    return folder


def folders(clone: Path) -> set[str]:
    return {f"{path.parent.parent.name}/{path.parent.name}" for path in clone.glob("artifacts/ir/*/*/x")}


def test_the_lock_in_git_is_a_stub() -> None:
    assert dvcstate._holds_none(git(ROOT, "show", "HEAD:dvc.lock"))


def test_a_run_leaves_the_tree_clean_and_a_second_one_has_nothing_to_do(clone: Path) -> None:
    assert git(clone, "status", "--porcelain") == ""
    assert "quantize@mini-vega:" in (clone / "dvc.lock").read_text()
    assert "Running stage" not in dvc(clone, "repro").stdout


def test_upstreams_next_commit_is_pulled_over_a_run(upstream: Path, clone: Path) -> None:
    (upstream / "README.md").write_text("new\n")
    git(upstream, "add", "-A")
    git(upstream, "commit", "-qm", "next")
    before = (clone / "dvc.lock").read_text()
    git(clone, "pull", "-q")
    assert (clone / "README.md").is_file() and (clone / "dvc.lock").read_text() == before
    assert git(clone, "status", "--porcelain") == ""


def test_what_is_not_selected_stays_in_the_tree(clone: Path) -> None:
    before = folders(clone)
    assert len(before) == 6
    done = dvc(clone, "exp", "run", "-S", "model=[mini-vega]", "-S", "quantization=int8-weights")
    assert done.returncode == 0, done.stderr
    assert folders(clone) == before | {"mini-vega/int8-weights"}
    assert git(clone, "status", "--porcelain").split() == ["M", "params.yaml"], "which is what the user asked for"
    git(clone, "checkout", "params.yaml")
    assert "Running stage" not in dvc(clone, "repro").stdout, "the lock was kept, or DVC's cache knew"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("benchmark.steps=two", "ERROR: benchmark.steps must be a whole number, got 'two'"),
        ("+calibration.promts=3", "ERROR: calibration.promts is not a setting (did you mean prompts?)"),
        ("model=[mini-sdxl-refiner]", "base is 'mini-sdxl', which is not selected"),
        ("model=[nosuch]", "nosuch"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_written(clone: Path, setting: str, said: str) -> None:
    lock, params = (clone / "dvc.lock").read_text(), (clone / "params.yaml").read_text()
    done = dvc(clone, "exp", "run", "-S", setting)
    assert done.returncode != 0 and said in done.stderr
    assert (clone / "params.yaml").read_text() == params and (clone / "dvc.lock").read_text() == lock
    assert git(clone, "status", "--porcelain") == ""


def test_experiments_line_up_figure_by_figure(clone: Path) -> None:
    assert dvc(clone, "exp", "run", "-n", "before").returncode == 0
    assert dvc(clone, "exp", "run", "-n", "after", "-S", "calibration.prompts=41").returncode == 0
    told = dvc(clone, "metrics", "diff", "before", "after").stdout.splitlines()
    assert told[1].split() == ["reports/table/mini/step_ms.json", "vega", "40", "41", "1"]


def test_who_commits_a_lock_file_is_left_alone(clone: Path) -> None:
    git(clone, "update-index", "--no-skip-worktree", "dvc.lock")
    git(clone, "commit", "-qam", "my figures")
    dvcstate.overlook_lock(clone)
    assert git(clone, "ls-files", "-v", "dvc.lock").startswith("H")


def test_results_that_were_kept_and_pushed_are_pulled_in_a_fresh_clone_without_a_word(clone: Path) -> None:
    """DVC 3.67 fails where an output that it caches is not to be had; checkpoints are not meant to be."""
    git(clone, "update-index", "--no-skip-worktree", "dvc.lock")
    assert dvc(clone, "remote", "add", "-d", "store", str(clone.parent / "store")).returncode == 0
    git(clone, "commit", "-qm", "Keep my results", "dvc.lock", "params.yaml", ".dvc/config")
    assert dvc(clone, "push").returncode == 0
    git(clone.parent, "clone", "-q", str(clone), "other")
    other = clone.parent / "other"
    pulled = dvc(other, "pull")
    assert (pulled.returncode, pulled.stderr) == (0, "")
    assert folders(other) == folders(clone) and not (other / "artifacts/checkpoints").exists()
    assert "Running stage 'quantize" not in dvc(other, "repro").stdout, "only checkpoints are made again"


def test_a_folder_that_is_no_repository_is_no_fault(tmp_path: Path) -> None:
    dvcstate.overlook_lock(tmp_path)
    dvcstate.save_lock(tmp_path)
    assert list(tmp_path.iterdir()) == []
