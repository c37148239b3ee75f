"""One run of the whole pipeline by DVC, on the smallest miniature, once per test process: a clone with its results.

Produces a git repository with what git holds or would hold here, with artifacts/, reports/ and dvc.lock of a run of
its own. Whoever changes something in it changes it for all.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SETTINGS = ("model=[mini-vega]", "experiment=smoke", "model.mini-vega.sampler.steps=20", "prompts.seed=3")
GIT = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")


@functools.cache
def whole_run() -> Path:
    """A clone, and what one run makes in it."""
    above = Path(tempfile.mkdtemp(prefix="whole-run-"))
    atexit.register(shutil.rmtree, above, ignore_errors=True)
    folder = clone(above / "pocketxl")
    run = dvc(folder, "exp", "run", *(part for setting in SETTINGS for part in ("-S", setting)))
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return folder


def clone(folder: Path) -> Path:
    """What git holds or would hold, committed to a repository of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "clone"]):
        subprocess.run([*GIT, *arguments], cwd=folder, check=True)
    return folder


def dvc(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "GIT_AUTHOR_NAME": "t",
        "GIT_AUTHOR_EMAIL": "t@example.org",
        "GIT_COMMITTER_NAME": "t",
        "GIT_COMMITTER_EMAIL": "t@example.org",
    }
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
