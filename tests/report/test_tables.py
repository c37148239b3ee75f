"""Figures as data: a file per figure that fits a terminal, and reference figures apart from a user's own."""

import json

import pytest
import yaml

from stages import compare
from stages.report import results, tables
from stages.settings import config
from tests.fake_reports import MODELS, fake_reports, machine


@pytest.fixture
def found(tmp_path, monkeypatch):
    monkeypatch.chdir(fake_reports(tmp_path))
    settings = config.load(compare.READS, None, [])
    return results.read(settings.models, "int8")


def test_models_stand_side_by_side_in_a_file_per_figure(found, tmp_path):
    tables.write(tmp_path, found)
    scheme = json.loads((tmp_path / "mini/scheme.json").read_text())
    assert scheme == {key.removeprefix("mini-"): "int8" for key in MODELS}
    steps = json.loads((tmp_path / "mini/step_ms.json").read_text())
    assert steps["vega"] == pytest.approx(1000 * 0.0113 / 1.41, abs=0.01)
    names = {name for result in found for name in result.metrics}
    lacking = {name for name in names if all(result.metrics[name] is None for result in found)}
    assert lacking > {"fid", "fid_fp16", "fid_rise"} and len(names) == 25
    assert {path.stem for path in tmp_path.glob("mini/*.json")} == names - lacking


def test_a_row_of_dvc_metrics_show_fits_120_columns(found):
    """A path, then a column for each model four blanks apart, as DVC 3.67 sets it."""
    figures = tables.by_figure(found)
    widest = max(len(f"reports/table/{name}.json") for name in figures)
    columns = [max(len(key), *(len(str(row[key])) for row in figures.values())) for key in figures["mini/scheme"]]
    assert widest + sum(4 + width for width in columns) <= 120


def test_the_reference_holds_machine_and_metrics_and_nothing_else(found, tmp_path):
    folder = tmp_path / "reference"
    folder.mkdir()
    tables.write_reference(folder, found, machine())
    assert {path.stem for path in folder.iterdir()} == {"machine", *MODELS}
    assert json.loads((folder / "machine.json").read_text()) == machine()


def test_the_reference_keeps_raw_values_in_a_few_kilobytes(found, tmp_path):
    tables.write_reference(tmp_path, found, machine())
    text = (tmp_path / "mini-vega.json").read_text()
    content = json.loads(text)
    vega = next(result for result in found if result.key == "mini-vega")
    assert {name: value for name, value in content.items() if name != "record"} == vega.metrics
    rows = content["record"]["precisions"]
    assert rows["int8"]["unet_step_s"]["raw"] == [pytest.approx(0.0113 / 1.41, rel=1e-3)] * 3
    assert [entry["ssim"] for entry in rows["int8"]["per_prompt"]] == [0.951] * 8 and "per_prompt" not in rows["fp16"]
    assert len(text) < 5000 and max(map(len, text.splitlines())) < 1000  # a list of numbers is one line


def test_machines_of_one_name_are_told_apart():
    one = machine() | {"cpu": "Intel(R) Xeon(R) CPU @ 2.60GHz"}
    assert tables.machine_name(one) == "intel-xeon-cpu-2-cores-012345"
    assert tables.machine_name(one | {"id": "ffffffffffff"}) != tables.machine_name(one)


def test_the_readme_is_refreshed_with_its_reference(tmp_path, monkeypatch):
    monkeypatch.chdir(fake_reports(tmp_path))
    (tmp_path / "README.md").write_text("# x\n<!-- table -->\n<!-- /table -->\n")
    compare.main(["--readme"])
    assert "mini-Vega" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "reports/reference/an-ordinary-processor-2-cores-012345/mini-vega.json").is_file()
    assert yaml.safe_load((tmp_path / "params.yaml").read_text())
