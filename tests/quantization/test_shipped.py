"""Every scheme that is shipped quantizes a miniature as its file says, and what it writes predicts noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
import yaml

from stages.calibrate import calibrate
from stages.calibration import shards
from stages.download import download
from stages.export import export
from stages.files import layout
from stages.ir import anatomy, runtime
from stages.machine import apart
from stages.measurement import fidelity
from stages.quantization import statistics
from stages.quantize import quantize
from stages.settings import composing, config

ROOT = Path(__file__).parents[2]
SCHEMES = sorted(path.stem for path in (ROOT / "conf/quantization").glob("*.yaml"))
KEY = "mini-vega"
QUICK = ["model=[mini-vega]", "calibration.prompts=2", "calibration.steps_per_prompt=8"]
LEAST_DB = {"int4-weights": 12.0, "int8-notebook": 12.0}  # of the noise prediction; above 20 for the others


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature as FP16 IR, and what was recorded on it."""
    root = tmp_path_factory.mktemp("root")
    sections = [f"model.{KEY}", "prompts", "calibration", "device"]
    settings = config.select(yaml.safe_load(composing.compose(QUICK)), sections, KEY)
    download(KEY, settings.model.source, settings.model.licence, root)
    export(KEY, settings.model, root)
    calibrate(settings, root)
    return root


@pytest.mark.parametrize("name", SCHEMES)
def test_a_shipped_scheme_runs_on_a_miniature(root: Path, name: str) -> None:
    how = composing.composed(("quantization",), [*QUICK, f"quantization={name}"]).quantization
    if how.search is not None:
        how.search.minutes = 0.1
    facts = apart.run("quantizing", quantize, KEY, how, root)["facts"]  # as the stage does, which has no torch
    assert (facts["precision"], facts["scheme"]) == (name, how.scheme)
    before, after = (root / layout.ir(KEY, one) / "unet/openvino_model.xml" for one in (layout.FP16, name))
    stored = anatomy.count_operations(runtime.read(after))
    assert (stored["int4_constants"] > 0) is str(how.weights).startswith("int4")
    assert (stored["int8_constants"] > 0) is (name != "none")
    expected, found = (predictions(root, xml) for xml in (before, after))
    sqnr_db = fidelity.pooled_sqnr_db(expected, found)
    assert sqnr_db is None if name == "none" else sqnr_db > LEAST_DB.get(name, 20.0)


@pytest.mark.parametrize("name", ["int8", "int8-quick", "int8-attention"])
def test_no_input_is_run_for_ranges_that_drafts_told(root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever layer a scheme quantizes, the draft has told what it is given."""
    runs, run = [], statistics._Engine._run
    monkeypatch.setattr(statistics._Engine, "_run", lambda self, sample: runs.append(1) or run(self, sample))
    changes = ["quantization.search=null", "quantization.rounding=nearest", f"quantization.name=told-{name}"]
    how = composing.composed(("quantization",), [*QUICK, f"quantization={name}", *changes]).quantization
    facts = quantize(KEY, how, root)["facts"]
    assert facts["samples"] == 2 * 8 and not runs


def predictions(root: Path, xml: Path) -> list[np.ndarray]:
    how = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
    compiled = ov.Core().compile_model(xml, "CPU", how)
    samples = shards.load_samples(root / layout.calibration(KEY), 4)
    return [np.array(compiled(sample, share_inputs=False)[0]) for sample in samples]
