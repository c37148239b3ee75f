"""Publishing into DVC's registry: what is committed, what a clone gets, and what is refused before anything is done."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.files import manifest
from tests.fake_ir import UNET, changed, measured, measured_ir, noise, put

ROOT = Path(__file__).parents[1]
WHO = {f"GIT_{role}_{what}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
PLACE = "artifacts/published/mini-vega/int8"
ARTIFACT = "artifacts/published:mini-vega-int8"
TAG = "artifacts/published=mini-vega-int8@v0.0.{}"


def run(folder: Path, *command: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | WHO | {"PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def git(folder: Path, *arguments: str) -> str:
    done = run(folder, "git", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def publish(folder: Path, *more: str) -> subprocess.CompletedProcess:
    return run(folder, sys.executable, "-m", "stages.publish", "mini-vega", "--to", "dvc", *more)


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A user's repository with a measured IR, a remote, and changes of the user's own, staged and not."""
    root = measured_ir(tmp_path_factory.mktemp("registry") / "root")
    git(root, "init", "-q", "-b", "main")
    assert run(root, sys.executable, "-m", "dvc", "init", "-q").returncode == 0
    for name in (".gitignore", "dvc.yaml", "dvc.lock"):  # the pipeline, nothing of which is in git or on the remote
        shutil.copyfile(ROOT / name, root / name)
    settings = (ROOT / ".dvc/config").read_text().replace("enabled = True", "enabled = False")
    (root / ".dvc/config").write_text(settings)
    assert run(root, sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", "../store").returncode == 0
    git(root, "add", "-A")
    git(root, "commit", "-qm", "one")
    (root / "staged.txt").write_text("mine")
    (root / "params.yaml").write_text((root / "params.yaml").read_text() + "\n")
    git(root, "add", "staged.txt")
    return root


@pytest.fixture(scope="module")
def published(repository: Path) -> str:
    done = publish(repository, "--yes")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_dry_run_changes_nothing(repository: Path) -> None:
    before = git(repository, "status", "--porcelain")
    done = publish(repository)
    assert done.returncode == 0, done.stdout
    assert f"{PLACE}, pushed to the remote store" in done.stdout and "git push is left to you" in done.stdout
    assert git(repository, "status", "--porcelain") == before and not (repository / "artifacts/published").exists()
    assert not (repository.parent / "store").exists()


def test_one_commit_holds_what_was_published_and_none_of_the_users_changes(repository: Path, published: str) -> None:
    assert git(repository, "show", "--format=%s", "--name-only").split("\n") == [
        "Publish mini-vega int8", "", "artifacts/published/.gitignore", "artifacts/published/dvc.yaml", f"{PLACE}.dvc"
    ]  # fmt: skip
    assert git(repository, "status", "--porcelain").splitlines() == ["M params.yaml", "A  staged.txt"]
    tags = git(repository, "for-each-ref", "--format=%(objecttype) %(refname:short)", "refs/tags")
    assert tags == f"tag {TAG.format(1)}"
    entry = yaml.safe_load((repository / "artifacts/published/dvc.yaml").read_text())["artifacts"]["mini-vega-int8"]
    assert entry["path"] == "mini-vega/int8" and entry["labels"] == ["openvino", "int8", "text-to-image"]
    assert published.splitlines()[0] == f"To hand it on: git push origin HEAD && git push origin {TAG.format(1)}"
    assert published.splitlines()[1] == "In a clone of this project: dvc pull --recursive artifacts/published"
    assert published.splitlines()[-1].startswith(f"published mini-vega int8: {TAG.format(1)} at commit ")
    assert (repository / PLACE / UNET).samefile(repository / "artifacts/ir/mini-vega/int8" / UNET), "once on the disk"


def test_a_fresh_clone_pulls_it_and_anybody_gets_it_by_path_and_by_version(repository: Path, published: str) -> None:
    place = repository.parent
    git(place, "clone", "-q", str(repository), "clone")
    command = published.splitlines()[1].rpartition(": ")[2].split()
    pulled = run(place / "clone", *command)
    assert pulled.returncode == 0, pulled.stderr
    staged = manifest.verify(repository / "artifacts/staged/mini-vega/int8", rerun="")
    assert manifest.verify(place / "clone" / PLACE, rerun="") == staged
    for words, out in ((["get", "root", PLACE], "got"), (["artifacts", "get", "root", ARTIFACT], "got-by-version")):
        done = run(place, sys.executable, "-m", "dvc", *words, "--out", out)
        assert done.returncode == 0, done.stderr
        assert manifest.verify(place / out, rerun="") == staged


def test_what_is_published_already_makes_no_version_and_a_new_ir_makes_the_next(
    repository: Path, published: str
) -> None:
    assert publish(repository, "--yes").stdout.startswith(f"mini-vega int8 is published as {TAG.format(1)} already")
    put(repository / "artifacts/ir/mini-vega/int8" / UNET, noise("another search", 150_000))
    measured(repository, "mini-vega", changed(repository, "mini-vega"))
    before = git(repository, "rev-parse", "HEAD")
    assert f"published mini-vega int8: {TAG.format(2)} at commit" in publish(repository, "--yes").stdout
    assert git(repository, "rev-parse", "HEAD~1") == before


def test_what_cannot_be_handed_on_is_refused_before_anything_is_read(repository: Path, tmp_path: Path) -> None:
    root = shutil.copytree(repository, tmp_path / "root")
    shutil.rmtree(root / "artifacts/ir")
    assert "DVC knows no remote 'nosuch', but store" in publish(root, "--remote", "nosuch", "--yes").stderr
    run(root, sys.executable, "-m", "dvc", "remote", "default", "--unset")
    said = publish(root, "--yes").stderr
    assert "DVC has no default remote: dvc remote add -d store /mnt/somewhere" in said and "--remote store" in said
    (root / ".git/MERGE_HEAD").write_text(git(root, "rev-parse", "HEAD"))
    assert "git is in the middle of something (MERGE_HEAD)" in publish(root, "--yes").stderr
