"""An IR folder that lacks a part, and one of fixed shapes that is asked for others: told before anything is drawn."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from stages.files import layout, manifest
from stages.ir import anatomy, parts
from stages.machine import sizes
from stages.studio import request, shelf
from stages.studio.request import Refused
from tests.fake_ir import fake_ir, put
from tests.tiny_ir import sampler

MODEL = "mini-vega"
GRAPH = """<net name="Model0"><layers>
<layer id="0" name="sample" type="Parameter" version="opset1">
    <data shape="{unet}" element_type="f32" /></layer>{guidance}</layers></net>"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    fake_ir(tmp_path, MODEL)
    return layout.ir(MODEL, "fp16")


def described(folder: Path) -> None:
    said = manifest.read(folder, rerun="")
    manifest.write(folder, **{name: said[name] for name in ("stage", "inputs", "settings", "facts")})


def fixed(folder: Path, unet: str, guidance: str = "") -> Path:
    put(folder / "unet/openvino_model.xml", GRAPH.format(unet=unet, guidance=guidance).encode())
    put(folder / "vae_decoder/config.json", json.dumps({"block_out_channels": [8, 8, 8, 8]}).encode())
    described(folder)
    return folder


@pytest.mark.parametrize("lost", ["unet", "vae_decoder", "unet/openvino_model.xml", "text_encoder/openvino_model.bin"])
def test_a_part_that_is_missing_is_named_with_its_stage(folder: Path, lost: str) -> None:
    path = folder / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    described(folder)  # and the manifest does not know of it
    with pytest.raises(FileNotFoundError, match=f"{lost}.* is missing: run 'dvc repro export@{MODEL}'"):
        sizes.of_ir(folder)
    if lost.startswith("unet"):
        with pytest.raises(FileNotFoundError, match="unet/openvino_model.xml is missing"):
            anatomy.stored(folder)
    assert "fp16" not in shelf.find()[MODEL]


def test_a_graph_that_is_no_text_is_named(folder: Path) -> None:
    put(folder / "unet/openvino_model.xml", b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=f"openvino_model.xml is not a graph .*run 'dvc repro export@{MODEL}'"):
        anatomy.stored(folder)


def test_fixed_shapes_draw_their_own_size_alone(folder: Path) -> None:
    fixed(folder, "2,4,8,8")
    parts.require_size(folder, [sampler(width=64, height=64)])
    wrong = r"fp16 draws 64 x 64 pixels alone, and model.mini-vega.sampler asks for 128 x 64: set its width and height"
    with pytest.raises(ValueError, match=f"{wrong}.*run 'dvc repro -f export@mini-vega'"):
        parts.require_size(folder, [sampler(width=128, height=64)])
    with pytest.raises(ValueError, match="and calibration.sizes asks for 64 x 96"):
        parts.require_size(folder, [sampler(width=64, height=96)], "calibration.sizes")
    item = shelf.item(folder)
    assert request.make(item, prompt="a cat").width == 64
    with pytest.raises(Refused, match="height must be 64 with mini-vega fp16, whose shapes are fixed, got 128"):
        request.make(item, prompt="a cat", height=128)


@pytest.mark.parametrize(
    ("rows", "guidance", "given", "said"),
    [("1", 5.0, "", "takes 1 rows a step alone, .*guidance 5 asks for 2: set guidance to 1"),
     ("2", 1.0, "", "takes 2 rows .*guidance 1 asks for 1: set guidance above 1"),
     ("2", 8.0, '<layer name="timestep_cond" type="Parameter"/>', "guidance 8 asks for 1")],
)  # fmt: skip
def test_fixed_rows_take_their_own_guidance_alone(folder: Path, rows: str, guidance: float, given: str, said: str):
    fixed(folder, f"{rows},4,?,?", given)
    with pytest.raises(ValueError, match=said):
        parts.require_size(folder, [sampler(width=64, height=64, guidance=guidance)])


def test_open_shapes_take_everything(folder: Path) -> None:
    fixed(folder, "?,4,?,?")
    parts.require_size(folder, [sampler(width=48, height=96)])
    assert parts.fixed_px(folder) == (None, None)
