"""A benchmark whose pictures a cluster draws has the pictures and the fidelity of one that drew them itself, and the
times of this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages import benchmark as stage
from stages.describe import describe
from stages.engines.crew import Crew
from stages.measurement import footprint, peak, tasks, turns
from stages.settings import config
from tests.test_benchmark import prepare
from tests.tiny_ir import FOOTPRINT

HOW = ["benchmark.prompts=7", "device.threads=1", "benchmark.minutes=null"]
FIDELITY = (
    "sqnr_db", "sqnr_by_sample", "psnr_db", "ssim", "trajectory_cosine", "per_prompt", "clip_score", "clip_floor",
    "clip_drop_percent", "clip_similarity",
)  # fmt: skip


def measured(folder: Path, monkeypatch, model: str, *engine: object) -> tuple[dict, dict[str, bytes]]:
    """The record, and the pictures by name."""
    monkeypatch.chdir(prepare(folder))
    monkeypatch.setattr(peak, "SIDE", 64)
    monkeypatch.setattr(peak, "ENOUGH_S", 0.01)
    monkeypatch.setattr(turns, "SHORT_S", 0.05)
    monkeypatch.setattr(footprint, "measure", lambda *_: FOOTPRINT)
    describe()
    stage.benchmark(config.load(stage.READS, model, HOW), *engine)
    written = Path("reports/benchmark") / model
    pictures = {path.name: path.read_bytes() for path in sorted((written / "images").glob("*.png"))}
    return json.loads((written / "record.json").read_text()), pictures


@pytest.mark.slow
@pytest.mark.parametrize("model", ["base", "refiner"])
def test_pictures_and_fidelity_are_the_same_and_times_are_of_this_machine(
    lasting: Crew, tmp_path: Path, monkeypatch, model: str
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    here, pictures = measured(tmp_path / "here", monkeypatch, model)
    there, others = measured(tmp_path / "there", monkeypatch, model, lasting)
    assert others == pictures and len(pictures) > 20
    for name, row in here["precisions"].items():
        assert {key: there["precisions"][name][key] for key in FIDELITY} == {key: row[key] for key in FIDELITY}
        for task, figures in row["tasks"].items():
            found = there["precisions"][name]["tasks"][task]
            if figures is not None:
                assert (figures["image_s"]["n"], found["image_s"]["n"]) == (7, tasks.TIMED)
                assert found["unet_calls"] == figures["unet_calls"]
        assert row["clip_similarity"] is not None and there["controls"] == here["controls"]
    assert here["elsewhere"] is None
    assert there["elsewhere"]["pictures"] == sum(there["elsewhere"]["nodes"].values()) > 7
    timed = [figures["image_s"]["n"] for figures in there["precisions"]["int8"]["tasks"].values() if figures]
    assert set(timed) == {tasks.TIMED}, "whatever they start from"
    listed = json.loads((tmp_path / "there/reports/benchmark" / model / "images/images.json").read_text())
    for precision in ("fp16", "int8"):
        assert {entry["seconds"] is None for entry in listed if entry["precision"] == precision} == {True, False}
    own = [entry for entry in listed if entry["model"] != model]  # of a refiner's base
    assert [entry["seconds"] is None for entry in own] == [False] * tasks.TIMED + [True] * 3 if own else model == "base"
