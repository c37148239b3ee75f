"""The stage and command `speed`, on a tiny model and a miniature: drawn in turns, judged, told; what it refuses."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import speed as stage
from stages.describe import describe
from stages.measurement import paces, stored
from stages.measurement.kept import file_name
from stages.report import speed_table
from stages.settings import speeds
from tests.test_benchmark import REPOSITORY, prepare

FEW = ["benchmark.prompts=2", "model.base.sampler.steps=12"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepare(tmp_path, share=False))
    shutil.copytree(REPOSITORY / "conf", "conf")
    shutil.copytree(REPOSITORY / "miniatures/weights/tiny-vae", "miniatures/weights/tiny-vae")
    describe()
    return tmp_path


def shown(model: str = "base") -> dict:
    return json.loads(Path(f"reports/speed/{model}/figures.json").read_text())


def test_a_row_for_every_way_beside_fp16_and_exact(folder: Path, capsys: pytest.CaptureFixture) -> None:
    words = ["evaluate_every=2", "deep_every=2", "static_shapes=true", "steps=9", "decoder=int8"]
    stage.main(["base", *words, *FEW])
    rows = {row["name"] if row["precision"] == "int8" else "fp16": row for row in shown()["rows"]}
    assert list(rows) == ["fp16", "exact", *words]
    assert rows["exact"]["psnr_db"] is None and rows["exact"]["ssim"] == 1 and rows["exact"]["clip_drop_percent"] == 0
    assert rows["exact"]["speed"] == {"ratio": 1.0, "low": 1.0, "high": 1.0}
    assert [rows[name]["unet_rows"] for name in ("exact", *words)] == [24, 18, 12, 24, 18, 24]
    assert rows["deep_every=2"]["outer_rows"] == 12
    assert rows["steps=9"]["sampler"] == "EulerDiscreteScheduler, 9 steps"
    assert all(row["picture_s"]["n"] == 2 and len(row["per_prompt"]) == 2 for row in rows.values())
    said = capsys.readouterr().out
    assert "No speed surely passes on 2 prompts" in said and "int8 evaluate_every=2" in said
    with (folder / "reports/speed/base/figures.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == [row["name"] for row in shown()["rows"]]
    assert "| int8 steps=9 | 18.0 |" in (folder / "reports/speed/base/table.md").read_text()
    assert Image.open(folder / "reports/speed/base/grid.png").size[1] > 7 * 32


def test_figures_are_what_pictures_say(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row's PSNR by hand, from the pictures that were drawn."""
    seen: list[paces.Drawn] = []
    write = stage.write
    monkeypatch.setattr(
        stage, "write", lambda found, drawn, prompts: (seen.extend(drawn), write(found, drawn, prompts))
    )
    stage.main(["base", "steps=9", *FEW])
    _, exact, other = seen
    errors = [
        np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)
        for a, b in zip(exact.pictures, other.pictures, strict=True)
    ]
    by_hand = np.median(10 * np.log10(255**2 / np.array(errors)))
    assert shown()["rows"][2]["psnr_db"] == pytest.approx(by_hand, abs=0.01)


def test_the_selected_speed_alone_is_what_the_stage_draws(folder: Path) -> None:
    stage.main(["base", "speed.name=mine", "speed.evaluate_every=3", *FEW])
    assert [row["name"] for row in shown()["rows"]] == ["exact", "exact", "mine"]


def test_of_exact_and_of_a_refiner_there_is_nothing_and_old_figures_go(folder: Path, capsys) -> None:
    Path("reports/speed/base").mkdir(parents=True)
    Path("reports/speed/base/table.md").write_text("of another speed")
    stage.main(["base"])
    assert [path.name for path in Path("reports/speed/base").iterdir()] == ["figures.json"]
    assert shown()["rows"] == [] and "exact: nothing is spared" in capsys.readouterr().out
    stage.main(["refiner", "fast"])
    assert shown("refiner")["why"] == "a refiner draws no picture by itself"


def test_a_model_of_few_steps_that_a_speed_spares_nothing(folder: Path, capsys) -> None:
    stage.main(["base", "speed.name=mine", "speed.evaluate_every=2", "model.base.sampler.steps=4"])
    assert "mine: nothing is spared" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["base", "all", "fast"], "all goes alone"),
        (["base", "fsat"], "speed 'fsat' is not in conf/speed"),
        (["base", "fast", "tiny_vae.kind=none"], "tiny_vae.kind is none"),
        (["base", "speed.evaluate_every=1"], "speed.evaluate_every must be at least 2"),
        (["elsewhere", "fast"], "model 'elsewhere' is not selected"),
    ],
)
def test_mistakes_end_in_one_line_before_anything_is_drawn(folder: Path, capsys, argv: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as ended:
        stage.main(argv)
    assert ended.value.code == 2 and said in capsys.readouterr().err
    assert not Path("reports/speed").exists()


def test_prompts_are_as_many_as_fit_the_minutes(folder: Path) -> None:
    stage.main(["base", "steps=9", "benchmark.prompts=8", "benchmark.minutes=0.000001", FEW[1]])
    assert shown()["prompts"] == 1


def test_a_killed_run_goes_on_with_the_pictures_that_it_has(folder: Path) -> None:
    argv = ["base", "steps=9", "deep_every=2", "benchmark.prompts=6", FEW[1]]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    child = subprocess.Popen([sys.executable, "-m", "stages.speed", *argv], env=environment, stderr=subprocess.DEVNULL)
    place = "artifacts/benchmark/.base-speed.unfinished-*/*.safetensors"
    while len(list(folder.glob(place))) < 6 and child.poll() is None:
        time.sleep(0.01)
    child.kill()
    child.wait()
    found = {path.stem.rpartition("-")[0]: stored.load(path)[1]["seconds"] for path in folder.glob(place)}
    assert 6 <= len(found) < 24
    stage.main(argv)
    rows = {f"{one['precision']}-{file_name(one['name'])}": one["picture_s"]["raw"] for one in shown()["rows"]}
    for name, seconds in found.items():
        whose, _, number = name.rpartition("-")
        assert rows[whose][int(number)] == pytest.approx(seconds, abs=1e-6)
    assert not list(folder.glob("artifacts/benchmark/.base-speed*"))


def row(name: str, seconds: float, ssim: list[float], scores: list[tuple[float, float]]) -> dict:
    prompts = [
        {"psnr_db": 30.0, "ssim": one, "clip_score_reference": before, "clip_score": after}
        for one, (before, after) in zip(ssim, scores, strict=True)
    ]
    found = {"name": name, "precision": "int8", "picture_s": {"median": seconds, "n": 3}, "per_prompt": prompts}
    return found | {"speed": {"ratio": 1.0 / seconds, "low": 1.0, "high": 2.0}}


def test_the_fastest_that_passes_is_told() -> None:
    from types import SimpleNamespace

    bounds = SimpleNamespace(min_ssim=0.9, max_clip_drop_percent=0.5)
    good, poor = [(90.0, 90.0)] * 8, [(90.0, 80.0)] * 8
    rows = [
        row("exact", 2.0, [1.0] * 8, good) | {"precision": "fp16"},
        row("exact", 1.0, [1.0] * 8, good),
        row("near", 0.5, [0.95] * 8, good),
        row("blurred", 0.3, [0.8] * 8, good),
        row("astray", 0.2, [0.95] * 8, poor),
        row("few", 0.1, [0.95] * 3, good[:3]),
    ]
    speed_table.judge({"rows": rows, "clip_model": {"title": "a CLIP"}}, bounds)
    verdicts = [one["verdict"] for one in rows]
    assert verdicts == ["passed", "compared with", "passed", "failed", "failed", "undecided"]
    assert [one["reason"] for one in rows[3:5]] == ["SSIM", "CLIP drop"]
    assert speed_table.fastest(rows)["name"] == "near"
    said = speed_table.told({"rows": rows, "prompts": 8, "random_weights": False})
    assert said.startswith("Fastest that passes: int8 near, 0.50 s a picture, 2.00×") and "4.00× of fp16" in said


def test_every_shipped_speed_draws_a_miniature_within_its_bounds(tmp_path: Path, monkeypatch) -> None:
    """mini-Vega in FP16 and with INT8 weights alone, which takes no calibration: files and single settings."""
    from stages.download import download
    from stages.export import export
    from stages.files import layout
    from stages.quantize import quantize
    from stages.scorer import scorer
    from stages.settings import composing, config

    monkeypatch.chdir(tmp_path)
    for name in ("conf", "miniatures/weights", "stages/prompts"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).symlink_to(REPOSITORY / name)
    Path("params.yaml").write_text(composing.compose(["model=[mini-vega]", "quantization=int8-weights"]))
    settings = config.load((*stage.READS, "model.{model}", "quantization", "clip"), "mini-vega", [])
    download("mini-vega", settings.model.source, settings.model.licence)
    export("mini-vega", settings.model)
    quantize("mini-vega", settings.quantization)
    scorer(settings.clip)
    describe()
    stage.main(["mini-vega", "all", "benchmark.prompts=2"])
    found = {one["name"]: one for one in shown("mini-vega")["rows"][1:]}
    assert list(found) == [way.name for way in speeds.ways([])]
    assert layout.lighter("mini-vega", "int8-weights", "fast").is_dir()
    for name in ("balanced", "fast", "static shapes", "every 3rd evaluated", "INT8 decoder", "12 steps"):
        assert found[name]["ssim"] > 0.9 and found[name]["clip_drop_percent"] < 2, name
    assert found["balanced"]["unet_rows"] == 26 and found["fast"]["unet_rows"] == 24
