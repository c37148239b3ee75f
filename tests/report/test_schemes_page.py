"""The comparison of schemes as text, CSV, plot, grid and page: everything is there, reasons too, nothing requested."""

from __future__ import annotations

import csv
import io
import re
from xml.etree import ElementTree

import pytest
from PIL import Image

from stages.report import schemes_page, schemes_plot, schemes_table
from tests import fake_reports
from tests.report.test_frontier import row

MORE = {
    "ir": "artifacts/ir/m/x", "key": "k", "quantize_s": 21.5, "sqnr_worst_quarter_db": 21.0, "ssim": 0.99,
    "clip_score": 93.4, "clip_similarity": 0.998, "share_macs_int8": 0.934,
}  # fmt: skip
DYNAMIC = [row(f"int8-weights-dynamic-{size or 'off'}", 11.0 + size / 100, 36.0 + size / 100) for size in (0, 32, 128)]
DYNAMIC = [one | {"scheme": "int8-weights", "dynamic_group": 32 * n} for n, one in enumerate(DYNAMIC)]
ROWS = [
    one | MORE
    for one in [
        row("fp16", 10.0, None, 10.0, equals_reference=True, psnr_db=None, method=None, scheme=None),
        row("int8", 8.0, 33.0),
        *DYNAMIC,
        row("int4-weights", None, None, None, skipped="not made: no group <fits>", psnr_db=None),
    ]
]
ROWS[-1] |= dict.fromkeys(MORE)


def figures(**changes) -> dict:
    about = {
        "model": "mini-vega", "title": "mini-Vega", "family": "mini", "licence": "CC-BY-SA-4.0", "reference": None,
        "machine": "0123456789ab", "interleaved": True, "random_weights": False, "doubts": [], "advice": "Take int8.",
        "noise": {"load": 1.0, "others": 0.0, "steal": 0.0, "flagged": False}, "rows": ROWS, "width_px": 64,
        "height_px": 64, "executed_steps": 25, "scheduler": "EulerDiscreteScheduler", "guidance": 5.0,
        "calibration": {"manifest": "d", "samples": 160}, "settings": {"benchmark": {"prompts": 2}},
        "clip_model": {"title": "mini-CLIP", "licence": "CC-BY-SA-4.0"},
    }  # fmt: skip
    return about | {"reference": "fp16 in float32"} | changes


def test_the_terminals_table_has_a_line_for_each_row_and_fits_120_columns() -> None:
    lines = schemes_table.terminal(ROWS).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [one["name"] for one in ROWS]
    assert lines[-1] == "int4-weights  not made: no group <fits>"
    cells = re.split(r"\s{2,}", lines[2])
    assert cells == ["int8", "8.00 ms", "1.25× (1.23–1.27)", "5.00 MB", "33.0 dB", "21.0 dB", "40.0 dB", "0.990",
                     "93.40", "93.4 %", "21.5 s"]  # fmt: skip
    assert "equal" in lines[1]
    assert max(map(len, lines)) <= 120


def test_the_csv_has_all_keys_and_nulls_as_empty_cells() -> None:
    read = list(csv.DictReader(io.StringIO(schemes_table.as_csv(ROWS))))
    assert [one["name"] for one in read] == [one["name"] for one in ROWS]
    assert list(read[0]) == list(ROWS[0])
    assert read[1]["sqnr_db"] == "33.0" and read[-1]["sqnr_db"] == ""


def test_the_plot_has_a_dot_and_a_label_for_each_measured_scheme_and_joins_the_front() -> None:
    svg = ElementTree.fromstring(schemes_plot.plot(figures()))
    texts = [one.text for one in svg.iter() if one.tag.endswith("text")]
    assert all((one["name"] in texts) == (not one["skipped"]) for one in ROWS)
    kinds = [one.get("class") for one in svg if one.tag.endswith("circle")]
    assert (kinds.count("after"), kinds.count("before"), kinds.count("passed-over")) == (4, 1, 0)
    assert len([one for one in svg if one.get("class") == "line"]) == 3


def test_random_weights_have_no_plot() -> None:
    blind = [one | {"sqnr_db": None, "equals_reference": False} for one in ROWS]
    assert schemes_plot.plot(figures(rows=blind)) is None


def page(**changes) -> str:
    shown = figures(**changes)
    names = [one["name"] for one in ROWS if not one["skipped"]]
    pictures = {name: [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")] for name in names}
    grid = schemes_page.grid(shown, ["an apple", "a moon"], pictures)
    return schemes_page.html(shown, fake_reports.machine(), grid, schemes_plot.plot(shown))


def test_the_page_holds_table_plot_and_pictures_and_requests_nothing() -> None:
    html = page()
    assert "<h1>mini-Vega: which quantization scheme?</h1>" in html and "Take int8." in html
    assert html.count("<img ") == 2 * 5 and html.count("<svg ") == 1
    assert "not made: no group &lt;fits&gt;" in html
    assert not re.search(r'(?:src|href)="(?!data:|https://(?:openmoji|creativecommons)\.org)', html)
    visible = re.sub(r"<style>.*?</style>|<[^>]+>", "", html, flags=re.DOTALL)
    assert not re.search(r"\b(inf|nan|None)\b", visible)


def test_a_grid_of_many_prompts_shows_the_first_few() -> None:
    pictures = {"int8": [Image.new("RGB", (64, 64))] * 20}
    grid = schemes_page.grid(figures(), [f"prompt {number}" for number in range(20)], pictures)
    assert len(grid.columns) == len(grid.rows[0].pictures) == 8


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"noise": {"load": 3.0, "others": 0.6, "steal": 0.0, "flagged": True}}, "The machine was busy (load 3.0"),
        ({"interleaved": False}, "measured one after the other"),
        ({"random_weights": True}, "The weights are random"),
        ({"reference": "fp16 in bf16"}, "Fidelity is against fp16 in bf16"),
        ({"doubts": ["look at them"]}, "look at them"),
    ],
)
def test_what_is_to_be_known_before_comparing_is_said(changes: dict, said: str) -> None:
    assert said in " ".join(schemes_page.warnings(figures(**changes)))
    assert schemes_page.warnings(figures()) == []


def test_settings_of_the_device_that_change_nothing_are_named() -> None:
    idle = [one | {"sqnr_db": 36.0} if one["dynamic_group"] is not None else one for one in ROWS]
    (said,) = schemes_page.warnings(figures(rows=idle))
    assert said.startswith("int8-weights-dynamic-off, int8-weights-dynamic-32, int8-weights-dynamic-128 predict")
