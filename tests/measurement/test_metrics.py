"""The short form: few figures, the same keys for every scheme, whatever was left out."""

from __future__ import annotations

import pytest

from stages.measurement import curve, metrics
from tests.fake_reports import record

KEYS = {
    "scheme", "size_mb", "size_mb_fp16", "step_ms", "step_ms_fp16", "image_s", "image_s_fp16", "memory_gb",
    "memory_gb_fp16", "sqnr_db", "sqnr_db_fp16", "psnr_db", "psnr_db_fp16", "ssim", "ssim_fp16", "clip_score",
    "clip_score_fp16", "fid", "fid_fp16", "speed_step", "sqnr_worst_quarter_db", "clip_drop_percent",
    "clip_similarity", "fid_rise",
    "share_macs_int8",
}  # fmt: skip


def test_figures_are_those_of_the_record_in_the_units_of_their_names() -> None:
    made = record("mini-vega", "int8")
    before, after = made["precisions"]["fp16"], made["precisions"]["int8"]
    found = metrics.metrics(made)
    assert found["scheme"] == "int8"
    assert found["size_mb"] == round(after["unet_size_mb"], 2) and found["size_mb_fp16"] == before["unet_size_mb"]
    assert found["step_ms"] == pytest.approx(1000 * after["unet_step_s"]["median"], abs=0.01)
    assert found["image_s_fp16"] == pytest.approx(before["image_s"]["median"], abs=1e-4)
    assert found["memory_gb"] == pytest.approx(after["peak_rss_mb"] / 1000)
    assert found["speed_step"] == after["speedup_step"]["ratio"]
    assert (found["share_macs_int8"], found["sqnr_worst_quarter_db"], found["clip_drop_percent"]) == (0.94, 19.5, 0.49)
    assert (found["sqnr_db"], found["psnr_db"], found["ssim"]) == (after["sqnr_db"], after["psnr_db"], after["ssim"])
    assert (found["clip_score"], found["clip_similarity"]) == (after["clip_score"], after["clip_similarity"])


@pytest.mark.parametrize("scheme", ["int8", "int8-weights", "none"])
def test_keys_are_the_same_for_every_scheme(scheme: str) -> None:
    assert metrics.metrics(record("mini-sdxl", scheme)).keys() == KEYS


def test_a_precision_that_was_not_run_leaves_nulls_under_the_same_keys() -> None:
    made = record("mini-sdxl", "int8")
    made["precisions"]["fp16"] = dict.fromkeys(made["precisions"]["fp16"]) | {"unet_size_mb": 14.2}
    del made["precisions"]["int8"]
    found = metrics.metrics(made)
    assert found.keys() == KEYS
    assert found["size_mb_fp16"] == 14.2 and found["step_ms_fp16"] is None and found["size_mb"] is None


def test_the_curve_holds_both_precisions_by_timestep_and_leaves_gaps_empty() -> None:
    rows = {"int8": {"sqnr_by_timestep": [[901.0, 24.5], [1.0, None]]}, "fp16": {"sqnr_by_timestep": [[901.0, 40.0]]}}
    text = curve.sqnr_csv({"quantization": "int8", "precisions": rows})
    assert text == "timestep,sqnr_db,sqnr_db_fp16\n1,,\n901,24.5,40\n"


def test_points_of_one_timestep_are_pooled() -> None:
    import numpy as np

    points = [{"timestep": np.array([step])} for step in (1, 901, 901)]
    expected = [np.array([10.0]), np.array([3.0]), np.array([1.0])]
    found = [np.array([9.0]), np.array([2.0]), np.array([1.0])]
    assert curve.sqnr_by_timestep(points, expected, found) == [[901.0, 10.0], [1.0, 20.0]]  # 10 lg (9 + 1) / 1
