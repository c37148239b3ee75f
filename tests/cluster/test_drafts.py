"""Calibration's files are the same bytes whoever drafts the prompts, and whatever is killed meanwhile."""

from __future__ import annotations

import copy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.calibrate import calibrate
from stages.calibration import shards
from stages.engines.crew import Crew
from stages.engines.engine import LOCAL, Engine
from tests.cluster.conftest import ROOT, Nodes, crew
from tests.test_calibrate import contents, make_root, settings
from tests.tiny_ir import CPU

KILLED = """
import os, signal
from pathlib import Path
from stages.calibration import shards
from tests.cluster.conftest import Nodes, crew
from tests.cluster.test_drafts import calibrate, of
save, saved = shards.save_shard, []
def save_and_die(path, *rest):
    if len(saved) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *rest)
    saved.append(path)
shards.save_shard = save_and_die
calibrate(of("base", unet="fp16"), Path({root!r}), crew(Nodes({address!r}, [], None, None)))
"""


def of(model: str, **how: object):
    found = settings(model, steps=6, drafted={"prompts": 8}, **how)
    found.device = copy.copy(CPU)
    found.device.threads = 1
    return found


def drafted(root: Path, model: str, unet: str, engine: Engine) -> dict[str, bytes]:
    calibrate(of(model, unet=unet), make_root(root, *{"base", model}), engine)
    return contents(root / "artifacts/calibration" / model)


@pytest.fixture(scope="module")
def of_base(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the loop makes."""
    return drafted(tmp_path_factory.mktemp("here"), "base", "fp16", LOCAL)


def test_a_polite_kill_ends_the_stage_with_its_own_line(two: Nodes, tmp_path: Path) -> None:
    code = f"""
import sys
from stages.settings.config import main_guard
from tests.cluster.conftest import Nodes, crew
from tests.cluster.works import saying
from tests.tiny_ir import CPU
from pathlib import Path
if __name__ == "__main__":
    with main_guard():
        CPU.threads = 1
        work = saying(Path({str(tmp_path / "ir")!r}), CPU, seconds=0.2)
        for _ in crew(Nodes({two.address!r}, [], None, None)).map(work, range(1000), "saying", "item"):
            print("begun", flush=True)
"""
    pipe = subprocess.PIPE
    started = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    assert started.stdout.readline() == "begun\n"
    started.send_signal(signal.SIGTERM)
    start = time.monotonic()
    said = started.communicate(timeout=30)[1]
    assert started.returncode == 128 + signal.SIGTERM and time.monotonic() - start < 15, said
    assert said.splitlines()[-1].startswith("stopped (SIGTERM): what is finished is kept")


def test_files_are_the_same_bytes_of_one_worker(two: Nodes, tmp_path: Path, of_base: dict[str, bytes]) -> None:
    assert len(of_base) == 8 + 1
    assert drafted(tmp_path / "one", "base", "fp16", crew(two, workers=1)) == of_base


@pytest.mark.slow
def test_a_killed_run_goes_on_after_its_last_whole_shard_and_its_workers_are_free(
    two: Nodes, tmp_path: Path, monkeypatch, of_base: dict[str, bytes]
) -> None:
    killed = make_root(tmp_path / "killed", "base")
    code = KILLED.format(root=str(killed), address=two.address)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    saved, save = [], shards.save_shard
    monkeypatch.setattr(shards, "save_shard", lambda path, *rest: saved.append(path.stem) or save(path, *rest))
    calibrate(of("base", unet="fp16"), killed, crew(two))
    assert saved == [f"{number:05d}" for number in range(3, 8)]
    assert contents(killed / "artifacts/calibration/base") == of_base


def test_files_are_the_same_bytes_of_two_workers(lasting: Crew, tmp_path: Path, of_base: dict[str, bytes]) -> None:
    assert drafted(tmp_path / "two", "base", "fp16", lasting) == of_base


@pytest.mark.parametrize(("model", "unet"), [("refiner", "fp16"), ("base", "int8-weights")])
def test_files_are_the_same_bytes_locally_and_of_two_workers(
    lasting: Crew, tmp_path: Path, model: str, unet: str
) -> None:
    here = drafted(tmp_path / "here", model, unet, LOCAL)
    assert drafted(tmp_path / "there", model, unet, lasting) == here
