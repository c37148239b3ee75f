"""What a message says to run brings back what is damaged, in a real repository with DVC's cache linked each way."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from stages.files import manifest

ROOT = Path(__file__).parents[2]
KINDS = ("replaced", "missing", "rotten", "rotten_in_the_cache", "rotten_uncached")
CASES = [("hardlink", kind) for kind in KINDS] + [("symlink", "rotten"), ("copy", "rotten")]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) if case[0] != "hardlink" else case for case in CASES]
MAKE = """
import pathlib, sys
from stages.files import manifest, placing
with placing.whole(pathlib.Path(sys.argv[1])) as folder:
    (folder / "x.bin").write_bytes(sys.argv[1].encode() * 9999)
    manifest.write(folder, stage="make", inputs={}, settings={})
"""


def run(command: str, folder: Path) -> None:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def repositories(tmp_path_factory) -> Callable[[str], Path]:
    """`repositories("hardlink")`: one whose cache is linked so, with a stage for each kind of damage."""

    @functools.cache
    def repository(link: str) -> Path:
        folder = tmp_path_factory.mktemp(link)
        outs = {of: [{of: {"cache": False}}] if "uncached" in of else [of] for way, of in CASES if way == link}
        stages = {of: {"cmd": f"python make.py {of}", "outs": out} for of, out in outs.items()}
        (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
        (folder / "make.py").write_text(MAKE)
        (folder / ".dvc").mkdir()
        (folder / ".dvc/config").write_text(f"[core]\n    no_scm = true\n[cache]\n    type = {link}\n")
        run("dvc repro -q", folder)
        return folder

    return repository


def damage(file: Path, kind: str) -> None:
    """A byte changes as on a bad disk, with size and times as they were; or the file is another's, or gone."""
    true = file.resolve()
    content, times = true.read_bytes(), (true.stat().st_atime_ns, true.stat().st_mtime_ns)
    if kind == "missing":
        file.unlink()
        return
    if kind == "replaced":
        file.unlink()
    else:
        true.chmod(0o644)
    target = file if kind == "replaced" else true
    target.write_bytes(b"?" + content[1:])
    os.utime(target, ns=times)
    target.chmod(0o444)
    if kind == "rotten_in_the_cache":
        file.unlink()


@pytest.mark.parametrize(("link", "kind"), SLOW)
def test_the_command_that_is_named_repairs(repositories, monkeypatch, link: str, kind: str) -> None:
    monkeypatch.chdir(repositories(link))
    folder = Path(kind)
    digest = manifest.digest(folder)
    damage(folder / "x.bin", kind)
    with pytest.raises((ValueError, FileNotFoundError)) as failure:
        manifest.verify(folder, rerun=kind)
    run(re.search(r"run '(.+?)'", str(failure.value))[1], repositories(link))
    manifest.verify(folder, rerun=kind)
    assert manifest.digest(folder) == digest
