"""Schemes side by side on a tiny model: made once, measured in one sitting, a faulty one told by its row alone."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from stages import quantize
from stages import schemes as stage
from stages.describe import describe
from stages.measurement import footprint, peak, tasks, turns
from stages.settings import alternatives
from tests.test_benchmark import REPOSITORY, prepare
from tests.tiny_ir import FOOTPRINT

FEW = ["benchmark.prompts=1", "benchmark.steps=3", "benchmark.repetitions=2", "benchmark.warmup=1"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which everything is ready, with a scheme of its own that cannot be made."""
    monkeypatch.chdir(prepare(tmp_path, share=False))
    shutil.copytree(REPOSITORY / "conf", "conf")
    scheme = (REPOSITORY / "conf/quantization/int8-weights.yaml").read_text()
    lines = [line for line in scheme.splitlines() if not line.startswith(("name:", "ignored_patterns:"))]
    text = "\n".join([*lines, "name: broken", "ignored_patterns: [no such layer]"])
    Path("conf/quantization/broken.yaml").write_text(text + "\n")
    monkeypatch.setattr(peak, "SIDE", 64)
    monkeypatch.setattr(peak, "ENOUGH_S", 0.01)
    monkeypatch.setattr(turns, "SHORT_S", 0.05)
    monkeypatch.setattr(footprint, "measure", lambda *_: FOOTPRINT)
    describe()
    return tmp_path


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def shown() -> dict:
    return json.loads(Path("reports/schemes/base/figures.json").read_text())


def surveyed(name: str, *overrides: str) -> stage.Scheme:
    return stage.survey("base", alternatives.alternatives([name], list(overrides)))[0]


def test_one_command_makes_measures_and_shows_and_leaves_what_dvc_made_alone(folder: Path, capsys) -> None:
    Path("reports/benchmark/base").mkdir(parents=True)
    Path("reports/benchmark/base/metrics.json").write_text("{}")
    before = contents(Path("reports/benchmark")) | contents(Path("artifacts/ir/base/int8"))
    stage.main(["base", "none", "broken", "int8-weights", *FEW, "device.dynamic_quantization_group_size=-1"])
    after = contents(Path("reports/benchmark")) | contents(Path("artifacts/ir/base/int8"))
    assert after == before
    rows = {row["name"]: row for row in shown()["rows"]}
    dynamic = ["int8-weights-dynamic-off", "int8-weights-dynamic-32", "int8-weights-dynamic-128"]
    assert list(rows) == ["fp16", "none", *dynamic, "broken"]
    for name in ["fp16", "none", *dynamic]:
        assert rows[name]["skipped"] is None and rows[name]["step_ms"] > 0 and rows[name]["size_mb"] > 0
    for name in ["none", *dynamic]:
        assert rows[name]["speed_step_low"] <= rows[name]["speed_step"] <= rows[name]["speed_step_high"]
        assert rows[name]["quantize_s"] > 0
    assert rows["none"]["equals_reference"] and 10 < rows[dynamic[0]]["sqnr_db"] < 80
    reason = rows["broken"]["skipped"]
    assert reason.startswith("not made: quantization.ignored_patterns: 'no such layer' matches no operation")
    assert "\n" not in reason and rows["broken"]["step_ms"] is None
    written = Path("reports/schemes/base")
    assert {path.name for path in written.iterdir()} == {
        "figures.json", "figures.csv", "record.json", "plot.svg", "grid.png", "index.html", "images",
    }  # fmt: skip
    assert [row["name"] for row in csv.DictReader((written / "figures.csv").open())] == list(rows)
    record = json.loads((written / "record.json").read_text())
    groups = {
        name: record["precisions"][name]["effective_properties"]["DYNAMIC_QUANTIZATION_GROUP_SIZE"] for name in dynamic
    }
    assert groups == dict(zip(dynamic, ("0", "32", "128"), strict=True))
    said = capsys.readouterr()
    assert all(name in said.out for name in rows) and reason in said.out
    assert shown()["advice"] in said.out and "reports/schemes/base/index.html: For " in said.out
    assert said.err.startswith("schemes base: needs ") and "Traceback" not in said.err


def test_what_is_made_already_is_not_made_again(folder: Path) -> None:
    made = stage.make("base", surveyed("int8-weights"))
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")}
    again = surveyed("int8-weights")
    assert again.made and again.folder == Path("artifacts/ir/base/int8-weights")
    assert stage.make("base", again) is again
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")} == before


def test_an_ir_of_other_settings_is_left_alone_and_the_scheme_made_beside_it(folder: Path) -> None:
    other = "quantization.ignored_patterns=['.*conv_in.*']"
    quantize.quantize("base", alternatives.alternatives(["int8-weights"], [other])[0].settings)
    own = Path("artifacts/ir/base/int8-weights")
    before, scheme = contents(own), surveyed("int8-weights")
    assert scheme.folder == Path(f"{own}-{scheme.key[:8]}") and not scheme.made
    assert stage.make("base", scheme).made
    assert contents(own) == before
    assert surveyed("int8-weights") == replace(surveyed("int8-weights"), folder=scheme.folder, made=True)
    assert surveyed("int8-weights", other).folder == own and surveyed("int8-weights", other).made


def test_a_damaged_ir_is_not_taken(folder: Path) -> None:
    made = stage.make("base", surveyed("int8-weights"))
    weights = made.folder / "unet/openvino_model.bin"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    assert not surveyed("int8-weights").made and surveyed("int8-weights").folder != made.folder


def test_a_scheme_that_draws_no_picture_is_a_row_with_the_reason(folder: Path, monkeypatch, capsys) -> None:
    require = tasks.require_picture

    def refuse(run, model, precision):
        if precision == "none":
            raise ValueError("base none drew a picture that is black")
        require(run, model, precision)

    monkeypatch.setattr(tasks, "require_picture", refuse)
    stage.main(["base", "none", "int8-weights", *FEW])
    rows = {row["name"]: row for row in shown()["rows"]}
    assert rows["none"]["skipped"] == "not run: base none drew a picture that is black"
    assert rows["int8-weights"]["step_ms"] > 0, "CPU settings of this test name a group: one row"
    assert "Traceback" not in capsys.readouterr().err


def test_fp16_that_draws_no_picture_ends_it_with_one_line(folder: Path, monkeypatch, capsys) -> None:
    def refuse(run, model, precision):
        raise ValueError(f"{precision} drew a picture that is black")

    monkeypatch.setattr(tasks, "require_picture", refuse)
    with pytest.raises(SystemExit):
        stage.main(["base", "none", *FEW])
    assert "error: fp16 in float32 drew a picture that is black" in capsys.readouterr().err
    assert not Path("reports/schemes/base/index.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["int9"], "scheme 'int9' is not in conf/quantization (did you mean int8?)"),
        (["int8"], "artifacts/calibration/base/manifest.json is missing: run 'dvc repro calibrate@base' first"),
        (["none", "benchmark.promts=1"], "benchmark.promts is not a setting (did you mean prompts?)"),
        (["none", "model.base.tasks=[]"], "model.base.tasks has no effect here"),
        (["none", "clip.kind=none"], "clip.kind has no effect here"),
    ],
)
def test_a_mistake_is_told_before_anything_is_made(folder: Path, capsys, words: list[str], said: str) -> None:
    with pytest.raises(SystemExit):
        stage.main(["base", *words])
    assert said in capsys.readouterr().err
    assert not Path("artifacts/ir/base/none").exists() and not Path("reports/schemes").exists()


def test_what_memory_does_not_hold_is_a_row_with_the_reason(folder: Path, monkeypatch) -> None:
    huge = replace(quantize.need("base", surveyed("none").settings), memory_gb=1e6)
    monkeypatch.setattr(quantize, "need", lambda *_: huge)
    settings, found = stage.load("base", ["none"], [])
    assert stage.need(settings, stage.survey("base", found)).memory_gb < 100, "it is not counted"
    assert stage.make("base", surveyed("none")).reason.startswith("not made: quantize-none base needs 1000000.0 GB")
