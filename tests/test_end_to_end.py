"""One run of the whole pipeline by DVC, on the smallest miniature, with other settings than the default.

Runs in a copy of the working tree without cache, as on a fresh machine: every stage, the pictures and the page.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.whole_run import dvc, whole_run


@pytest.fixture(scope="module")
def clone() -> Path:
    return whole_run()


def record(clone: Path) -> dict:
    return json.loads((clone / "reports/benchmark/mini-vega/record.json").read_text())


def test_only_the_selected_model_is_run(clone: Path) -> None:
    assert [path.name for path in (clone / "artifacts/ir").iterdir()] == ["mini-vega"]


def test_the_settings_of_the_command_line_reach_the_result(clone: Path) -> None:
    assert record(clone)["executed_steps"] == 20


def test_int8_is_executed_and_halves_the_unet(clone: Path) -> None:
    before, after = (record(clone)["precisions"][name] for name in ("fp16", "int8"))
    assert after["executed_int8"] > 0
    assert after["int8_operations"] > 0 == before["int8_operations"]
    assert after["unet_size_mb"] <= 0.6 * before["unet_size_mb"], "what stays float weighs more in so small a UNet"
    assert after["macs"]["share_int8"] > 0.9 and before["macs"]["int8"] == 0
    assert record(clone)["doubts"] == []


def test_the_reference_is_itself_when_it_runs_again(clone: Path) -> None:
    assert record(clone)["controls"]["reference_again"]["identical"] is True


def test_the_judge_reads_subject_and_background_out_of_every_picture(clone: Path) -> None:
    rows = record(clone)["precisions"]
    assert [row["retrieval"] for row in rows.values()] == [{"subject": 1.0, "background": 1.0}] * 2


def test_int8_predicts_nearly_the_same_noise(clone: Path) -> None:
    assert record(clone)["precisions"]["int8"]["sqnr_db"] > 20


def test_pictures_stand_on_the_background_that_the_prompt_asks_for(clone: Path) -> None:
    from miniatures.emoji import COLOURS

    folder = clone / "reports/benchmark/mini-vega/images"
    entries = json.loads((folder / "images.json").read_text())
    drawn = [entry for entry in entries if entry["task"] == "text-to-image"]
    assert {entry["precision"] for entry in drawn} == {"fp16", "int8", "reference"}
    for entry in drawn:
        picture = np.asarray(Image.open(folder / entry["file"]).convert("RGB")).astype(int)
        border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        seen = np.median(border, axis=0)
        nearest = min(COLOURS, key=lambda name: np.abs(seen - COLOURS[name]).sum())
        assert f"on a {nearest} " in entry["prompt"] or f"on an {nearest} " in entry["prompt"], entry["file"]


def test_mini_clip_reads_the_prompts_subjects_out_of_the_pictures(clone: Path) -> None:
    """Against the captions of every subject on the picture's background, in its style."""
    from miniatures import emoji
    from stages.measurement import clip

    model = clip.load(clone / "artifacts/scorer")
    place = {emoji.caption(*combination): combination for combination in emoji.combinations()}
    folder = clone / "reports/benchmark/mini-vega/images"
    entries = json.loads((folder / "images.json").read_text())
    for entry in (entry for entry in entries if entry["task"] == "text-to-image"):
        subject, colour, style = place[entry["prompt"]]
        others = [emoji.caption(name, colour, style) for name in emoji.subjects()]
        texts = model.text_features(others)
        picture = model.picture_features([Image.open(folder / entry["file"]).convert("RGB")])[0]
        likeness = texts @ picture / np.linalg.norm(texts, axis=1)
        assert subject in [emoji.subjects()[n] for n in likeness.argsort()[-3:]], entry["file"]


def test_pictures_are_scored_by_mini_clip(clone: Path) -> None:
    assert record(clone)["clip_model"]["title"] == "mini-CLIP"
    before, after = (record(clone)["precisions"][name] for name in ("fp16", "int8"))
    assert abs(before["clip_score"] - after["clip_score"]) < 3
    assert after["clip_similarity"] > 0.9


def test_the_page_shows_the_model(clone: Path) -> None:
    page = (clone / "reports/index.html").read_text()
    assert "mini-Vega" in page
    embedded = re.findall(r"data:image/webp;base64,([A-Za-z0-9+/=]+)", page)
    assert embedded
    for encoded in embedded:
        Image.open(io.BytesIO(base64.b64decode(encoded))).load()


def test_two_prompts_pass_no_gate(clone: Path) -> None:
    """Counts and times decide with any number of prompts, so they are not asked for."""
    command = [sys.executable, "-m", "stages.gates", "gates.min_speed_step=null", "gates.min_share_macs_int8=null"]
    run = subprocess.run(
        command, cwd=clone, env=os.environ | {"PYTHONPATH": str(clone)}, capture_output=True, text=True
    )
    assert (run.returncode, run.stdout.count(" passed"), run.stderr) == (3, 0, "")
    found = json.loads((clone / "reports/gates.json").read_text())
    assert found["verdict"] != "passed" and list(found["models"]) == ["mini-vega"]


def schemes(clone: Path, *words: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "stages.schemes", "mini-vega", *words],
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )


def digests(*folders: Path) -> dict[Path, bytes]:
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).digest() for path in files}


def test_schemes_are_compared_in_one_sitting_and_the_selected_ones_results_are_left_alone(clone: Path) -> None:
    """The selected IR serves, its benchmark is not written, and DVC has nothing to do afterwards: see below."""
    kept = clone / "artifacts/ir/mini-vega/int8", clone / "reports/benchmark"
    before = digests(*kept)
    run = schemes(clone, "int8", "int8-weights", "benchmark.prompts=2", "benchmark.steps=4")
    assert run.returncode == 0, run.stderr[-3000:]
    assert digests(*kept) == before
    shown = json.loads((clone / "reports/schemes/mini-vega/figures.json").read_text())
    rows = {row["name"]: row for row in shown["rows"]}
    weights = [name for name in rows if name.startswith("int8-weights-dynamic-")]
    assert set(rows) == {"fp16", "int8", *weights} and len(weights) == 3
    assert rows["int8"]["ir"] == "artifacts/ir/mini-vega/int8"
    for row in rows.values():
        assert row["step_ms"] > 0 and abs(row["clip_score"] - rows["fp16"]["clip_score"]) < 10
    assert rows[weights[0]]["sqnr_db"] > rows["int8"]["sqnr_db"] > 15
    assert rows["int8"]["quantize_s"] > 0, "the stage's own record"
    assert run.stdout.rstrip().splitlines()[-1].startswith(f"reports/schemes/mini-vega/index.html: {shown['advice']}")
    page = (clone / "reports/schemes/mini-vega/index.html").read_text()
    assert page.count("<img ") == 2 * len(rows)
    status = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True).stdout
    assert "schemes" not in status and "artifacts" not in status


def test_the_python_of_the_readme_draws(clone: Path) -> None:
    text = (clone / "README.md").read_text()
    code = re.search(r"In Python:\n\n((?:    .*\n)+)", text)[1]
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(
        command, cwd=clone, env=os.environ | {"PYTHONPATH": str(clone)}, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr[-3000:]
    owls = [np.asarray(Image.open(clone / f"owl-{seed}.png")) for seed in range(4)]
    assert len({owl.tobytes() for owl in owls}) == 4 and owls[0].shape == (64, 64, 3)
    for seed in range(4):
        (clone / f"owl-{seed}.png").unlink()


def test_a_second_run_has_nothing_to_do(clone: Path) -> None:
    run = dvc(clone, "repro")
    assert run.returncode == 0, run.stderr
    assert "Running stage 'benchmark" not in run.stdout + run.stderr
    assert "Running stage 'quantize" not in run.stdout + run.stderr


def test_a_misspelt_override_is_refused_by_name(clone: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "stages.benchmark", "mini-vega", "benchmark.promts=2"],
        cwd=clone,
        env=os.environ | {"PYTHONPATH": str(clone)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    assert "benchmark.promts is not a setting (did you mean prompts?)" in run.stderr
    assert "Traceback" not in run.stderr
