"""Folders and figures that do not belong together are refused by every stage that reads them, with what makes it right.

Weights are noise here: whatever is checked before anything runs needs no others.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from stages import benchmark, quantize, speed
from stages.files import belonging, layout, manifest
from stages.measurement import subject
from stages.publishing import staging
from stages.report import beside, results
from tests.fake_ir import changed, fake_ir, measured_ir, put
from tests.quantization.test_schemes import settings as scheme
from tests.tiny_ir import sampler

MODEL, OTHER = "mini-vega", "mini-sdxl"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models with their IRs, and a calibration set of each."""
    monkeypatch.chdir(tmp_path)
    for model in (MODEL, OTHER):
        fake_ir(tmp_path, model)
        calibrated(tmp_path, model, ir=model)
    put(tmp_path / layout.SCORER / "config.json", b"{}")
    manifest.write(tmp_path / layout.SCORER, stage="scorer", inputs={}, settings={})
    return tmp_path


def calibrated(root: Path, model: str, base: str | None = None, **of: str) -> None:
    folder = root / layout.calibration(model)
    put(folder / "00000.safetensors", b"never read")
    inputs = {part: manifest.digest(root / layout.ir(one, "fp16")) for part, one in of.items()}
    settings = {"model": {"base": base or model}}
    manifest.write(folder, stage="calibrate", inputs=inputs, settings=settings, facts={"samples": 1, "largest_px": 64})


def settings(role: str = "base") -> Any:
    model = SimpleNamespace(role=role, base=MODEL, sampler=sampler())
    return SimpleNamespace(model_key=MODEL, model=model, quantization=SimpleNamespace(name="int8"))


def test_a_calibration_of_another_ir_is_refused(root: Path) -> None:
    calibrated(root, MODEL, ir=OTHER)
    said = rf"calibration/{MODEL} was made of another .*ir/{MODEL}/fp16 than .*: run 'dvc repro calibrate@{MODEL}'"
    with pytest.raises(ValueError, match=said):
        quantize.quantize(MODEL, scheme("weights_first", name="int8"), root)
    with pytest.raises(ValueError, match=said):
        quantize.need(MODEL, scheme("weights_first"))


def test_a_calibration_on_another_base_is_refused_where_that_is_there(root: Path) -> None:
    folder = root / layout.calibration(MODEL)
    inputs = {"ir": manifest.digest(root / layout.ir(MODEL, "fp16")), "base": "0" * 64}
    manifest.write(folder, stage="calibrate", inputs=inputs, settings={"model": {"base": OTHER}})
    with pytest.raises(ValueError, match=f"was made of another artifacts/ir/{OTHER}/fp16"):
        belonging.require_calibration(MODEL)
    shutil.rmtree(layout.ir(OTHER, "fp16"))
    belonging.require_calibration(MODEL)
    manifest.write(folder, stage="calibrate", inputs=inputs, settings={"model": {"base": "../../x"}})
    with pytest.raises(ValueError, match="the base must be letters, digits"):
        belonging.require_calibration(MODEL)


@pytest.mark.parametrize("check", [benchmark.verified, speed.verified, subject.whole_folders])
def test_an_int8_of_another_fp16_is_not_measured(root: Path, check: Any) -> None:
    shutil.rmtree(root / layout.ir(MODEL, "int8"))
    os.rename(root / layout.ir(OTHER, "int8"), root / layout.ir(MODEL, "int8"))
    with pytest.raises(ValueError, match=f"int8 is of the model '{OTHER}', not of '{MODEL}'"):
        check(settings())
    said = json.loads((root / layout.ir(MODEL, "int8") / manifest.NAME).read_text())
    del said["facts"]["model"], said["seal"]  # as older manifests have neither
    (root / layout.ir(MODEL, "int8") / manifest.NAME).write_text(json.dumps(said))
    with pytest.raises(ValueError, match=f"int8 was made of another .*run 'dvc repro quantize@{MODEL}'"):
        check(settings())


def test_a_folder_that_does_not_say_what_it_is_of_is_refused(root: Path) -> None:
    folder = root / layout.ir(MODEL, "int8")
    manifest.write(folder, stage="quantize", inputs={}, settings={})
    with pytest.raises(ValueError, match="nobody knows what.*run 'dvc repro quantize@mini-vega'"):
        belonging.require_ir(MODEL, "int8")


def test_what_was_published_and_fetched_again_still_belongs_together(root: Path) -> None:
    for precision in ("fp16", "int8"):
        folder = root / layout.ir(MODEL, precision)
        said = manifest.read(folder, rerun="")
        inputs, facts = {"ir": manifest.digest(folder)}, said["facts"] | {"made": staging.made(said)}
        manifest.write(folder, stage="publish", inputs=inputs, settings={}, facts=facts)
    belonging.require_ir(MODEL, "int8")


def test_figures_of_other_irs_are_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(measured_ir(tmp_path, MODEL))
    models = {MODEL: SimpleNamespace(title="Vega", role="base", base=MODEL, family="mini", licence="mit")}
    assert results.read(models, "int8")[0].missing is None
    put(layout.ir(MODEL, "int8") / "unet/openvino_model.bin", b"other weights")
    changed(tmp_path, MODEL)
    with pytest.raises(ValueError, match=f"record.json was measured of another .*run 'dvc repro benchmark@{MODEL}'"):
        results.read(models, "int8")


def test_schemes_of_another_fp16_are_left_out_and_said(root: Path, capsys: pytest.CaptureFixture) -> None:
    path = layout.schemes(MODEL) / "figures.json"
    here = manifest.digest(layout.ir(MODEL, "fp16"))
    for digest, shown in ((here, 1), ("0" * 64, 0)):
        put(path, json.dumps({"rows": [{}], "inputs": {"fp16": digest}}).encode())
        assert len(beside.figures_of("schemes", [SimpleNamespace(key=MODEL)])) == shown
    assert f"left out: {path} was measured of another" in capsys.readouterr().err
