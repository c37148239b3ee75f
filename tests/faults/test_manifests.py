"""Manifests and records that are damaged in any way: one line in every stage and command, and never a traceback."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from stages import gates, history
from stages.files import layout, manifest, records, shape
from stages.studio import request, shelf
from tests.fake_gates import judged_reports
from tests.fake_ir import changed, fake_ir, put

ROOT = Path(__file__).resolve().parents[2]
MODEL = "mini-vega"
GOOD = {"stage": "export", "key": "k", "inputs": {}, "settings": {}, "facts": {}, "files": {}}
DAMAGED: dict[str, Any] = {
    "cut off": b'{"files": {',
    "not UTF-8": b"\xff\xfe{}",
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "empty": b"",
    "nothing in it": b"{}",
    "files that are a list": GOOD | {"files": ["a"]},
    "a file of no size": GOOD | {"files": {"a": {"sha256": "x"}}},
    "a file of text": GOOD | {"files": {"a": "x"}},
    "a file of less than nothing": GOOD | {"files": {"a": {"sha256": "x", "size": -1}}},
    "a file elsewhere": GOOD | {"files": {"../../a": {"sha256": "x", "size": 1}}},
    "facts that are a list": GOOD | {"facts": []},
    "inputs of numbers": GOOD | {"inputs": {"ir": 3}},
    "samples in words": GOOD | {"facts": {"samples": "many"}},
    "samples below zero": GOOD | {"facts": {"samples": -3}},
    "a scheme that is a list": GOOD | {"facts": {"scheme": []}},
}
COMMANDS = {
    "export": [MODEL], "calibrate": [MODEL], "quantize": [MODEL], "benchmark": [MODEL], "speed": [MODEL, "all"],
    "schemes": [MODEL, "int8-weights"], "publish": [MODEL, "--to", "dvc"], "generate": [MODEL, "a cat", "cat.png"],
}  # fmt: skip


def content(damaged: Any) -> bytes:
    return damaged if isinstance(damaged, bytes) else json.dumps(damaged).encode()


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_manifest_names_itself_and_what_makes_it_anew(tmp_path: Path, name: str) -> None:
    put(tmp_path / manifest.NAME, content(DAMAGED[name]))
    for read in (manifest.read, manifest.read_whole, manifest.verify):
        with pytest.raises(ValueError, match=r"manifest.json is not .*run 'dvc repro export@x'") as error:
            read(tmp_path, rerun="export@x")
        assert "\n" not in str(error.value) and len(str(error.value)) < 500
    assert not manifest.is_whole(tmp_path)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "conf", "miniatures", "stages"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    fake_ir(tmp_path, MODEL)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_so_in_one_line(project: Path, command: str, capsys: pytest.CaptureFixture) -> None:
    """Of a folder that a stage reads first, before any budget is made of it."""
    for folder in (layout.checkpoint(MODEL), *(layout.ir(MODEL, precision) for precision in ("fp16", "int8"))):
        put(folder / manifest.NAME, content(GOOD | {"files": {"unet/openvino_model.bin": {"sha256": "", "size": "9"}}}))
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"stages.{command}").main(COMMANDS[command])
    said = capsys.readouterr()
    assert ended.value.code in (1, 2) and "manifest.json is not a manifest" in said.out + said.err


def test_what_a_manifest_does_not_say_is_asked_for_by_name(tmp_path: Path) -> None:
    put(tmp_path / manifest.NAME, content(GOOD))
    found = manifest.read(tmp_path, rerun="calibrate@x")
    for part, name in (("facts", "samples"), ("settings", "role"), ("inputs", "ir")):
        with pytest.raises(ValueError, match=f"does not say '{name}': run 'dvc repro calibrate@x'"):
            found[part][name]
    assert found["facts"].get("samples") is None and found == GOOD


def test_an_older_manifest_that_says_less_is_none_the_worse() -> None:
    assert shape.flaw(GOOD | {"facts": {"precision": "int8", "licence": None}}) is None


def test_a_damaged_folder_is_not_on_the_shelf_and_the_others_are(project: Path) -> None:
    assert list(shelf.find()[MODEL]) == ["fp16", "int8"]
    put(layout.ir(MODEL, "int8") / manifest.NAME, content(DAMAGED["a list"]))
    assert list(shelf.find()[MODEL]) == ["fp16"]


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"\xff", b"[" * 100_000, b"3"])
def test_a_damaged_record_names_itself(tmp_path: Path, damaged: bytes) -> None:
    put(tmp_path / "record.json", damaged)
    with pytest.raises(ValueError, match="record.json (is not valid JSON|must hold an object).*run 'dvc repro b@x'"):
        records.read(tmp_path / "record.json", "b@x")


@pytest.mark.parametrize("rows", [None, [], {"int8": 3}])
def test_a_record_without_figures_by_precision_is_none(rows: Any) -> None:
    with pytest.raises(ValueError, match="r.json has no (figures by name|'precisions')"):
        records.require_figures({"precisions": rows}, "r.json")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "says nothing of text-to-image"),
        ({"text-to-image": {"num_inference_steps": "many", "guidance_scale": 1}}, None),
        ({"two-stage": {"base": "../../x"}}, "the base must be letters"),
        ({"two-stage": {"base": ["x"]}}, "the base must be letters"),
    ],
)
def test_a_folder_whose_defaults_are_none_is_not_on_the_shelf(project: Path, said: Any, message: str | None) -> None:
    put(layout.ir(MODEL, "int8") / "generation_config.json", json.dumps(said).encode())
    changed(project, MODEL)
    if message:
        with pytest.raises(ValueError, match=message):
            shelf.item(layout.ir(MODEL, "int8"))
    assert ("int8" in shelf.find()[MODEL]) is (message is None)


@pytest.mark.parametrize("damage", [{"macs": "x"}, {"tasks": []}, {"per_prompt": 3}, {"speedup_step": "fast"}])
def test_figures_of_another_kind_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: dict) -> None:
    monkeypatch.chdir(judged_reports(tmp_path, (MODEL,)))
    path = layout.benchmark(MODEL) / "record.json"
    record = json.loads(path.read_text())
    record["precisions"]["int8"] |= damage
    path.write_text(json.dumps(record))
    (name,) = damage
    for ask in (lambda: gates.gates([], []), lambda: history.history([".", "."], dict(history.TOLERANCES))):
        with pytest.raises(ValueError, match=f"record.json: {name} .* of 'int8' is not what a record has there"):
            ask()


def test_default_numbers_that_are_none_are_refused_by_name(project: Path) -> None:
    said = {"text-to-image": {"num_inference_steps": 4, "guidance_scale": "much", "width": 64, "height": 64}}
    put(layout.ir(MODEL, "int8") / "generation_config.json", json.dumps(said).encode())
    changed(project, MODEL)
    with pytest.raises(ValueError, match="generation_config.json: guidance_scale must be a number, got 'much'"):
        request.own(shelf.item(layout.ir(MODEL, "int8")))
