"""Samplers are data: options are those of diffusers' classes, what is unsaid is SDXL's, an IR carries its own."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.checkpoints import samplers
from stages.export import export
from stages.files import manifest
from stages.generation import drawing, pipelines
from stages.settings import samplers as known
from tests.tiny import tiny_checkpoint
from tests.tiny_ir import CPU, as_exported, sampler, tiny_ir

CLASSES = list(known.known()["classes"])
# Of other kinds of models (flow matching), of training, or no plain values; num_train_timesteps is the checkpoint's.
LEFT_OUT = {
    "self", "trained_betas", "tau_func", "disable_corrector", "solver_p", "use_flow_sigmas", "flow_shift",
    "use_dynamic_shifting", "time_shift_type", "shift_terminal", "variance_type", "predict_x0", "lambda_min_clipped",
    "num_train_timesteps",
}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_takes_the_options_of_its_signature(name: str) -> None:
    import diffusers

    signature = inspect.signature(getattr(diffusers, name).__init__).parameters
    assert known.known()["classes"][name]["takes"] == sorted(set(signature) - LEFT_OUT)


def trained_for(folder: Path, name: str) -> Path:
    """The tiny IR as if its UNet had been trained with that class."""
    shutil.copytree(tiny_ir("base"), folder)
    said = json.loads((folder / samplers.FILE).read_text())
    (folder / samplers.FILE).write_text(json.dumps(said | {"_class_name": name}))
    return folder


@pytest.mark.parametrize(
    ("trained", "asked", "allowed"),
    [
        ("EDMEulerScheduler", "EulerDiscreteScheduler", "one of EDMDPMSolverMultistepScheduler, EDMEulerScheduler"),
        ("EulerDiscreteScheduler", "EDMEulerScheduler", "none of EDMDPMSolverMultistepScheduler, EDMEulerScheduler"),
    ],
)
def test_noise_levels_of_the_other_kind_are_refused(tmp_path: Path, trained: str, asked: str, allowed: str) -> None:
    """Playground v2.5 drawn by Euler, or SDXL by EDM's, would be mush without a word."""
    folder = trained_for(tmp_path / "ir", trained)
    with pytest.raises(ValueError, match=f"says {trained}: sampler.scheduler must be {allowed}, got {asked}"):
        samplers.load(folder, sampler(asked))
    assert samplers.load(folder, sampler(trained))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_draws_with_its_defaults(name: str, tmp_path: Path) -> None:
    how = sampler(name, steps=4)
    pipeline = pipelines.load(trained_for(tmp_path / "ir", name), "text-to-image", how, CPU)
    latents = drawing.generate(pipeline, "a red cat", how, 1, output="latent")
    assert np.isfinite(latents.numpy()).all()


def test_what_a_checkpoint_leaves_unsaid_is_sdxls_and_what_it_says_stands() -> None:
    """DDIM clips predictions to -1..1 by default, where SDXL's latents reach 4."""
    unsaid = samplers.load(tiny_ir("base"), sampler("DDIMScheduler"))
    assert (unsaid.config.clip_sample, unsaid.config.set_alpha_to_one) == (False, False)
    trained = json.loads((tiny_ir("base") / samplers.FILE).read_text())
    assert (
        unsaid.config.beta_end == trained["beta_end"] and unsaid.config.timestep_spacing == trained["timestep_spacing"]
    )


def test_options_come_before_the_checkpoints_own() -> None:
    found = samplers.load(tiny_ir("base"), sampler(options={"timestep_spacing": "trailing", "use_karras_sigmas": True}))
    assert found.config.timestep_spacing == "trailing" and found.config.use_karras_sigmas is True


def test_options_that_do_not_make_a_scheduler_are_named() -> None:
    with pytest.raises(ValueError, match="sampler.options .*bh2.* do not make a DEISMultistepScheduler"):
        samplers.load(tiny_ir("base"), sampler("DEISMultistepScheduler", options={"algorithm_type": "sde-dpmsolver"}
                                               | {"solver_type": "bh2"}))  # fmt: skip


def test_an_ir_carries_the_sampler_that_it_is_measured_with(tmp_path) -> None:
    """Whoever loads it without us draws the same pictures."""
    from optimum.intel import OVStableDiffusionXLPipeline

    checkpoint = tiny_checkpoint(tmp_path / "artifacts/checkpoints/few", "base")
    manifest.write(checkpoint, stage="download", inputs={}, settings={})
    export("few", as_exported("base", "LCMScheduler", timestep_spacing="trailing"), tmp_path)
    folder = tmp_path / "artifacts/ir/few/fp16"
    assert json.loads((folder / "model_index.json").read_text())["scheduler"] == ["diffusers", "LCMScheduler"]
    plain = OVStableDiffusionXLPipeline.from_pretrained(folder, compile=False)
    assert type(plain.scheduler).__name__ == "LCMScheduler"
    ours = samplers.load(folder, sampler("LCMScheduler", options={"timestep_spacing": "trailing"}))
    plainly, measured = (dict(one.config) | {"_use_default_values": None} for one in (plain.scheduler, ours))
    assert plainly == measured
    plain.scheduler.set_timesteps(4)
    ours.set_timesteps(4)
    assert plain.scheduler.timesteps.tolist() == ours.timesteps.tolist()


def test_pictures_need_not_be_square() -> None:
    how = sampler(steps=2, width=48, height=32)
    picture = drawing.generate(pipelines.load(tiny_ir("base"), "text-to-image", how, CPU), "a red cat", how, 1)
    assert picture.size == (48, 32)
