"""What stands behind the figures, as the page shows it: schedule, controls, work by kernel, the worst prompts."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import ImageChops

from stages.report import evidence, grids, page, panels, summary
from tests.fake_reports import SCENES, fake_reports
from tests.report.test_page import change, read

INT8 = ("precisions", "int8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return fake_reports(tmp_path, ("mini-vega", "mini-vegart"))


def cells(table: evidence.Table, what: str) -> dict[str, str]:
    """The first model's line of this name, by column."""
    line = next(line for line in table.lines if line.what == what)
    return dict(zip(table.heads, line.cells, strict=True))


def html(folder: Path) -> str:
    found = read(folder)
    return page.page(found, {}, grids.all_grids(found), page.draw_plots(found))


def test_the_schedule_is_shown_from_noise_to_picture_with_its_worst_places(folder):
    change(folder, "mini-vega", [30.0, None, 17.25, 28.0], *INT8, "sqnr_by_sample")
    shown = evidence.schedule(read(folder))
    assert [(line.title, line.what) for line in shown.lines] == [
        ("mini-Vega", "FP16"), ("", "INT8"), ("mini-VegaRT", "FP16"), ("", "INT8"),
    ]  # fmt: skip
    assert list(cells(shown, "INT8").items()) == [
        ("all of it", "24.1 dB"), ("timestep from 750", "25.0 dB"), ("timestep 500–750", "28.5 dB"),
        ("timestep 250–500", "27.0 dB"), ("timestep below 250", "19.5 dB"), ("worst sample", "17.2 dB"),
        ("worst prompt", "24.1 dB"),
    ]  # fmt: skip


def test_the_three_controls_stand_around_the_quantized_model(folder):
    shown = evidence.controls(read(folder))
    assert [line.what for line in shown.lines[:4]] == ["float32 again", "FP16", "INT8", "another seed"]
    again, other = cells(shown, "float32 again"), cells(shown, "another seed")
    assert (again["SQNR"], again["PSNR"], again["SSIM"]) == ("identical", "identical", "1.000")
    assert (again["subject read"], again["background read"]) == ("100 %", "100 %")
    assert (other["SQNR"], other["PSNR"], other["SSIM"], other["pictures"]) == ("–", "14.2 dB", "0.412", "2")
    assert cells(shown, "INT8")["background read"] == "88 %"


def test_a_precision_that_is_the_reference_itself_is_called_identical(folder):
    change(folder, "mini-vega", [None] * 8, "precisions", "fp16", "sqnr_by_sample")
    change(folder, "mini-vega", None, "precisions", "fp16", "sqnr_db")
    found = read(folder)
    assert cells(evidence.controls(found), "FP16")["SQNR"] == "identical"
    assert cells(evidence.schedule(found), "FP16")["all of it"] == "identical"


def test_columns_that_nothing_is_known_of_are_left_out(folder):
    for key in ("mini-vega", "mini-vegart"):
        for name in ("retrieval", "judge"):
            change(folder, key, None, name)
        for precision in ("fp16", "int8"):
            change(folder, key, None, "precisions", precision, "retrieval")
    assert evidence.controls(read(folder)).heads == ["SQNR", "PSNR", "SSIM", "CLIP similarity", "pictures"]
    assert "read out of the pixels" not in html(folder)


def test_work_is_summed_by_kernel_and_the_largest_layers_in_float_are_named(folder):
    result = read(folder)[0]
    assert [(line.title, line.what, line.cells) for line in evidence.work(result).lines] == [
        ("Convolution", "brgconv_u8", ["u8", "1", "60.0 %"]),
        ("MatMul", "brgemm_i8", ["i8", "1", "34.0 %"]),
        ("Convolution", "brgconv_bf16", ["bf16", "1", "6.0 %"]),
    ]
    assert evidence.largest_in_float(result) == ["conv_in (6.0 %)"]
    assert evidence.short("__module.unet.mid_block.resnets.0.conv1/aten::_convolution/Convolution") == (
        "mid_block.resnets.0.conv1"
    )


def test_both_products_of_an_attention_are_named_as_one(folder):
    both = [
        {"name": "mid.attn1/sdpa", "type": kind, "macs": 500, "kernel": "jit_i8", "precision": "f32"}
        for kind in ("attention QK", "attention PV")
    ]
    change(folder, "mini-vega", both, *INT8, "layers")
    assert evidence.largest_in_float(read(folder)[0]) == ["mid.attn1 (100.0 %)"]


def test_the_worst_three_prompts_are_shown_with_what_differs(folder):
    shown = grids.worst(read(folder)[0])
    worst = [(text, psnr) for (_, text, *_), psnr in zip(SCENES[:-4:-1], ("24.0", "25.0", "26.0"), strict=True)]
    assert shown.columns == [f"{text}: {psnr}\u00a0dB" for text, psnr in worst]
    exact, quantized, difference = (row.pictures for row in shown.rows)
    for one, other, between in zip(exact, quantized, difference, strict=True):
        gained = ImageChops.difference(one, other).point(lambda value: min(255, grids.GAIN * value))
        assert between.tobytes() == gained.tobytes() and between.getbbox()


def test_reports_of_before_have_neither_a_section_nor_a_curve(folder):
    names = ("sqnr_by_quarter", "sqnr_by_timestep", "layers", "macs", "worst_prompts")
    for key in ("mini-vega", "mini-vegart"):
        change(folder, key, ..., "controls")
        for precision in ("fp16", "int8"):
            for name in names:
                change(folder, key, ..., "precisions", precision, name)
    text = html(folder)
    assert "What stands behind the figures" not in text and "Where most was lost" not in text
    assert ">–</td>" in text


def test_what_was_doubted_of_the_work_is_a_warning_on_the_page(folder):
    doubt = "only 63 % of the UNet's multiply-accumulates run in INT8 where int8 promises them"
    change(folder, "mini-vega", [doubt], "doubts")
    assert f"mini-Vega: {doubt}" in summary.warnings(read(folder), {})


def test_the_page_holds_every_part_and_leaves_layers_to_the_record(folder):
    text = html(folder)
    for part in ("Along the schedule", "Controls", "Work in INT8", "Where most was lost", "brgconv_u8"):
        assert part in text
    assert "polyline" in text and '"layers"' not in text and "&#34;layers&#34;" not in text


def test_curves_run_from_noise_to_picture_on_one_scale():
    points = [[1.0, 20.0], [999.0, 40.0], [500.0, 30.0]]
    drawn = panels.panels("t", "n", ("FP16", "INT8"), [("a", [[], points]), ("b", [points, points])])
    root = ElementTree.fromstring(drawn)
    lines = [element for element in root.iter() if element.tag.endswith("polyline")]
    places = [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in lines]
    first = places[1]
    assert places[0] == [] and first[0][0] < first[1][0] < first[2][0], "noise is on the left"
    assert first[0][1] < first[1][1] < first[2][1], "more decibels are higher up"
    assert first[1][1] == pytest.approx((first[0][1] + first[2][1]) / 2, abs=0.1)
    assert [y for _, y in places[3]] == [y for _, y in first]
    assert re.findall(r">20\.0<", drawn) == [">20.0<"] * 2, "the lowest point of each quantized curve is labelled"
