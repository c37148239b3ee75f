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
