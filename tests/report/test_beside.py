"""What commands measured beside the pipeline is on the page: one's own before the repository's, reasons too."""

from __future__ import annotations

import json
from pathlib import Path

from stages import compare, describe
from stages.files import layout, placing
from stages.report import beside
from tests.fake_reports import fake_reports
from tests.report import test_schemes_page
from tests.report.test_page import Page, read

PEERS = {
    "title": "mini-Vega", "size_px": [64, 64],
    "told": "A picture of int8 takes 0.80× the time of the best INT8 of others.",
    "heads": ["", "a picture", "int8 takes"],
    "rows": [
        {"name": "int8", "about": "our quantized IR", "skipped": None, "cells": ["int8", "0.12 s", "–"]},
        {"name": "sdcpp", "about": "stable-diffusion.cpp", "skipped": "not installed: <no wheel>", "cells": []},
    ],
}  # fmt: skip


def speed(name: str, picture_s: float, verdict: str, reason: str = "") -> dict:
    row = {
        "name": name,
        "precision": "int8",
        "unet_rows": 50.0,
        "outer_rows": 0.0,
        "verdict": verdict,
        "reason": reason,
    }
    row |= {"psnr_db": 40.0, "ssim": 0.99, "clip_score": 93.0, "clip_drop_percent": 0.1}
    times = {"picture_s": {"median": picture_s, "n": 3}, "speed": {"ratio": 1 / picture_s, "low": 0.9, "high": 2.5}}
    return row | times


SPEEDS = {
    "title": "mini-Vega", "size_px": [64, 64], "random_weights": False, "prompts": 3,
    "rows": [speed("exact", 1.1, "passed") | {"precision": "fp16"}, speed("exact", 1.0, "compared with"),
             speed("balanced", 0.5, "passed"), speed("fast", 0.4, "failed", "SSIM < 0.9")],
}  # fmt: skip


def write(path: Path, content: dict) -> None:
    placing.write_text(path, json.dumps(content))


def test_ones_own_figures_stand_before_the_repositorys_and_true_size_beside_both(tmp_path, monkeypatch):
    monkeypatch.chdir(fake_reports(tmp_path, ("mini-vega",)))
    found = read(tmp_path)
    shown = test_schemes_page.figures()
    write(layout.reference("schemes", "mini-vega"), shown | {"title": "kept"})
    write(layout.reference("schemes", "synthetic-vega"), shown | {"title": "true size"})
    write(layout.reference("schemes", "mini-sdxl"), shown | {"title": "not shown"})
    assert [(one["title"], one["own"]) for one in beside.schemes(found)] == [("true size", False), ("kept", False)]
    write(layout.schemes("mini-vega") / "figures.json", shown | {"title": "own"})
    assert [(one["title"], one["own"]) for one in beside.schemes(found)] == [("true size", False), ("own", True)]


def test_the_page_has_a_row_for_each_peer_and_the_reason_of_those_that_did_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(fake_reports(tmp_path, ("mini-vega",)))
    write(layout.reference("peers", "mini-vega"), PEERS)
    compare.main([])
    text = Path("reports/index.html").read_text()
    assert Page(text).open == [] and PEERS["told"] in text and "not installed: &lt;no wheel&gt;" in text
    assert "python -m stages.peers mini-vega" in text


def test_speeds_end_in_the_fastest_that_passes_and_a_stage_that_compared_nothing_hides_no_others(tmp_path, monkeypatch):
    monkeypatch.chdir(fake_reports(tmp_path, ("mini-vega",)))
    write(layout.reference("speed", "mini-vega"), SPEEDS)
    write(
        layout.speed("mini-vega") / "figures.json",
        {"model": "mini-vega", "rows": [], "why": "exact: nothing is spared"},
    )
    (one,) = beside.speeds(read(tmp_path))
    assert (one["own"], [row["fastest"] for row in one["rows"]]) == (False, [False, False, True, False])
    compare.main([])
    text = Path("reports/index.html").read_text()
    assert Page(text).open == [] and "Fastest that passes: int8 balanced, 0.50 s a picture" in text
    assert "failed<small>SSIM &lt; 0.9</small>" in text and "python -m stages.speed mini-vega" in text
    write(layout.speed("mini-vega") / "figures.json", SPEEDS | {"rows": SPEEDS["rows"][:2]})
    (one,) = beside.speeds(read(tmp_path))
    assert one["own"] and one["told"].startswith("No speed surely passes on 3 prompts")


def test_describe_notes_what_was_measured_so_that_the_page_is_made_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    describe.beside()
    before = layout.BESIDE.read_text()
    write(layout.peers("mini-vega") / "figures.json", PEERS)
    describe.beside()
    assert layout.BESIDE.read_text() != before and "reports/peers/mini-vega/figures.json" in layout.BESIDE.read_text()
    noted = layout.BESIDE.stat().st_mtime_ns
    describe.beside()
    assert layout.BESIDE.stat().st_mtime_ns == noted


def test_figures_measured_here_are_kept_for_the_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(layout.peers("mini-vega") / "figures.json", PEERS)
    compare.keep_beside()
    assert json.loads(layout.reference("peers", "mini-vega").read_text()) == PEERS
