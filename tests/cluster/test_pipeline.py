"""The pipeline as DVC runs it: with another engine nothing is to be done again, and what is done anew is the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.cluster.conftest import Nodes
from tests.whole_run import clone, dvc

TARGET = "calibrate@mini-vega"
SETTINGS = ("model=[mini-vega]", "experiment=smoke", "calibration.prompts=4", "device.threads=1")


def run(folder: Path, *settings: str, flags: tuple[str, ...] = ()) -> str:
    """What `dvc exp run` says of the stages that it went through."""
    done = dvc(folder, "exp", "run", *(part for one in SETTINGS + settings for part in ("-S", one)), *flags, TARGET)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def calibrate(folder: Path, *settings: str) -> subprocess.CompletedProcess:
    """The stage by itself."""
    command = [sys.executable, "-m", "stages.calibrate", "mini-vega", "calibration.seed=1", *settings]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def digest(folder: Path) -> str:
    """DVC's, of all that calibration wrote."""
    (made,) = yaml.safe_load((folder / "dvc.lock").read_text())["stages"][TARGET]["outs"]
    return made["md5"]


@pytest.mark.slow
def test_calibration_by_dvc_is_the_same_on_a_cluster_and_not_repeated_for_it(two: Nodes, tmp_path: Path) -> None:
    folder = clone(tmp_path / "pocketxl")
    cluster = ("engine=ray", f"engine.address={two.address}", "engine.memory_gb=0.7")
    assert f"Running stage '{TARGET}'" in run(folder)
    here = digest(folder)
    assert "Running stage" not in run(folder, *cluster)
    assert yaml.safe_load((folder / "params.yaml").read_text())["engine"]["name"] == "ray"
    (folder / "artifacts/calibration/mini-vega/00000.safetensors").unlink()
    again = dvc(folder, "repro", "--force", "--single-item", TARGET)
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    assert f"Running stage '{TARGET}'" in again.stdout and digest(folder) == here
    lost = calibrate(folder, "engine.address=127.0.0.1:1")  # of the cluster that params.yaml names now
    assert lost.returncode == 2 and "engine.address 127.0.0.1:1: no Ray cluster" in lost.stderr.splitlines()[-1]
