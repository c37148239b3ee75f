"""NaN and infinity are never recorded, quantized or drawn from: the error names model, prompt, step and part."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from stages.calibration import collecting, shards
from stages.generation import drawing, pipelines, recording
from stages.ir import finite
from stages.ir.finite import NotFinite
from stages.prompts.sets import Prompt
from tests.test_calibrate import settings
from tests.tiny_ir import sampler

NAN, INF = float("nan"), float("inf")


class Part:
    """A compiled part that answers with what it is given."""

    def __init__(self, answer: Any = None) -> None:
        self.request = self
        self.answer = answer

    def compile(self) -> None:
        pass

    def __call__(self, inputs: Any, **options: Any) -> Any:
        return self.answer


def shard(folder: Path, *values: float) -> Path:
    path = shards.shard_path(folder, 0)
    shards.save_shard(path, [{"sample": np.array([1.0, value])} for value in values], {})
    return path


@pytest.mark.parametrize(
    ("value", "said"), [(NAN, "1 of 2 values of sample are NaN"), (INF, "1 of 2 values of sample are infinite")]
)
def test_inputs_of_a_unet_are_refused_with_step_and_name(value: float, said: str) -> None:
    pipeline = SimpleNamespace(unet=Part())
    with pytest.raises(NotFinite, match=f"vega, prompt 'owl': the UNet's inputs at step 1: {said}"):
        with finite.of("vega, prompt 'owl'"), recording.recording(pipeline, lambda step: True) as kept:
            pipeline.unet.request({"sample": np.zeros(2)})
            pipeline.unet.request({"sample": np.array([0, value])})
    assert len(kept) == 1


def test_integers_and_torchs_numbers_are_numbers_too() -> None:
    for kind in (torch.float16, torch.bfloat16):
        finite.require({"timestep": np.array([3]), "latents": torch.ones(2, dtype=kind)}, "all")
    with pytest.raises(NotFinite, match="latents are NaN"):
        finite.require({"latents": torch.tensor([NAN])}, "these")


def test_text_encoders_are_named_with_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "encode_prompt", lambda *_: (torch.tensor([1.0]), None, torch.tensor([INF]), None))
    with pytest.raises(NotFinite, match="prompt 'a cat': the text encoders' results: .*pooled_prompt_embeds"):
        drawing.encode_ahead(None, ["a cat"], sampler())


def test_latents_and_decoded_pictures_are_looked_at() -> None:
    latents = torch.full((1, 4, 4, 4), NAN)
    pipeline = lambda **how: SimpleNamespace(images=latents)  # noqa: E731
    encoded: Any = {"prompt_embeds": torch.ones(1)}
    pipeline_with = SimpleNamespace(
        vae=SimpleNamespace(decode=lambda *_, **how: (latents,), config=SimpleNamespace(scaling_factor=1.0))
    )
    with pytest.raises(NotFinite, match="the VAE decoder's result"):
        drawing.decode(pipeline_with, torch.ones(1, 4, 4, 4))
    with pytest.raises(NotFinite, match="what the UNet drew"):
        drawing.generate(pipeline, encoded, sampler(), 0, output="latent", image=latents, denoising_start=0.5)
    with pytest.raises(NotFinite, match="the text encoders' results"):
        drawing.generate(pipeline, {"prompt_embeds": latents}, sampler(), 0, image=latents)


def test_calibration_names_model_and_prompt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def record(*_: Any) -> Any:
        finite.require({"sample": np.array([NAN])}, "the UNet's inputs at step 4")

    pipeline = SimpleNamespace(tokenizer_2=None, unet=SimpleNamespace(model=None))
    monkeypatch.setattr(pipelines, "load", lambda *_, **how: pipeline)
    monkeypatch.setattr(collecting.extremes, "beside", lambda model, taps: model)
    monkeypatch.setattr(collecting.drawing, "encode_ahead", lambda *_: [{}])
    monkeypatch.setattr(collecting, "_record_prompt", record)
    with pytest.raises(NotFinite, match="base, prompt 'owl': the UNet's inputs at step 4: 1 of 1 values of sample"):
        collecting.collect(settings(), {"ir": tmp_path}, [Prompt("owl", "an owl")], tmp_path, None)
    assert not list(tmp_path.iterdir())


def test_shards_with_nan_are_not_read_back(tmp_path: Path) -> None:
    shard(tmp_path, 1.0, NAN)
    with pytest.raises(NotFinite, match="00000.safetensors, sample 1: 1 of 2 values of sample are NaN"):
        list(shards.load_samples(tmp_path, 2))


@pytest.mark.parametrize("keep", [0, 7, 60, -3])
def test_a_shard_that_is_cut_off_is_named(tmp_path: Path, keep: int) -> None:
    path = shard(tmp_path / "vega", 1.0) if (tmp_path / "vega").mkdir() is None else None
    path.write_bytes(path.read_bytes()[:keep])
    for read in (shards.load_shard, shards.count_samples, lambda path: list(shards.load_samples(path.parent, 1))):
        with pytest.raises(ValueError, match="holds no UNet inputs .*run 'dvc repro -f -s calibrate@vega'"):
            read(path)


def test_a_calibration_without_shards_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no UNet inputs"):
        next(shards.load_samples(tmp_path, 1))
