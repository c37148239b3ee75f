"""The benchmark stage on tiny random models: every figure is there, every picture listed, every fault named."""

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from stages import benchmark as stage
from stages.describe import describe
from stages.files import manifest
from stages.generation import residency
from stages.machine import description, energy, memory
from stages.measurement import clip, footprint, kept, peak, turns
from stages.measurement import subject as subjects
from stages.scorer import scorer
from stages.settings import config
from stages.settings.schema import Clip
from tests.machine.test_energy import counting_up, rapl
from tests.tiny import SIZE_PX
from tests.tiny_ir import CPU, FOOTPRINT, tiny_int8, tiny_root, tiny_scorer

REPOSITORY = Path(__file__).parents[1]
MODELS = {
    "base": {"title": "Tiny", "tasks": ["text-to-image", "image-to-image"]},
    "refiner": {"title": "Tiny refiner", "role": "refiner", "tasks": ["two-stage", "image-to-image"]},
    "lcm": {"title": "Tiny LCM", "tasks": ["text-to-image"]},
}
SAMPLERS = {"lcm": {"scheduler": "LCMScheduler", "guidance": 8.0}}
PRECISION_KEYS = {
    "unet_graph_mb",
    "unet_size_mb", "total_size_mb", "load_s", "peak_rss_mb", "text_encoders_s", "unet_step_s", "vae_decode_s",
    "image_s", "unet_gops", "unet_share_of_peak", "int8_operations", "executed_int8", "speedup_step", "speedup_image",
    "sqnr_db", "trajectory_cosine", "psnr_db", "ssim", "clip_score", "clip_similarity", "worst_prompts", "tasks",
    "effective_properties", "executed_precisions", "operations", "skipped", "parts_in_memory", "macs", "layers",
    "per_prompt", "sqnr_by_quarter", "sqnr_by_sample", "clip_drop_percent", "retrieval", "cold_s", "energy_j",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder in which the benchmark has run for all three models; metrics by model."""
    folder = prepare(tmp_path_factory.mktemp("benchmark"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(peak, "SIDE", 64)
        patch.setattr(peak, "ENOUGH_S", 0.01)
        patch.setattr(turns, "SHORT_S", 0.05)
        describe()
        metrics = {"base": stage.benchmark(config.load(stage.READS, "base", []))}
        patch.setattr(footprint, "measure", lambda *_: FOOTPRINT)  # base's alone are real
        metrics |= {key: stage.benchmark(config.load(stage.READS, key, [])) for key in ("refiner", "lcm")}
    return SimpleNamespace(folder=folder, metrics=metrics)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which everything is ready for the benchmark, its IR folders copied so that they may be broken."""
    monkeypatch.chdir(prepare(tmp_path, share=False))
    describe()
    return tmp_path


def prepare(folder: Path, share: bool = True) -> Path:
    for model in MODELS:
        tiny_int8(model)
    tiny_scorer()
    if share:
        (folder / "artifacts").symlink_to(tiny_root() / "artifacts")
    else:
        for name in ("ir", "scorer"):
            shutil.copytree(tiny_root() / "artifacts" / name, folder / "artifacts" / name)
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    template = next(iter(params["model"].values()))
    params["model"] = {key: model_settings(template, key) for key in MODELS}
    params["prompts"]["file"] = params["prompts"]["watch"] = str(REPOSITORY / "stages/prompts/emoji.jsonl")
    params["judge"]["repo"] = str(REPOSITORY / "miniatures/judge")
    params["benchmark"] |= {"prompts": 2, "repetitions": 2, "warmup": 1}
    params["device"] |= {"inference_precision": "f32", "dynamic_quantization_group_size": 0}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def model_settings(template: dict, key: str) -> dict:
    settings = copy.deepcopy(template) | {"role": "base", "base": "base" if key == "refiner" else key} | MODELS[key]
    settings["sampler"] |= {"scheduler": "EulerDiscreteScheduler", "guidance": 5.0, "steps": 5}
    settings["sampler"] |= {"width": SIZE_PX, "height": SIZE_PX}
    settings["sampler"] |= SAMPLERS.get(key, {}) | {"high_noise_fraction": 0.8 if key == "refiner" else None}
    return settings


@pytest.mark.parametrize("model", MODELS)
def test_every_figure_of_the_schema_is_in_the_file(finished, model):
    written = json.loads((finished.folder / "reports/benchmark" / model / "record.json").read_text())
    assert written == json.loads(json.dumps(finished.metrics[model]))
    assert list(written["precisions"]) == ["fp16", "int8"]
    for row in written["precisions"].values():
        assert row.keys() >= PRECISION_KEYS
        for part in ("text_encoders_s", "unet_step_s", "vae_decode_s", "image_s"):
            assert row[part].keys() == {"median", "p90", "min", "n", "raw"}
            assert row[part]["n"] == len(row[part]["raw"]) >= 2
            assert 0 < row[part]["min"] <= row[part]["median"] <= row[part]["p90"]
        assert 20 < row["peak_rss_mb"] < 4000
        assert row["load_s"] > 0 and row["unet_gops"] > 0 and row["unet_share_of_peak"] > 0
        assert row["effective_properties"]["INFERENCE_PRECISION_HINT"]
    assert written["noise"].keys() == {"load", "others", "steal", "flagged"}


@pytest.mark.parametrize("model", MODELS)
def test_every_step_is_one_call_of_the_unet_and_no_more_than_were_asked_for(finished, model):
    for row in finished.metrics[model]["precisions"].values():
        drawn = [task for task in row["tasks"].values() if task]
        assert drawn and all(task["unet_calls"] == task["own_steps"] <= task["asked_steps"] for task in drawn)


def test_what_the_first_picture_takes_stands_apart_from_the_later_ones(finished):
    for row in finished.metrics["base"]["precisions"].values():
        cold = row["cold_s"]
        pieces = [cold[name] for name in ("load", "text_encoders", "first_step", "second_step", "decode")]
        assert all(seconds > 0 for seconds in pieces) and cold["load"] == pytest.approx(row["load_s"], abs=1e-3)
        assert cold["picture_of_two_steps"] == pytest.approx(sum(pieces), abs=1e-3)
        assert cold["picture"] == pytest.approx(sum(pieces) + 3 * cold["second_step"], abs=1e-3)  # of five steps


def test_energy_is_told_or_why_it_is_not(finished):
    for record in finished.metrics.values():
        energy = record["energy"]
        assert energy["readable"] is (energy["why"] is None)
        for row in record["precisions"].values():
            assert (row["energy_j"] is None) is not energy["readable"]


@pytest.mark.parametrize("model", MODELS)
def test_int8_is_proven_to_execute(finished, model):
    before, after = finished.metrics[model]["precisions"].values()
    assert (before["int8_operations"], before["executed_int8"], before["speedup_step"]) == (0, 0, None)
    assert after["int8_operations"] > 0 and after["executed_int8"] > 0
    assert after["speedup_step"]["low"] <= after["speedup_step"]["ratio"] <= after["speedup_step"]["high"]


@pytest.mark.parametrize("model", MODELS)
def test_work_is_counted_layer_by_layer_and_adds_up(finished, model):
    before, after = finished.metrics[model]["precisions"].values()
    assert before["macs"]["total"] == after["macs"]["total"] > 0
    assert before["macs"]["int8"] == 0 and after["macs"]["share_int8"] > 0.8
    for row in (before, after):
        assert sum(layer["macs"] for layer in row["layers"]) == row["macs"]["total"]
        int8 = [layer["macs"] for layer in row["layers"] if layer["precision"] in ("i8", "u8")]
        assert sum(int8) == row["macs"]["int8"]
        assert not [layer for layer in row["layers"] if layer["kernel"] == "not found"]
    metrics = json.loads((finished.folder / "reports/benchmark" / model / "metrics.json").read_text())
    assert metrics["share_macs_int8"] == round(after["macs"]["share_int8"], 3)


@pytest.mark.parametrize("model", MODELS)
def test_every_sample_is_known_by_prompt_and_timestep_and_the_schedule_is_covered(finished, model):
    record = finished.metrics[model]
    row = record["precisions"]["int8"]
    assert len(row["sqnr_by_sample"]) == len(record["points"])
    per_prompt = [entry["id"] for entry in row["per_prompt"]]
    assert sorted({prompt for prompt, _ in record["points"]}) == sorted(per_prompt) and len(per_prompt) == 2
    steps = 1 if model == "refiner" else 5
    assert len(record["points"]) == 2 * steps
    by_prompt = [[step for owner, step in record["points"] if owner == prompt] for prompt in per_prompt]
    assert by_prompt[0] == by_prompt[1] == [step for step, _ in row["sqnr_by_timestep"]]
    assert [entry["psnr_db"] for entry in row["worst_prompts"]] == sorted(
        entry["psnr_db"] for entry in row["per_prompt"]
    )


@pytest.mark.parametrize("model", MODELS)
def test_the_reference_is_itself_when_it_runs_again_and_not_with_another_seed(finished, model):
    controls = finished.metrics[model]["controls"]
    again, other = controls["reference_again"], controls["other_seed"]
    assert (again["identical"], again["sqnr_db"], again["psnr_db"], again["ssim"]) == (True, None, None, 1.0)
    assert (again["prompts"], other["prompts"], other["identical"]) == (1, 2, False)
    assert 0 < other["psnr_db"] < 60 and -1 <= other["clip_similarity"] <= 1


@pytest.mark.parametrize("model", MODELS)
def test_the_judge_of_prompts_reads_every_precisions_pictures(finished, model):
    record = finished.metrics[model]
    assert record["judge"]["title"] == "nearest true picture"
    assert (record["retrieval"]["prompts"], record["retrieval"]["of"]) == (2, 2)
    for found in (record["retrieval"], *(row["retrieval"] for row in record["precisions"].values())):
        assert 0 <= found["subject"] <= 1 and 0 <= found["background"] <= 1


@pytest.mark.parametrize("model", MODELS)
def test_the_fp16_model_in_float32_is_its_own_reference(finished, model):
    before, after = finished.metrics[model]["precisions"].values()
    assert (before["sqnr_db"], before["psnr_db"], before["ssim"]) == (None, None, 1.0)
    assert before["clip_similarity"] == 1.0
    assert before["trajectory_cosine"] == pytest.approx(1)
    assert 0 < after["sqnr_db"] < 80
    assert after["trajectory_cosine"] <= 1
    assert {entry["psnr_db"] for entry in before["worst_prompts"]} == {None}


@pytest.mark.parametrize("model", MODELS)
def test_clip_scores_the_pictures_of_the_main_task_that_were_written(finished, model):
    metrics, images = finished.metrics[model], finished.folder / "reports/benchmark" / model / "images"
    assert metrics["clip_model"] == {"title": "tiny CLIP", "licence": "MIT"}
    assert metrics["inputs"]["scorer"] == manifest.digest(tiny_scorer())
    main = "two-stage" if model == "refiner" else "text-to-image"
    entries = [entry for entry in json.loads((images / "images.json").read_text()) if entry["task"] == main]
    for precision, row in metrics["precisions"].items():
        assert row["clip_score"] == pytest.approx(np.mean([e["clip_score"] for e in row["per_prompt"]]), abs=0.01)
        mine = [entry for entry in entries if entry["precision"] == precision]
        pictures = clip.load(tiny_scorer()).picture_features([Image.open(images / entry["file"]) for entry in mine])
        texts = clip.load(tiny_scorer()).text_features([entry["prompt"] for entry in mine])
        cosines = np.sum(pictures * texts, 1) / np.linalg.norm(pictures, axis=1) / np.linalg.norm(texts, axis=1)
        assert row["clip_score"] == pytest.approx(100 * cosines.mean(), abs=0.01)
        assert -1 <= row["clip_similarity"] <= 1


def test_the_last_line_has_speed_work_and_fidelity(finished):
    line = stage.closing_line(finished.metrics["base"])
    assert re.match(
        r"base int8: \S+x \(\S+ to \S+\) the speed of fp16 in a UNet step, \S+x in an image; \d+ % of a step's work "
        r"in INT8; noise prediction \S+ dB, pictures \S+ dB",
        line,
    )


def test_each_model_runs_its_own_tasks(finished):
    steps = {
        model: {name: task and task["executed_steps"] for name, task in row(finished, model)["tasks"].items()}
        for model in MODELS
    }
    assert steps["base"] == {
        "text-to-image": 5, "image-to-image": 2, "two-stage": None, "two-stage-sdedit": None,
    }  # fmt: skip
    assert steps["lcm"] == {
        "text-to-image": 5, "image-to-image": None, "two-stage": None, "two-stage-sdedit": None,
    }  # fmt: skip
    assert steps["refiner"] == {
        "text-to-image": None, "image-to-image": 2, "two-stage": 5, "two-stage-sdedit": 6,
    }  # fmt: skip
    assert row(finished, "refiner")["tasks"]["two-stage"]["own_steps"] == 1


def test_a_two_stage_picture_takes_the_base_time_too(finished):
    figures_of = row(finished, "refiner")
    assert figures_of["tasks"]["two-stage"]["image_s"]["median"] > figures_of["image_s"]["median"]


def row(finished, model):
    return finished.metrics[model]["precisions"]["int8"]


@pytest.mark.parametrize("model", MODELS)
def test_every_picture_is_listed_and_every_listed_one_is_there(finished, model):
    images = finished.folder / "reports/benchmark" / model / "images"
    entries = json.loads((images / "images.json").read_text())
    assert {entry["file"] for entry in entries} == {path.name for path in images.glob("*.png")}
    assert len(entries) == len({entry["file"] for entry in entries})
    for entry in entries:
        with Image.open(images / entry["file"]) as picture:
            assert (picture.mode, picture.size) == ("RGB", (entry["width"], entry["height"]))
        assert entry["file"] == f"{entry['task']}-{entry['precision']}-{entry['prompt_id']}.png"
        assert entry["seconds"] > 0 and entry["executed_steps"] > 0


def test_prompts_and_seeds_are_the_same_in_every_model_and_precision(finished):
    seen = set()
    for model in MODELS:
        path = finished.folder / "reports/benchmark" / model / "images/images.json"
        for entry in json.loads(path.read_text()):
            if entry["task"] == "text-to-image":
                seen.add((entry["prompt_id"], entry["seed"]))
    assert len(seen) == 2


def test_the_refiners_pictures_stand_beside_the_bases_own(finished):
    path = finished.folder / "reports/benchmark/refiner/images/images.json"
    own = [entry for entry in json.loads(path.read_text()) if entry["task"] == "text-to-image"]
    assert [(entry["model"], entry["precision"], entry["executed_steps"]) for entry in own] == [("base", "fp16", 5)] * 2


def test_the_bench_draws_what_an_untouched_pipeline_draws(finished):
    import torch
    from optimum.intel import OVStableDiffusionXLPipeline

    from stages.ir import runtime

    images = finished.folder / "reports/benchmark/base/images"
    entry = next(e for e in json.loads((images / "images.json").read_text()) if e["precision"] == "int8")
    plain = OVStableDiffusionXLPipeline.from_pretrained(tiny_int8("base"), ov_config=runtime.device_config(CPU, False))
    plain.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 5, "guidance_scale": 5.0, "height": SIZE_PX, "width": SIZE_PX}
    generator = torch.Generator().manual_seed(entry["seed"])
    expected = plain(entry["prompt"], generator=generator, **settings).images[0]
    assert np.array_equal(np.asarray(Image.open(images / entry["file"])), np.asarray(expected))


def short_of_memory(patch: pytest.MonkeyPatch, free_gb: float, room_gb: float = 1.0) -> None:
    """As if the UNets took 4 GB in FP16 and 1 GB in INT8, so much was free, and parts side by side had that room."""
    patch.setattr(memory, "in_turn_gb", lambda found, asked, stored="fp16": {"fp16": 4.0, "int8": 1.0}[stored])
    patch.setattr(memory, "room_gb", lambda: room_gb)
    patch.setattr(description, "available_memory_gb", lambda: free_gb)


def test_a_precision_that_memory_does_not_hold_is_left_out_with_the_reason(folder, monkeypatch):
    short_of_memory(monkeypatch, free_gb=1.5)
    quick_tools(monkeypatch)
    metrics = stage.benchmark(config.load(stage.READS, "base", []))
    before, after = metrics["precisions"]["fp16"], metrics["precisions"]["int8"]
    assert (
        before["skipped"] == "not run: needs 4.0 GB of memory, 1.4 of " + f"{description.memory_gb():.1f} GB can be had"
    )
    assert before["unet_size_mb"] > after["unet_size_mb"] > 0, "sizes are known all the same"
    assert before["unet_step_s"] is None and set(before) == set(after)
    assert after["skipped"] is None and after["unet_step_s"]["median"] > 0 and after["executed_int8"] > 0
    assert after["psnr_db"] is None and after["speedup_step"] is None and metrics["reference"] is None
    images = json.loads((folder / "reports/benchmark/base/images/images.json").read_text())
    assert {entry["precision"] for entry in images} == {"int8"}
    line = stage.closing_line(metrics)
    assert re.match(
        r"base int8: fp16: not run: needs 4.0 GB of memory.*; \d+ % of a step's work in INT8; (the machine|2 prompts)",
        line,
    )


def test_where_memory_is_short_precisions_run_one_after_the_other_in_parts(folder, monkeypatch, finished):
    short_of_memory(monkeypatch, free_gb=20.0, room_gb=0.0)
    quick_tools(monkeypatch)
    metrics = stage.benchmark(config.load(stage.READS, "base", []))
    assert metrics["interleaved"] is False and metrics["reference"] == "fp16 in float32"
    for name, row in metrics["precisions"].items():
        expected = finished.metrics["base"]["precisions"][name]
        assert row["psnr_db"] == expected["psnr_db"] and row["sqnr_db"] == expected["sqnr_db"]
        assert row["unet_step_s"]["n"] >= 2 and row["image_s"]["median"] > 0


def test_a_machine_that_holds_nothing_is_told_so(folder, monkeypatch):
    short_of_memory(monkeypatch, free_gb=0.5)
    with pytest.raises(
        ValueError, match=r"fp16 not run: needs 4.0 GB.*int8 not run: needs 1.0 GB.*close other programs"
    ):
        stage.benchmark(config.load(stage.READS, "base", []))


def test_a_refiner_gets_its_bases_latents_where_memory_is_short(folder, monkeypatch):
    short_of_memory(monkeypatch, free_gb=1.5)
    quick_tools(monkeypatch)
    monkeypatch.setattr(memory, "recording_unet", lambda *_: memory.INT8_WEIGHTS)
    metrics = stage.benchmark(config.load(stage.READS, "refiner", []))
    assert metrics["precisions"]["fp16"]["skipped"] and metrics["precisions"]["int8"]["skipped"] is None
    assert not list((folder / "artifacts/ir/refiner").glob(".*")), "the base's INT8 weights are gone"


def test_another_machines_description_is_refused(folder):
    described = json.loads(Path("reports/machine.json").read_text())
    Path("reports/machine.json").write_text(json.dumps(described | {"id": "elsewhere"}))
    with pytest.raises(ValueError, match="describes machine elsewhere, .*: run 'dvc repro describe'"):
        stage.benchmark(config.load(stage.READS, "base", []))


def test_a_machine_without_description_is_told_what_to_run(folder):
    Path("reports/machine.json").unlink()
    with pytest.raises(FileNotFoundError, match="run 'dvc repro describe' first"):
        stage.benchmark(config.load(stage.READS, "base", []))


def test_a_benchmark_without_scorer_is_told_what_to_run(folder):
    Path("artifacts/scorer/manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="scorer/manifest.json is missing: run 'dvc repro scorer' first"):
        stage.benchmark(config.load(stage.READS, "base", []))
    assert not Path("reports/benchmark/base").exists()


def test_clip_figures_are_null_where_no_scorer_is_wanted(folder, monkeypatch):
    scorer(Clip("none", "none", None, None, None, "conf/clip/none.yaml"))
    monkeypatch.setattr(peak, "peak_gops", lambda _: {"float": 1.0, "int8": 1.0})
    monkeypatch.setattr(footprint, "measure", lambda *_: FOOTPRINT)
    overrides = ["benchmark.prompts=1", "benchmark.repetitions=1", "benchmark.steps=1"]
    metrics = stage.benchmark(config.load(stage.READS, "lcm", overrides))
    assert metrics["clip_model"] is None
    for row in metrics["precisions"].values():
        assert (row["clip_score"], row["clip_similarity"]) == (None, None)
        assert row["ssim"] is not None


def test_a_flipped_byte_in_the_quantized_weights_fails_before_anything_runs(folder):
    path = Path("artifacts/ir/base/int8/unet/openvino_model.bin")
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="openvino_model.bin has other contents .*'dvc repro quantize@base'"):
        stage.benchmark(config.load(stage.READS, "base", []))
    assert not Path("reports/benchmark/base").exists()


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
def test_a_model_that_computes_nonsense_is_named_with_precision_and_seed(folder):
    unet = Path("artifacts/ir/base/fp16/unet")
    constants = re.findall(
        r'element_type="f16".*? offset="(\d+)" size="(\d+)"', (unet / "openvino_model.xml").read_text()
    )
    offset, size = max(((int(offset), int(size)) for offset, size in constants), key=lambda constant: constant[1])
    content = bytearray((unet / "openvino_model.bin").read_bytes())
    content[offset : offset + size] = b"\xff\x7e" * (size // 2)  # NaN
    (unet / "openvino_model.bin").write_bytes(content)
    manifest.write(unet.parent, stage="export", inputs={}, settings={})
    made_of = {"ir": manifest.digest(unet.parent)}
    manifest.write(Path("artifacts/ir/base/int8"), stage="quantize", inputs=made_of, settings={})
    said = "base fp16 in float32, prompt '.*', seed 1: the UNet's inputs at step 1: .* of sample are NaN"
    with pytest.raises(ValueError, match=said):
        stage.benchmark(config.load(stage.READS, "base", []))


def test_a_model_called_int8_that_runs_none_is_an_error_before_anything_is_timed(folder, monkeypatch):
    for suffix in (".xml", ".bin"):
        unet = Path("artifacts/ir/base/{}/unet/openvino_model").as_posix() + suffix
        shutil.copyfile(unet.format("fp16"), unet.format("int8"))
    made_of, facts = {"ir": manifest.digest(Path("artifacts/ir/base/fp16"))}, {"scheme": "weights_first"}
    manifest.write(Path("artifacts/ir/base/int8"), stage="quantize", inputs=made_of, settings={}, facts=facts)
    monkeypatch.setattr(turns, "interleaved_runs", lambda *_: pytest.fail("timed"))
    monkeypatch.setattr(footprint, "measure", lambda *_: FOOTPRINT)
    monkeypatch.setattr(peak, "peak_gops", lambda _: {"float": 1.0, "int8": 1.0})
    with pytest.raises(ValueError, match=r"base int8: 0\.0 % .*scheme weights_first .*'dvc repro -f -s quantize@base'"):
        stage.benchmark(config.load(stage.READS, "base", []))
    assert not Path("reports/benchmark/base").exists()


def test_a_benchmark_without_its_judge_is_told_so(folder):
    with pytest.raises(FileNotFoundError, match=r"elsewhere/judge\.json is missing"):
        stage.benchmark(config.load(stage.READS, "base", ["judge.repo=elsewhere"]))


def test_a_part_that_does_not_load_says_why(folder):
    Path("artifacts/ir/base/fp16/unet/openvino_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="artifacts/ir/base/fp16 does not load"):
        footprint.measure(Path("artifacts/ir/base/fp16"), {"unet": {}}, config.as_dict(CPU))


def quick_tools(monkeypatch):
    monkeypatch.setattr(peak, "peak_gops", lambda _: {"float": 1.0, "int8": 1.0})
    monkeypatch.setattr(footprint, "measure", lambda *_: FOOTPRINT)
    monkeypatch.setattr(turns, "SHORT_S", 0.05)


def test_a_slowed_clock_and_a_doubled_step_are_doubted(folder, monkeypatch):
    """Both in one run: the stopwatch at half the pace, and an INT8 UNet that is evaluated twice in every step."""
    quick_tools(monkeypatch)
    now = time.perf_counter
    monkeypatch.setattr(residency, "time", SimpleNamespace(perf_counter=lambda: now() / 2))
    load = subjects.load

    def doubled(subject, name, **how):
        pipes = load(subject, name, **how)
        unet = next(iter(pipes.values())).unet
        forward = unet.forward
        if name == "int8":
            unet.forward = lambda *args, **options: (forward(*args, **options), forward(*args, **options))[1]
        return pipes

    monkeypatch.setattr(subjects, "load", doubled)
    record = stage.benchmark(config.load(stage.READS, "base", ["benchmark.minutes=0", "benchmark.prompts=1"]))
    clock = record["clock"]
    assert clock["agrees"] is False and clock["stopwatch_s"] == pytest.approx(clock["system_s"] / 2, rel=0.25)
    told = [doubt for doubt in record["doubts"] if "the stopwatch counted" in doubt or "called its UNet" in doubt]
    assert told[0].endswith("(a clock at another pace, or a machine that slept meanwhile)")
    assert told[1].startswith("int8 called its UNet 10 times for the 5 steps of a picture (text-to-image)")
    assert len(told) == 2 and all(doubt in stage.closing_line(record) for doubt in told)


def test_energy_is_read_where_there_is_a_counter(folder, monkeypatch, tmp_path):
    quick_tools(monkeypatch)
    monkeypatch.setattr(energy, "POWERCAP", rapl(tmp_path / "powercap", {"intel-rapl:0": "package-0"}))
    monkeypatch.setattr(energy.Package, "read_uj", counting_up(by_uj=2_000_000))
    monkeypatch.setattr(turns, "BLOCK_S", 0.0)
    record = stage.benchmark(config.load(stage.READS, "base", ["benchmark.minutes=0", "benchmark.prompts=1"]))
    assert record["energy"] == {"readable": True, "why": None, "packages": ["package-0"]}
    for row in record["precisions"].values():
        assert row["energy_j"]["unet_step"]["raw"] == [2.0] * turns.BLOCKS
        assert row["energy_j"]["picture"]["median"] == 2.0 and row["energy_j"]["picture"]["n"] == 1


@pytest.mark.parametrize("model", ["base", "refiner"])
def test_in_little_time_the_most_telling_is_measured_and_the_rest_named(folder, monkeypatch, model):
    quick_tools(monkeypatch)
    overrides = ["benchmark.minutes=0", "benchmark.prompts=3", "benchmark.repetitions=5"]
    record = stage.benchmark(config.load(stage.READS, model, overrides))
    main = "two-stage" if model == "refiner" else "text-to-image"
    before, after = record["precisions"].values()
    assert (record["reference"], record["pictures_against"]) == ("fp16 in float32", "fp16")
    assert (before["psnr_db"], before["ssim"]) == (None, 1.0) and after["psnr_db"] > 0 and after["sqnr_db"] > 0
    assert {name for name, task in after["tasks"].items() if task} == {main}
    assert after["image_s"]["n"] == before["image_s"]["n"] == len(after["per_prompt"]) == 1
    assert record["left_out"][0].startswith(f"{main}: 1 of 3 prompts; image-to-image: 0 of 3 prompts")
    entries = json.loads(Path(f"reports/benchmark/{model}/images/images.json").read_text())
    of_main = [(entry["precision"], entry["prompt_id"]) for entry in entries if entry["task"] == main]
    assert len(of_main) == len(set(of_main)) == 2 and {name for name, _ in of_main} == {"fp16", "int8"}
    assert len(entries) == 2  # of a refiner's base nothing is drawn that no task starts from
    assert record["controls"]["other_seed"]["prompts"] == 0


KILLED = """
import os, signal, sys
import pytest
from stages import benchmark
from stages.measurement import footprint, kept, peak, turns
from stages.settings import config
from tests.test_benchmark import quick_tools
save, saved = kept.save, []
def save_and_die(path, *rest):
    if len(saved) == int(sys.argv[2]):
        path.with_suffix(".partial").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *rest)
    saved.append(path)
kept.save = save_and_die
with pytest.MonkeyPatch.context() as patch:
    quick_tools(patch)
    benchmark.benchmark(config.load(benchmark.READS, sys.argv[1], []))
"""


def test_a_killed_benchmark_goes_on_where_it_stopped_with_the_same_result(folder, finished, monkeypatch):
    quick_tools(monkeypatch)
    model = "refiner"  # whose base's pieces are kept too
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pieces = 0
    for stop in (1, 4, 9):  # counted from where the last one was killed
        command = [sys.executable, "-c", KILLED, model, str(stop)]
        killed = subprocess.run(command, capture_output=True, text=True, env=environment)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        pieces += stop
        assert not Path(f"reports/benchmark/{model}/record.json").exists()
    made, save = [], kept.save
    monkeypatch.setattr(kept, "save", lambda path, *rest: made.append(path.name) or save(path, *rest))
    (left,) = Path("artifacts/benchmark").glob(f".{model}.unfinished-*")
    found = sorted(path.name for path in left.glob("*.safetensors"))
    assert len(found) == pieces
    record = stage.benchmark(config.load(stage.READS, model, []))
    assert made and not set(made) & set(found), "nothing is drawn twice"
    assert not any(Path("artifacts/benchmark").iterdir())
    undisturbed = finished.metrics[model]
    assert record["points"] == undisturbed["points"] and record["left_out"] == []
    for name, row in record["precisions"].items():
        for figure in ("sqnr_by_sample", "psnr_db", "per_prompt", "macs", "clip_score", "trajectory_cosine"):
            assert row[figure] == undisturbed["precisions"][name][figure], figure
    images = finished.folder / "reports/benchmark" / model / "images"
    for path in images.glob("*.png"):
        mine = Path("reports/benchmark") / model / "images" / path.name
        assert mine.read_bytes() == path.read_bytes()


def test_what_another_setting_left_is_not_gone_on_with(folder):
    settings = config.load(stage.READS, "base", [])
    one = stage.kept_key(subjects.subject(settings), {"fp16": "a"}, "machine")
    for other in (["benchmark.seed=2"], ["model.base.sampler.steps=3"], ["device.threads=1"], ["benchmark.minutes=0"]):
        changed = subjects.subject(config.load(stage.READS, "base", other))
        assert stage.kept_key(changed, {"fp16": "a"}, "machine") != one
    assert stage.kept_key(subjects.subject(settings), {"fp16": "b"}, "machine") != one
    assert stage.kept_key(subjects.subject(settings), {"fp16": "a"}, "another") != one
