"""Rows of a comparison: what each scheme is measured as, and the same keys for all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.machine import description, usage
from stages.measurement import rows
from stages.measurement.rows import Scheme
from stages.settings import alternatives
from tests.fake_reports import figures as measured
from tests.tiny_ir import CPU, part

CONF = Path(__file__).resolve().parents[2] / "conf"
FREE = part(type(CPU), **vars(CPU) | {"dynamic_quantization_group_size": -1})


def every_scheme() -> list[Scheme]:
    found = alternatives.alternatives([], [], CONF)
    return [Scheme(one.name, one.settings, Path("ir") / one.name, key=one.name, made=True) for one in found]


def test_every_file_of_conf_is_a_row_and_int8_weights_one_for_each_way_to_quantize_activations() -> None:
    found = rows.precisions("m", every_scheme(), FREE)
    assert next(iter(found)) == "fp16" and found["fp16"].folder == Path("artifacts/ir/m/fp16")
    groups = {name: one.device.dynamic_quantization_group_size for name, one in found.items()}
    files = {path.stem for path in (CONF / "quantization").glob("*.yaml")}
    dynamic = {"int8-weights-dynamic-off": 0, "int8-weights-dynamic-32": 32, "int8-weights-dynamic-128": 128}
    assert groups == dict.fromkeys(["fp16", *files - {"int8-weights"}], -1) | dynamic
    assert {found[name].folder for name in dynamic} == {Path("ir/int8-weights")}
    assert FREE.dynamic_quantization_group_size == -1, "the settings themselves are untouched"


def test_a_group_that_the_device_settings_name_is_everybodys() -> None:
    found = rows.precisions("m", every_scheme(), CPU)
    assert "int8-weights" in found and {one.device.dynamic_quantization_group_size for one in found.values()} == {0}


def test_rows_have_the_same_keys_the_largest_first_and_what_was_not_made_last_with_its_reason() -> None:
    made = Scheme("int8", every_scheme()[1].settings, Path("ir/int8"), "k", made=True)
    schemes = [Scheme("int4-weights", None, reason="not made: why"), made, Scheme("int8-hybrid", None, reason="no")]
    record = {"precisions": {"fp16": measured(10.0, 0.02, 5, None), "int8": measured(5.0, 0.01, 5, 2.0)}}
    found = rows.table("m", schemes, FREE, record, {})
    assert [row["name"] for row in found] == ["fp16", "int8", "int4-weights", "int8-hybrid"]
    assert len({tuple(row) for row in found}) == 1
    assert [row["skipped"] for row in found] == [None, None, "not made: why", "no"]
    assert (found[1]["step_ms"], found[1]["speed_step"], found[1]["speed_step_low"]) == (10.0, 2.0, 1.96)
    assert found[2]["step_ms"] is None and found[2]["ir"] is None
    json.dumps(found)


def test_a_row_left_out_while_measuring_says_why() -> None:
    made = Scheme("int8", every_scheme()[1].settings, Path("ir/int8"), "k", made=True)
    record = {"precisions": {"fp16": measured(10.0, 0.02, 5, None)}}
    assert rows.table("m", [made], FREE, record, {"int8": "not run: black"})[1]["skipped"] == "not run: black"
    record["precisions"]["int8"] = {"skipped": "not run: needs 9 GB", "unet_size_mb": 5.0}
    row = rows.table("m", [made], FREE, record, {})[1]
    assert (row["skipped"], row["size_mb"], row["step_ms"]) == ("not run: needs 9 GB", 5.0, None)


def test_newer_figures_are_taken_where_a_record_has_them() -> None:
    full = measured(5.0, 0.01, 5, 2.0) | {"sqnr_by_quarter": [30.0, None, 24.5, 28.0], "macs": {"share_int8": 0.93}}
    assert (rows.figures(full)["sqnr_worst_quarter_db"], rows.figures(full)["share_macs_int8"]) == (24.5, 0.93)
    without = rows.figures({name: value for name, value in full.items() if name not in ("sqnr_by_quarter", "macs")})
    assert (without["sqnr_worst_quarter_db"], without["share_macs_int8"]) == (None, None)


def test_equal_to_the_reference_is_told_from_unknown() -> None:
    equal = measured(5.0, 0.01, 5, 2.0) | {"sqnr_db": None, "psnr_db": None, "ssim": 1.0}
    assert rows.figures(equal)["equals_reference"] is True
    assert rows.figures(equal | {"ssim": None})["equals_reference"] is False, "random weights"
    assert rows.figures({})["equals_reference"] is False


@pytest.mark.parametrize("stage", ["quantize", "quantize-int8"])
def test_the_time_to_make_is_that_of_this_very_ir(tmp_path: Path, monkeypatch, stage: str) -> None:
    monkeypatch.setattr(usage, "REPORTS", tmp_path)
    (tmp_path / stage).mkdir()
    taken = {"seconds": 21.5, "anonymous_gb": 1.0}
    record = {"machine": description.describe()["id"], "taken": taken, "facts": {"key": "k", "scheme": "s"}}
    (tmp_path / stage / "m.json").write_text(json.dumps(record))
    assert rows.quantize_s("m", Scheme("int8", None, key="k", made=True)) == 21.5
    assert rows.quantize_s("m", Scheme("int8", None, key="other", made=True)) is None
    assert rows.quantize_s("m", Scheme("int8", None, key="k", made=False)) is None
