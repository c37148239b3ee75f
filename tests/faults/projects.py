"""A small project to do harm to: the settings of the smallest miniature, and stages run in it as DVC runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from stages.settings import composing

ROOT = Path(__file__).parents[2]


def project(folder: Path) -> Path:
    """What a stage reads beside its inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(composing.compose(["model=[mini-vega]", "experiment=smoke"], ROOT / "conf"))
    for name in ("conf", "miniatures", "stages"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def start(folder: Path, stage: str, *words: str, **given: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"stages.{stage}", *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | given.pop("environment", {})
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True, **given)


def ended(folder: Path, stage: str, *words: str, **given: object) -> tuple[int, str]:
    """Exit status and the last line on stderr, which is the only one but for what the stage needs and progress."""
    process = start(folder, stage, *words, **given)
    _, said = process.communicate(timeout=120)
    assert "Traceback" not in said, said
    return process.returncode, (said.strip().splitlines() or [""])[-1]


def left(folder: Path) -> list[str]:
    """Temporaries in it, and in what lies in it."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*") if "partial" in path.name]
