"""Lighter parts: what is made anew, what is linked, and what the pipeline then decodes and encodes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stages.checkpoints import defaults
from stages.files import manifest
from stages.generation import drawing, pipelines
from stages.ir import anatomy, runtime
from stages.ir.tiny_vae import tiny_vae
from stages.measurement import fidelity
from stages.quantization import lighter
from tests.generation.test_pacing import speed
from tests.ir.test_tiny_vae import local
from tests.tiny import tiny_checkpoint
from tests.tiny_ir import CPU, sampler, tiny_ir

OWN = sampler(steps=12)


def some_latents(count: int = 6) -> list[np.ndarray]:
    return [np.random.default_rng(seed).standard_normal((1, 4, 16, 16), dtype=np.float32) for seed in range(count)]


def made(folder: Path, tiny: Path | None = None, **changed) -> Path:
    asked = speed(**changed)
    return lighter.lighter(tiny_ir("base"), folder / "lighter", asked, OWN, some_latents, tiny)


def same(folder: Path, name: str) -> bool:
    return (folder / name).samefile(tiny_ir("base") / name)


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        ({}, False),
        ({"evaluate_every": 2, "static_shapes": True}, False),
        ({"steps": 9}, True),
        ({"decoder": "int8"}, True),
        ({"text_encoders": "int8-weights"}, True),
    ],
)
def test_a_folder_is_made_where_a_part_or_the_sampler_is_another(changed: dict, asked: bool) -> None:
    one = speed(**changed)
    assert lighter.is_asked(one, OWN) is asked


def test_text_encoders_have_int8_weights_and_say_nearly_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path, text_encoders="int8-weights")
    for part in lighter.TEXT_ENCODERS:
        assert anatomy.count_operations(runtime.read(folder / part / lighter.IR))["int8_constants"] > 0
    assert same(folder, "unet/openvino_model.bin") and same(folder, "vae_decoder/openvino_model.xml")
    before, after = (
        drawing.encode_prompt(pipelines.load(one, "text-to-image", OWN, CPU), "a red fox", OWN)[0].numpy()
        for one in (tiny_ir("base"), folder)
    )
    assert 25 < fidelity.sqnr_db(before, after) < 80


def test_a_decoder_in_int8_decodes_nearly_the_same(tmp_path: Path) -> None:
    folder = made(tmp_path, decoder="int8")
    model = runtime.read(folder / "vae_decoder" / lighter.IR)
    counts = anatomy.count_operations(model)
    assert counts["fake_quantize"] > 0 and counts["int8_constants"] > 0
    assert same(folder, "text_encoder/openvino_model.bin") and same(folder, "vae_decoder/config.json")
    unseen = np.random.default_rng(99).standard_normal((1, 4, 16, 16), dtype=np.float32)
    before, after = (
        runtime.compile(runtime.read(one / "vae_decoder" / lighter.IR), CPU)(unseen)[0]
        for one in (tiny_ir("base"), folder)
    )
    assert 20 < fidelity.sqnr_db(before, after) < 80


def test_a_tiny_decoder_takes_the_vaes_place_with_its_own_scale(tmp_path: Path) -> None:
    tiny = tiny_vae(local(tiny_checkpoint(tmp_path / "tiny", "tiny-vae")), tmp_path)
    folder = made(tmp_path, tiny, decoder="tiny")
    assert (folder / "vae_decoder" / lighter.IR).samefile(tiny / "vae_decoder" / lighter.IR)
    facts = manifest.read(folder, rerun="speed")["facts"]
    assert facts["licence"] == "unknown AND MIT", "the tiny one's own, beside that of a pipeline that declares none"
    assert facts["sources"] == [{"part": "vae_decoder", "kind": "local", "name": "tiny"}]
    assert "a tiny decoder in the VAE's place" in (folder / "README.md").read_text()
    assert "MIT License" in (folder / "LICENSE-mit.txt").read_text()
    pipeline = pipelines.load(folder, "text-to-image", OWN, CPU)
    assert pipeline.vae.config.scaling_factor == 1.0
    latents = drawing.initial_latents(pipeline, OWN, 1)
    expected = runtime.compile(runtime.read(tiny / "vae_decoder" / lighter.IR), CPU)(latents.numpy())[0]
    pixels = np.asarray(drawing.decode(pipeline, latents)).transpose(2, 0, 1) / 127.5 - 1
    np.testing.assert_allclose(pixels, expected[0].clip(-1, 1), atol=0.01)


def test_a_tiny_decoder_of_other_latents_is_refused(tmp_path: Path) -> None:
    tiny = tiny_vae(local(tiny_checkpoint(tmp_path / "tiny", "tiny-vae")), tmp_path)
    config = json.loads((tiny / "vae_decoder/config.json").read_text())
    config["block_out_channels"] = [*config["block_out_channels"], 8]
    (tiny / "vae_decoder/config.json").write_text(json.dumps(config))
    with pytest.raises(
        ValueError, match="decodes latents of 4 channels and 4 pixels a side, this model's have 4 and 2"
    ):
        made(tmp_path, tiny, decoder="tiny")
    assert not (tmp_path / "lighter").exists()


def test_a_tiny_decoder_that_there_is_none_of_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"speed.decoder is tiny, and tiny_vae.kind is none"):
        made(tmp_path, None, decoder="tiny")


def test_others_draw_with_the_speeds_sampler(tmp_path: Path) -> None:
    folder = made(tmp_path, steps=9, scheduler="DPMSolverMultistepScheduler", options={"use_karras_sigmas": True})
    assert json.loads((folder / "scheduler/scheduler_config.json").read_text())["use_karras_sigmas"] is True
    assert json.loads((folder / "model_index.json").read_text())["scheduler"][1] == "DPMSolverMultistepScheduler"
    assert {how["num_inference_steps"] for how in defaults.read(folder).values()} == {9}
    assert {how["num_inference_steps"] for how in defaults.read(tiny_ir("base")).values()} == {3}, "linked, not written"
    assert "DPMSolverMultistepScheduler" in (folder / "README.md").read_text()
    manifest.verify(folder, rerun="speed")


def test_what_is_there_of_the_same_is_kept_and_of_another_is_made_anew(tmp_path: Path) -> None:
    folder = made(tmp_path, decoder="int8")
    stamp = (folder / "manifest.json").stat().st_mtime_ns
    assert made(tmp_path, decoder="int8") == folder and (folder / "manifest.json").stat().st_mtime_ns == stamp
    made(tmp_path, decoder="int8", text_encoders="int8-weights")
    assert (folder / "manifest.json").stat().st_mtime_ns != stamp


def test_crops_are_the_middle() -> None:
    latents = np.arange(40 * 50, dtype=np.float32).reshape(1, 1, 40, 50)
    found = lighter.crop(latents)
    assert found.shape == (1, 1, 32, 32) and found[0, 0, 0, 0] == latents[0, 0, 4, 9]
    assert np.array_equal(lighter.crop(latents[..., :8, :8]), latents[..., :8, :8])
