"""What stages will need: formulas against measured figures, refusals that say what is wrong, forecasts that learn."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages import plan
from stages.machine import budget, description, memory, sizes, speed, usage, watcher
from stages.machine.budget import Drafts, Need
from stages.machine.costs import costs
from stages.machine.memory import FP16, INT8, INT8_WEIGHTS, Request
from stages.settings import composing
from stages.settings.schema import Search
from tests.quantization.test_schemes import settings as quantization
from tests.tiny_ir import CPU, part, sampler, tiny_int8, tiny_ir

MEASURED_GB = [  # anonymous memory of one UNet at 512 pixels and batch 2, after two runs, 2 cores with AMX
    ("sdxl", FP16, "bf16", 5.42),
    ("sdxl", FP16, "f32", 10.73),
    ("sdxl", INT8, "bf16", 3.09),
    ("sdxl", INT8, "f32", 3.30),
    ("sdxl", INT8_WEIGHTS, "bf16", 4.66),
    ("sdxl", INT8_WEIGHTS, "f32", 5.58),
    ("vega", FP16, "bf16", 1.69),
    ("vega", FP16, "f32", 3.40),
    ("vega", INT8, "bf16", 1.07),
    ("vega", INT8, "f32", 1.23),
    ("vega", INT8_WEIGHTS, "bf16", 2.52),
    ("vega", INT8_WEIGHTS, "f32", 3.35),
]

QUANTIZED_GB = [("sdxl", 4.47), ("sdxl-refiner", 5.44)]  # of the process tree: weights first, then 8 samples


@pytest.mark.parametrize(("name", "stored", "floats", "measured_gb"), MEASURED_GB)
def test_memory_of_a_unet_is_foretold_within_a_tenth(name: str, stored: str, floats: str, measured_gb: float) -> None:
    unet = sizes.of_architecture(name)["unet"]
    assert memory.part_gb("unet", unet, Request(512, 2, floats), stored) == pytest.approx(measured_gb, rel=0.1)


def test_other_parts_are_foretold_too() -> None:
    """Measured: 0.69 and 2.35 GB (VAE decoder in bfloat16), 0.40 (encoder), 1.35 (second text encoder)."""
    small, large = (memory.parts_gb(sizes.of_architecture("sdxl"), Request(size, 2, "bf16")) for size in (512, 1024))
    assert small["vae_decoder"] == pytest.approx(0.69, abs=0.07)
    assert large["vae_decoder"] == pytest.approx(2.35, abs=0.1)
    assert small["vae_encoder"] == pytest.approx(0.40, abs=0.05)
    assert small["text_encoder_2"] == pytest.approx(1.35, abs=0.05)


@pytest.mark.parametrize(("name", "measured_gb"), [("sdxl", 2.20), ("vega", 1.81), ("sdxl-refiner", 4.0)])
def test_memory_of_an_export_is_foretold(name: str, measured_gb: float) -> None:
    assert budget.export(sizes.of_architecture(name)).memory_gb == pytest.approx(measured_gb, rel=0.1)


@pytest.mark.parametrize(("name", "measured_gb"), QUANTIZED_GB)
def test_memory_of_quantizing_is_foretold(name: str, measured_gb: float) -> None:
    asked = Request(512, 2, "f32")
    assert budget.quantize(
        sizes.of_architecture(name), asked, 8, quantization("weights_first")
    ).memory_gb == pytest.approx(measured_gb, rel=0.1)


@pytest.mark.parametrize(("name", "measured_gb"), [("sdxl", 7.49), ("vega", 4.11)])
def test_memory_of_rounding_is_foretold(name: str, measured_gb: float) -> None:
    settings = replace(quantization("weights_first"), rounding="gptq")
    needed = budget.quantize(sizes.of_architecture(name), Request(512, 2, "f32"), 8, settings)
    assert needed.memory_gb == pytest.approx(measured_gb, rel=0.1)


def test_a_draft_that_tells_ranges_costs_what_they_take_and_spares_quantizing_them() -> None:
    found, asked = sizes.of_architecture("vega"), Request(1024, 2, "bf16")
    plain, telling = (budget.calibrate(found, asked, FP16, Drafts((98, 0), 112, told)) for told in (0, 98))
    extra = costs()["statistics_gmac_s"] * sizes.unet_gmacs(found["unet"], asked.pixels, 2)
    assert telling.seconds - plain.seconds == pytest.approx(98 * extra)
    assert telling.disk_gb - plain.disk_gb == pytest.approx(98 * 0.00241, rel=0.05), "98 files of Vega's hold 0.236 GB"
    assert telling.memory_gb == plain.memory_gb, "row after row takes what both at once do without extremes"
    settings, one = quantization("weights_first"), replace(asked, batch=1)
    runs = [budget.quantize(found, asked, 112, settings, told).seconds for told in (0, 98)]
    assert runs[0] - runs[1] == pytest.approx(98 * speed.statistics_s(found["unet"], one))
    notebook = replace(settings, scheme="notebook")
    runs = [budget.quantize(found, asked, 112, notebook, told).seconds for told in (0, 98)]
    assert runs[0] == runs[1], "NNCF collects its own"
    alone = [budget.calibrate(found, one, FP16, Drafts((98, 0), 112, told)).memory_gb for told in (0, 98)]
    assert alone[1] - alone[0] == pytest.approx(0.42, rel=0.3), "measured: 2.38 GB in the place of 1.96"


def test_a_drafter_costs_what_making_it_takes_and_spares_the_difference_of_a_step() -> None:
    found, asked, known = sizes.of_architecture("vega"), Request(1024, 2, "bf16"), costs()
    floats, mostly = (budget.calibrate(found, asked, FP16, Drafts(how, 112, 98)) for how in ((98, 0), (7, 91)))
    steps = {stored: speed.step_s(found["unet"], asked, stored) for stored in (FP16, INT8)}
    spared = 91 * (steps[FP16] - known["drafter_share"] * steps[INT8])
    billions = found["unet"].parameters / 1e9
    making = billions * (known["compress_s"] + known["insert_s"] + 2 * known["load_s"]) + known["process_s"]
    assert floats.seconds - mostly.seconds == pytest.approx(spared - making - 2 * steps[INT8])
    assert mostly.disk_gb - floats.disk_gb == pytest.approx(2 * billions), "its weights, and itself"
    rows = budget.calibrate(found, asked, FP16, Drafts((7, 91), 112, 112, (1, 13)))
    one = replace(asked, batch=1)
    quick = speed.statistics_s(found["unet"], one, INT8) + (known["drafter_share"] - 1) * steps[INT8] / 2
    assert rows.seconds - mostly.seconds == pytest.approx(speed.statistics_s(found["unet"], one) + 13 * quick)


def test_a_refiners_base_has_a_drafter_too() -> None:
    refiner, base = (sizes.of_architecture(name) for name in ("sdxl-refiner", "sdxl"))
    asked = Request(1024, 2, "bf16")
    floats, own, both = (
        budget.calibrate(refiner, asked, FP16, Drafts(how, 150, 120, of_base=of_base), base)
        for how, of_base in (((120, 0), (180, 0)), ((8, 112), (180, 0)), ((8, 112), (12, 168)))
    )
    assert both.seconds < own.seconds < floats.seconds
    billions = (refiner["unet"].parameters + base["unet"].parameters) / 1e9
    assert both.disk_gb - floats.disk_gb == pytest.approx(2 * billions)


def test_a_search_takes_its_questions_and_no_longer_than_it_may() -> None:
    found, asked = sizes.of_architecture("vega"), Request(1024, 2, "bf16")
    search = Search(min_sqnr_db=40, max_float_share=0.03, refiner_float_share=0.13, minutes=30)
    none, some, short = (
        budget.quantize(found, asked, 8, replace(quantization("weights_first"), search=one)).seconds
        for one in (None, search, replace(search, minutes=1))
    )
    crops = Request(128, 8, "f32")
    assert some - none == pytest.approx(min(1800, 300 * 0.6 * speed.step_s(found["unet"], crops)))
    assert short - none == pytest.approx(min(60, some - none))


@pytest.mark.parametrize(
    ("floats", "stored", "measured_s"), [("bf16", FP16, 7.5), ("f32", FP16, 14.2), ("bf16", INT8, 5.05)]
)
def test_a_step_is_foretold_by_instruction_set_and_vendor(
    monkeypatch: pytest.MonkeyPatch, floats: str, stored: str, measured_s: float
) -> None:
    """Measured: one row of Vega at 1024 pixels, 2 cores of an EPYC with AVX512-VNNI and bfloat16, 2.6 GHz nominal."""
    monkeypatch.setattr(description, "instruction_sets", lambda: ["avx2", "avx512f", "avx512_vnni", "avx512_bf16"])
    monkeypatch.setattr(description, "cores", lambda: 2)
    monkeypatch.setattr(description, "base_ghz", lambda: 2.6)
    monkeypatch.setattr(description, "vendor", lambda: "AuthenticAMD")
    unet = sizes.of_architecture("vega")["unet"]
    assert speed.step_s(unet, Request(1024, 1, floats), stored) == pytest.approx(measured_s, rel=0.1)
    monkeypatch.setattr(description, "vendor", lambda: None)
    assert speed.step_s(unet, Request(1024, 1, floats), stored) != pytest.approx(measured_s, rel=0.05)


def test_tiles_bound_what_decoding_takes() -> None:
    whole, tiles = (Request(1024, 2, "f32", tiles=tiled) for tiled in (False, True))
    assert memory.decoding_gb(whole) > 5 > 2 > memory.decoding_gb(tiles)


def test_the_recorded_unet_is_fp16_where_memory_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sdxl = sizes.of_architecture("sdxl")
    for memory_gb, floats, expected in ((25, "f32", FP16), (8, "f32", INT8_WEIGHTS), (8, "bf16", FP16)):
        monkeypatch.setattr(description, "memory_gb", lambda memory_gb=memory_gb: memory_gb)
        assert memory.recording_unet("auto", sdxl, Request(512, 2, floats)) == expected
    assert memory.recording_unet("int8-weights", sdxl, Request(512, 2, "bf16")) == INT8_WEIGHTS


def test_a_stage_that_cannot_work_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "memory_gb", lambda: 8.0)
    monkeypatch.setattr(description, "available_memory_gb", lambda: 3.0)
    with pytest.raises(ValueError, match=r"^quantize x needs 5.0 GB of memory, 3.0 of .* 8.0 GB are free: close other"):
        budget.require(Need(5.0, 0.0, 1.0), "quantize x", tmp_path / "out")
    with pytest.raises(ValueError, match=r"needs 12.0 GB of memory.*`make plan` shows which models"):
        budget.require(Need(12.0, 0.0, 1.0), "quantize x", tmp_path / "out")
    with pytest.raises(ValueError, match=r"needs 900000.00 GB of disk"):
        budget.require(Need(1.0, 900000.0, 1.0), "quantize x", tmp_path / "out")


def test_ir_folders_are_sized_and_recognised() -> None:
    base = tiny_ir("base")
    found = sizes.of_ir(base)
    assert set(found) == {"text_encoder", "text_encoder_2", "unet", "vae"}
    weights = (base / "unet/openvino_model.bin").stat().st_size / 2
    assert found["unet"].parameters == pytest.approx(weights, rel=0.05)
    from stages.ir import anatomy

    assert (anatomy.stored(base), anatomy.stored(tiny_int8("base"))) == ("fp16", "int8")


def test_what_a_stage_took_is_recorded_and_corrects_the_next_forecast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own_gb, _ = (count / 1e9 for count in watcher.memory(os.getpid()))  # what earlier tests left in this process
    need = Need(round(own_gb + 0.5, 1), 0.0, 2.0)
    with usage.recorded("export", "x", need, tmp_path / "artifacts/ir/x", size_px=512):
        held = subprocess.Popen([sys.executable, "-c", HOLDS], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        held.stdout.readline()
        mine = np.ones(25_000_000)  # 200 MB
        held.communicate()
    del mine
    told = f"export x: needs {need.memory_gb:.1f} GB of memory, 0.0 GB of disk, about 2 s; there are"
    assert told in capsys.readouterr().err
    record = json.loads((tmp_path / "reports/stages/export/x.json").read_text())
    assert record["facts"] == {"size_px": 512} and record["estimate"]["memory_gb"] == need.memory_gb
    taken = record["taken"]
    assert 0.3 < taken["anonymous_gb"] < taken["total_gb"], "the child's 300 MB are counted"
    again = usage.corrected("export", "x", Need(2 * need.memory_gb, 0.0, 4.0))
    assert again.memory_gb == pytest.approx(2 * taken["anonymous_gb"])
    assert again.seconds == pytest.approx(4.0 * max(0.25, taken["seconds"] / 2.0))
    nearby = usage.corrected("export", "another", Need(1.0, 0.0, 4.0))
    assert (nearby.memory_gb, nearby.seconds) == (1.0, again.seconds), "another model's memory tells nothing"
    assert usage.corrected("quantize", "x", need) == need


HOLDS = """
import sys, time
held = bytearray(300_000_000)
held[::4096] = b"1" * len(held[::4096])
print("ready", flush=True)
time.sleep(0.8)
"""


def test_records_of_other_machines_say_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "reports/stages/export/x.json"
    path.parent.mkdir(parents=True)
    record = {"machine": "other", "taken": {"seconds": 9.0, "anonymous_gb": 9.0, "total_gb": 9.0}}
    path.write_text(json.dumps(record | {"estimate": {"memory_gb": 1.0, "disk_gb": 0, "seconds": 1.0}}))
    assert usage.corrected("export", "x", Need(1.0, 0.0, 1.0)) == Need(1.0, 0.0, 1.0)
    path.write_text("{")
    assert usage.corrected("export", "x", Need(1.0, 0.0, 1.0)) == Need(1.0, 0.0, 1.0)


def test_the_watcher_sees_children_and_not_itself() -> None:
    child = subprocess.Popen([sys.executable, "-c", HOLDS], stdout=subprocess.PIPE)
    child.stdout.readline()
    assert child.pid in watcher.tree(os.getpid())
    anonymous, total = watcher.memory(child.pid)
    assert 3e8 < anonymous < total
    child.communicate()
    assert watcher.memory(child.pid) == (0, 0)


def test_guidance_doubles_the_batch_and_the_device_decides_the_floats() -> None:
    assert memory.request(sampler(guidance=5.0), CPU).batch == 2
    assert memory.request(sampler(guidance=1.0), CPU).batch == 1
    assert memory.request(sampler(), CPU).floats == "f32"
    assert (
        memory.request(sampler(), part(type(CPU), name="GPU", inference_precision="default", decode="whole")).floats
        == "f16"
    )


def test_a_unet_that_embeds_guidance_never_has_a_batch_of_two() -> None:
    asked, plain = Request(512, 2, "f32"), sizes.of_architecture("ssd-1b")["unet"]
    embeds = replace(plain, embeds_guidance=True)
    once = replace(asked, batch=1)
    assert speed.step_s(embeds, asked) == speed.step_s(plain, once) == speed.step_s(plain, asked) / 2
    assert memory.part_gb("unet", embeds, asked) == memory.part_gb("unet", plain, once)


def test_the_plan_has_a_line_for_every_model_and_says_what_does_not_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(description, "memory_gb", lambda: 8.0)
    monkeypatch.setattr(description, "available_memory_gb", lambda: 7.8)
    monkeypatch.setattr(usage, "REPORTS", tmp_path)
    plan.main(["device=cpu-f32", "model=[sdxl,vega,vega-tiny-vae]"])
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line and not line.startswith("2 ")}
    assert {"model", "sdxl", "vega", "vega-tiny-vae"} <= set(lines)
    assert "sdxl: calibrates with a UNet of INT8 weights" in said
    assert "FP16 is not run: it needs" in said


def test_the_plan_shows_three_paces_each_slower_than_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(usage, "REPORTS", tmp_path)
    settings = {
        pace: composing.composed(plan.READS, ["family=hub", "model=[sdxl,sdxl-refiner,vega,vegart]", *chosen])
        for pace, chosen in {"quick": plan.at("quick"), "default": [], "thorough": plan.at("thorough")}.items()
    }
    known = plan.usable(settings["default"])
    for key in known:
        taken = [
            sum(need.seconds or 0 for need in plan.foretold(key, one, known).values()) for one in settings.values()
        ]
        assert taken == sorted(taken) and taken[0] < taken[2] / 2
    plan.main(["model=[vega]"])
    heads = capsys.readouterr().out.splitlines()[2]
    assert heads.split()[-5:] == ["all", "all,", "quick", "all,", "thorough"]


def test_the_plan_tells_what_comparing_a_speed_takes_where_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(usage, "REPORTS", tmp_path)
    for asked, column in (([], "all"), (["speed=fast"], "speed")):
        plan.main(["model=[vega]", *asked])
        assert capsys.readouterr().out.splitlines()[2].split()[8] == column
    settings = composing.composed(plan.READS, ["family=hub", "model=[sdxl,sdxl-refiner,vegart]", "speed=fast"])
    found = {key: plan.needs(key, settings, plan.usable(settings))["speed"].seconds for key in settings.models}
    assert found["sdxl"] > found["vegart"] > 60
    assert found["sdxl-refiner"] < 60, "a refiner draws no picture by itself"


def test_a_misspelt_setting_of_the_plan_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        plan.main(["device=gpux"])
    assert "device=gpux" in capsys.readouterr().err
