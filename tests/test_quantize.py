"""The quantized folder is a whole pipeline whose UNet runs in INT8, equal for equal inputs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.calibrate import calibrate
from stages.files import manifest
from stages.generation import drawing, pipelines
from stages.ir import anatomy, runtime
from stages.quantization import probing, units
from stages.quantize import for_role, key, quantize
from stages.settings.schema import Search
from tests import test_calibrate
from tests.quantization.test_schemes import settings as scheme_settings
from tests.tiny_ir import CPU, sampler, tiny_ir


def settings(scheme: str = "weights_first", **changes):
    return scheme_settings(scheme, **{"name": "int8", "ignored_patterns": [".*conv_in.*", ".*conv_out.*"]} | changes)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IR, what was recorded on it, and its INT8."""
    root = test_calibrate.make_root(tmp_path_factory.mktemp("root"), "base")
    calibrate(test_calibrate.settings(), root)
    quantize("base", settings(), root)
    return root


def int8(root: Path) -> Path:
    return root / "artifacts/ir/base/int8"


def test_the_manifest_tells_what_was_done(root: Path) -> None:
    facts = manifest.verify(int8(root), rerun="quantize@base")["facts"]
    assert (facts["precision"], facts["scheme"], facts["samples"]) == ("int8", "weights_first", 4)
    assert facts["operations"]["fake_quantize"] > 0
    assert facts["operations"]["int8_constants"] > 0
    assert 0 < facts["unet_mb"] < facts["unet_fp16_mb"]


def test_origin_and_licence_of_the_weights_stay_with_them(root: Path) -> None:
    before, after = (
        manifest.read(root / f"artifacts/ir/base/{name}", rerun="quantize@base") for name in ("fp16", "int8")
    )
    assert manifest.origin(after) == manifest.origin(before) and manifest.origin(after)["title"] == "tiny base"
    assert "# tiny base: OpenVINO IR, INT8" in (int8(root) / "README.md").read_text()


def test_int8_is_executed(root: Path) -> None:
    executed = anatomy.executed_precisions(runtime.compile(int8(root) / "unet/openvino_model.xml", CPU))
    assert executed["i8"] > sum(executed.values()) / 2


def test_a_probe_in_stretches_answers_what_one_in_a_piece_does(root: Path) -> None:
    xml = int8(root) / "unet/openvino_model.xml"
    samples = test_calibrate.recorded(root, "base")
    shapes = {name: value.shape for name, value in samples[0].items()}
    points, _ = probing.points(samples, 10**15)
    found = units.find(runtime.read(xml), anatomy.macs_by_layer(runtime.read(xml), shapes))
    cut = probing.Probe(runtime.read(xml), found, {}, points)
    whole = probing.Probe(runtime.read(xml), found, {}, points, count=1)
    np.testing.assert_allclose(cut.reference, whole.reference, rtol=1e-4, atol=1e-5)
    for number in range(0, len(found), len(found) // 9):
        rows = cut.off.copy()
        rows[number] = probing.row(-1.5, 2)
        assert cut.noise(rows) == pytest.approx(whole.noise(rows), rel=0.02), found[number].name
    assert len(set(cut._stretches.begins)) == 8 and cut._stretches.begins == sorted(cut._stretches.begins)


def test_the_folder_draws_a_picture_as_the_float_one_does(root: Path) -> None:
    pipeline = pipelines.load(int8(root), "text-to-image", sampler(), CPU)
    assert drawing.generate(pipeline, "red", sampler(), 0).size == (32, 32)


def test_all_but_the_unet_is_linked_and_the_float_unet_is_untouched(root: Path) -> None:
    source = root / "artifacts/ir/base/fp16"
    files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    assert files == {path.relative_to(int8(root)) for path in int8(root).rglob("*") if path.is_file()}
    changed = {path.as_posix() for path in files if not (source / path).samefile(int8(root) / path)}
    assert changed == {"README.md", "manifest.json", "unet/openvino_model.xml", "unet/openvino_model.bin"}
    manifest.verify(tiny_ir("base"), rerun="export@base")


def test_another_process_writes_the_same_bytes(root: Path) -> None:
    names = ("unet/openvino_model.bin", "unet/openvino_model.xml", "README.md", "manifest.json")
    before = {name: (int8(root) / name).read_bytes() for name in names}
    code = f"from tests.test_quantize import *\nquantize('base', settings(), Path({str(root)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [name for name in names if (int8(root) / name).read_bytes() != before[name]] == []


def test_without_a_scheme_the_unet_is_a_link(root: Path) -> None:
    quantize("base", settings("none", name="none", samples=0), root)
    name = "unet/openvino_model.bin"
    assert (root / "artifacts/ir/base/none" / name).samefile(root / "artifacts/ir/base/fp16" / name)


@pytest.mark.parametrize("name", ["fp16", "../fp16", ".hidden"])
def test_the_float_folder_cannot_be_written_over(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match="quantization.name must be a folder name other than 'fp16'"):
        quantize("base", settings(name=name), root)


def test_a_scheme_with_data_wants_samples(root: Path) -> None:
    with pytest.raises(ValueError, match="quantization.samples must be >= 1 for scheme 'weights_first', got 0"):
        quantize("base", settings(samples=0), root)


def test_missing_calibration_names_the_stage_to_run(tmp_path: Path) -> None:
    root = test_calibrate.make_root(tmp_path, "base")
    with pytest.raises(FileNotFoundError, match="run 'dvc repro calibrate@base'"):
        quantize("base", settings(), root)


def test_a_refiner_may_give_away_more_for_its_noise() -> None:
    search = Search(min_sqnr_db=40, max_float_share=0.03, refiner_float_share=0.13, minutes=1)
    shares = {role: for_role(role, settings(search=search)).search.max_float_share for role in ("base", "refiner")}
    assert shares == {"base": 0.03, "refiner": 0.13}
    assert for_role("refiner", settings()).search is None


def test_what_older_code_half_finished_is_not_gone_on_with(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key("base", settings(), root)
    monkeypatch.setattr(manifest, "code", lambda room: f"another {room.name}")
    assert key("base", settings(), root) != before == manifest.read(int8(root), rerun="quantize@base")["key"]


def test_a_failed_run_leaves_nothing_behind(root: Path) -> None:
    with pytest.raises(ValueError, match="matches no operation"):
        quantize("base", settings(name="bad", ignored_patterns=["absent"]), root)
    assert sorted(path.name for path in (root / "artifacts/ir/base").iterdir() if "none" not in path.name) == [
        "fp16",
        "int8",
    ]
