"""The command `peers`, on tiny models: who draws what, who is left out and why, what the figures say."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from stages.describe import describe
from stages.files import layout
from stages.generation import drawing, pipelines
from stages.machine.companion import Companion
from stages.measurement import fidelity
from stages.measurement.kept import Kept
from stages.peers import __main__ as command
from stages.peers import figures, known, on_openvino, on_sdcpp, sitting, table
from stages.peers.work import Work
from stages.settings import config
from tests.test_benchmark import REPOSITORY, prepare
from tests.tiny_ir import CPU, sampler, tiny_root

PROMPTS = [SimpleNamespace(id=f"p{n}", text=text) for n, text in enumerate(("red", "a cat", "rain"))]
FEW = ["benchmark.prompts=2", "benchmark.steps=3"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(prepare(tmp_path, share=False))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))  # for processes that are started elsewhere
    shutil.copytree(tiny_root() / "artifacts/checkpoints/base", "artifacts/checkpoints/base")
    describe()
    return tmp_path


class Here:
    """A companion in this process, which has imported everything by now."""

    def __init__(self, make, *arguments) -> None:
        self.make = lambda: make(*arguments)

    def ready(self) -> None:
        self.made = self.make()

    def ask(self, method: str, *arguments):
        return getattr(self.made, method)(*arguments)

    def end(self) -> None:
        pass


def work(steps: int = 3) -> Work:
    return Work("base", sampler(steps=steps), CPU, "int8", steps)


def shown() -> dict:
    return json.loads(Path("reports/peers/base/figures.json").read_text())


def test_peers_draw_and_whoever_cannot_is_a_row_with_the_reason(folder: Path, capsys, monkeypatch) -> None:
    """stable-diffusion.cpp is not installed, or knows no model as small as this one."""
    monkeypatch.setattr(on_openvino, "DEFAULT_SAMPLES", 4)
    monkeypatch.setattr(sitting, "Companion", Here)
    command.main(["base", "torch-f32", "optimum-int8", "sdcpp", *FEW])
    rows = {row["name"]: row for row in shown()["rows"]}
    assert list(rows) == ["fp16", "int8", "torch-f32", "optimum-int8", "sdcpp"]
    assert [name for name, row in rows.items() if row["skipped"]] == ["sdcpp"]
    assert "cyllama" in rows["sdcpp"]["skipped"] or "stable-diffusion.cpp" in rows["sdcpp"]["skipped"]
    for row in (row for row in rows.values() if not row["skipped"]):
        assert row["picture_s"]["n"] == 2 and row["in_turns"] and row["memory_gb"] > 0.05
        assert row["cold_s"] == row["load_s"] + row["first_s"] and len(row["per_prompt"]) == 2
        assert len(list(Path("reports/peers/base/images", row["name"]).glob("*.png"))) == 2
    assert rows["fp16"]["ssim"] == 1 and (rows["torch-f32"]["psnr_db"] or 99) > 50
    assert rows["int8"]["time_ratio"] == {"ratio": 1.0, "low": 1.0, "high": 1.0}
    assert rows["optimum-int8"]["quantize_s"] > 0 and rows["torch-f32"]["quantize_s"] is None
    said = capsys.readouterr().out
    assert "Traceback" not in said and rows["sdcpp"]["skipped"] in said and shown()["told"] in said
    assert "the best INT8 of others (optimum-int8," in said and "PyTorch's best (torch-f32," in said
    with Path("reports/peers/base/figures.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == list(rows)
    assert Image.open("reports/peers/base/grid.png").size[1] > 5 * 32
    assert not list(Path("artifacts/benchmark").glob(".base-peers*"))


def test_the_ir_of_optimums_way_is_made_once(folder: Path, monkeypatch) -> None:
    settings = config.load(command.READS, "base", FEW)
    made = on_openvino.make("optimum-hybrid", work(), settings.prompts, 4)
    before = {path: path.stat().st_mtime_ns for path in layout.peer("base", "optimum-hybrid").rglob("*.xml")}
    monkeypatch.setattr(on_openvino.apart, "run", None)
    assert on_openvino.make("optimum-hybrid", work(), settings.prompts, 4) == made > 0
    assert before == {path: path.stat().st_mtime_ns for path in layout.peer("base", "optimum-hybrid").rglob("*.xml")}
    assert 'type="FakeQuantize"' in (layout.peer("base", "optimum-hybrid") / "unet/openvino_model.xml").read_text()


def test_a_process_of_its_own_draws_the_same(folder: Path) -> None:
    one = Companion(known.painter, "fp16", work())
    try:
        one.ready()
        picture, seconds = one.ask("picture", "red", 7)
        assert one.ask("peak_mb") > 50 and seconds > 0
    finally:
        one.end()
    assert np.array_equal(picture, known.painter("fp16", work()).picture("red", 7, False)[0])


def test_equal_latents_give_equal_pictures(folder: Path) -> None:
    picture, seconds = known.painter("fp16", work()).picture("red", 7)
    pipeline = pipelines.load(layout.ir("base", "fp16"), "text-to-image", sampler(), CPU)
    assert np.array_equal(picture, np.asarray(drawing.generate(pipeline, "red", sampler(), 7))) and seconds > 0
    other, _ = known.painter("torch-f32", work()).picture("red", 7, False)
    assert (fidelity.psnr_db(picture, other) or 99) > 50
    exact, _ = known.painter("reference", work()).picture("red", 7)
    assert np.array_equal(picture, exact)  # as the device is set to float32


def test_a_checkpoint_becomes_one_file_with_the_very_same_weights(folder: Path) -> None:
    from safetensors.numpy import load_file

    files = {prefix: on_sdcpp._weights(work().checkpoint / part) for part, prefix in on_sdcpp.PREFIXES.items()}
    on_sdcpp.join(files, folder / "all.safetensors")
    joined = load_file(folder / "all.safetensors")
    parts = {prefix + name: array for prefix, file in files.items() for name, array in load_file(file).items()}
    assert joined.keys() == parts.keys() and "unet.conv_in.weight" in joined
    assert all(np.array_equal(array, parts[name]) for name, array in joined.items())


def test_an_unknown_peer_and_a_refiner_are_refused_in_one_line(folder: Path, capsys) -> None:
    for argv, said in (
        (
            ["base", "tourch"],
            "peer 'tourch' is not known; there are torch-f32, torch-bf16, torch-compile, optimum-int8",
        ),
        (["refiner"], "a refiner draws no picture by itself"),
        (["base", "benchmark.warmup=3"], "benchmark.warmup has no effect here"),
    ):
        with pytest.raises(SystemExit) as ended:
            command.main(argv)
        assert ended.value.code == 2 and said in capsys.readouterr().err
    assert not Path("reports/peers").exists()


def test_all_are_in_memory_together_or_each_beside_ours() -> None:
    needs = {"fp16": 7.0, "int8": 6.0, "torch-f32": 8.0, "genai": 6.0}
    assert sitting.grouped(needs, 27.0) == [list(needs)]
    assert sitting.grouped(needs, 14.0) == [["int8", "fp16"], ["int8", "torch-f32"], ["int8", "genai"]]
    assert sitting.grouped(needs, 13.0) == [["int8", "fp16"], ["torch-f32"], ["int8", "genai"]]
    assert sitting.grouped(needs, 9.0) == [["int8"], ["fp16"], ["torch-f32"], ["genai"]]


def test_what_does_not_fit_says_what_it_needs(folder: Path) -> None:
    fit, reasons = sitting.fitted(["fp16", "torch-f32"], work(), 0.1)
    assert fit == [] and reasons["torch-f32"].startswith("does not fit: needs 0.6 GB of memory, 0.1 of ")


class Painter:
    """Stands in for a process."""

    drawn: list[str] = []

    def __init__(self, _make, name: str, _work: Work) -> None:
        self.name = name

    def ready(self) -> None:
        if self.name == "genai":
            raise ValueError("not installed")

    def ask(self, method: str, prompt: str = "", seed: int = 0, warm: bool = True):
        if method == "peak_mb":
            return 500.0
        if prompt == "a cat" and self.name == "torch-f32" and warm:
            raise ValueError("RuntimeError: gave up")
        Painter.drawn.append(f"{self.name} {prompt}")
        return np.full((4, 4, 3), seed, np.uint8), 2.0 if self.name == "fp16" else 1.0

    def end(self) -> None:
        pass


@pytest.fixture
def painters(monkeypatch: pytest.MonkeyPatch) -> type[Painter]:
    monkeypatch.setattr(sitting, "Companion", Painter)
    monkeypatch.setattr(known, "gb", lambda *_: 0.0)
    monkeypatch.setattr(Painter, "drawn", [])
    return Painter


def sit(names: list[str], kept: Kept, minutes: float | None = None) -> list[sitting.Seat]:
    ticks: list[int] = []
    how = SimpleNamespace(seed=1, minutes=minutes)
    (group,) = sitting.sit(names, work(), PROMPTS, how, kept, lambda: ticks.append(1))
    return group


def test_turns_begin_with_another_one_each_time_and_whoever_fails_leaves(painters) -> None:
    group = sit(["fp16", "int8", "torch-f32", "genai"], Kept())
    assert painters.drawn == [
        "fp16 red", "int8 red", "torch-f32 red",  # cold
        "fp16 red", "int8 red", "torch-f32 red",
        "int8 a cat", "fp16 a cat",
        "fp16 rain", "int8 rain",
    ]  # fmt: skip
    assert [seat.reason for seat in group] == [None, None, "RuntimeError: gave up", "not installed"]
    assert [seat.seconds for seat in group[:2]] == [[2.0] * 3, [1.0] * 3]


def test_a_later_run_draws_nothing_twice(painters, tmp_path: Path) -> None:
    sit(["fp16", "int8"], Kept(tmp_path))
    (piece,) = tmp_path.glob("fp16-int8-int8-2-*.safetensors")
    piece.unlink()
    painters.drawn.clear()
    again = sit(["fp16", "int8"], Kept(tmp_path))
    assert painters.drawn == ["int8 rain"]
    assert [len(seat.pictures) for seat in again] == [3, 3] and again[0].cold["peak_mb"] == 500.0


def test_prompts_are_as_many_as_fit_the_minutes(painters) -> None:
    assert [len(seat.seconds) for seat in sit(["fp16", "int8"], Kept(), minutes=0.1)] == [2, 2]


def seat(name: str, seconds: list[float]) -> sitting.Seat:
    return sitting.Seat(name, work(), Kept(), "", [np.zeros((16, 16, 3), np.uint8)] * len(seconds), seconds)


def test_ratios_are_our_seconds_by_theirs() -> None:
    mine, other = seat("int8", [1.0, 2.0, 3.0]), seat("genai", [2.0, 5.0, 6.0])
    ratio, together = figures.against(other, [mine, other], [[mine, other]])
    assert together and ratio["ratio"] == 0.5 and ratio["low"] == 0.4 and ratio["high"] == 0.5
    ratio, together = figures.against(other, [other], [[mine], [other]])
    assert not together and ratio["ratio"] == 0.4  # median by median: 2 of 5
    assert figures.against(other, [other], [[other]]) == (None, False)


def test_figures_by_prompt_are_what_pictures_say() -> None:
    one, reference = seat("genai", [1.0]), seat("reference", [1.0])
    one.pictures = [np.ones((16, 16, 3), np.uint8)]
    assert figures.likenesses(one, reference, [93.25])[0]["psnr_db"] == 48.13  # every pixel off by one
    assert figures.likenesses(one, None, None) == [{"psnr_db": None, "ssim": None, "clip_score": None}]
    summed = figures.summary(
        [{"psnr_db": p, "ssim": s, "clip_score": 90.0} for p, s in ((40, 0.9), (None, 1), (50, 0.8))]
    )
    assert summed == {"psnr_db": 45.0, "ssim": 0.9, "clip_score": 90.0}


def row(name: str, seconds: float, ratio: tuple[float, float, float], **more) -> dict:
    found = {
        "name": name,
        "kind": known.PEERS[name].kind,
        "about": name,
        "skipped": None,
        "psnr_db": 40.0,
        "ssim": 0.99,
    }
    found |= {"picture_s": {"median": seconds, "n": 3}, "cold_s": 9.0, "memory_gb": 0.5, "clip_score": 93.0}
    return found | {"time_ratio": dict(zip(("ratio", "low", "high"), ratio, strict=True)), "per_prompt": []} | more


def test_the_last_sentence_sets_ours_against_the_best_of_each_kind() -> None:
    rows = [
        row("int8", 0.2, (1, 1, 1)),
        row("torch-f32", 0.8, (0.25, 0.24, 0.26)),
        row("torch-bf16", 0.5, (0.4, 0.38, 0.43), psnr_db=45.0),
        row("optimum-int8", 0.25, (0.8, 0.75, 0.9), psnr_db=25.0, ssim=0.91),
        row("optimum-hybrid", 0.3, (0.67, 0.6, 0.7)),
        row("genai", 0.1, (2, 1.9, 2.1), skipped="not installed"),
    ]
    found = {"rows": rows, "quantization": "int8", "random_weights": False, "reference": "float32"}
    assert table.told(found) == (
        "A picture of int8 takes 0.80× (0.75–0.90) the time of the best INT8 of others (optimum-int8, 0.25 s) and "
        "0.40× (0.38–0.43) the time of PyTorch's best (torch-bf16, 0.50 s). PSNR and SSIM against float32: int8 "
        "40.0 dB, 0.9900; optimum-int8 25.0 dB, 0.9100; torch-bf16 45.0 dB, 0.9900."
    )
    assert "genai           not installed" not in table.terminal(found) and "genai  not installed" in table.terminal(
        found
    )
    assert "The weights are random" in table.told(found | {"random_weights": True})
    assert table.told(found | {"rows": rows[:1]}) == "A picture of int8 takes 0.20 s; no peer ran."
