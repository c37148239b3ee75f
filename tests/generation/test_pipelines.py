"""Pipelines on IR folders draw what untouched ones draw."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from stages.generation import drawing, pipelines
from stages.ir import runtime
from tests.tiny import SIZE_PX
from tests.tiny_ir import CPU, part, sampler, tiny_ir, tiny_root

PROMPT = "a red dog"


def test_a_picture_is_the_one_that_an_untouched_pipeline_draws():
    import torch
    from optimum.intel import OVStableDiffusionXLPipeline

    plain = OVStableDiffusionXLPipeline.from_pretrained(tiny_ir("base"), ov_config=runtime.device_config(CPU, False))
    plain.set_progress_bar_config(disable=True)
    expected = plain(
        PROMPT,
        height=SIZE_PX,
        width=SIZE_PX,
        num_inference_steps=3,
        guidance_scale=5.0,
        generator=torch.Generator().manual_seed(7),
    ).images[0]
    ours = drawing.generate(load("base"), PROMPT, sampler(), 7)
    assert np.array_equal(np.asarray(ours), np.asarray(expected))


def test_an_image_to_image_picture_is_the_one_that_an_untouched_pipeline_draws():
    import torch
    from optimum.intel import OVStableDiffusionXLImg2ImgPipeline

    pipeline = load("base")
    start = drawing.generate(pipeline, PROMPT, sampler(), 7)
    plain = OVStableDiffusionXLImg2ImgPipeline.from_pretrained(
        tiny_ir("base"), ov_config=runtime.device_config(CPU, False)
    )
    plain.set_progress_bar_config(disable=True)
    settings = {"num_inference_steps": 3, "guidance_scale": 5.0, "generator": torch.Generator().manual_seed(8)}
    expected = plain(PROMPT, image=start, strength=0.7, **settings).images[0]
    other = pipelines.also(pipeline, "image-to-image")
    ours = drawing.generate(other, PROMPT, sampler(), 8, image=start, strength=0.7)
    assert np.array_equal(np.asarray(ours), np.asarray(expected))
    assert drawing.executed_steps(other) == 2, "image-to-image runs int(3 x 0.7) steps"


def test_another_task_shares_the_compiled_parts():
    pipeline = load("base")
    other = pipelines.also(pipeline, "image-to-image")
    assert other.unet.request is pipeline.unet.request
    assert other.vae_encoder.request is pipeline.vae_encoder.request


def test_latents_come_from_the_seed_alone():
    first = drawing.initial_latents(load("base"), sampler(), 3)
    assert first.shape == (1, 4, SIZE_PX // 2, SIZE_PX // 2)
    assert np.array_equal(first, drawing.initial_latents(load("lcm", "LCMScheduler"), sampler(), 3))
    assert not np.array_equal(first, drawing.initial_latents(load("base"), sampler(), 4))


def test_decoding_finished_latents_gives_the_pipelines_own_picture():
    pipeline = load("base")
    latents = drawing.generate(pipeline, PROMPT, sampler(), 7, output="latent")
    picture = drawing.generate(pipeline, PROMPT, sampler(), 7)
    assert np.array_equal(np.asarray(drawing.decode(pipeline, latents)), np.asarray(picture))


def test_base_and_refiner_share_the_schedule_as_an_ensemble_of_experts():
    base, refiner, steps = load("base"), load("refiner", task="two-stage"), sampler(steps=10)
    half = drawing.generate(base, PROMPT, steps, 7, output="latent", denoising_end=0.8)
    first = drawing.executed_steps(base)
    picture = drawing.generate(refiner, PROMPT, steps, 8, image=half, denoising_start=0.8)
    assert (first, drawing.executed_steps(refiner)) == (8, 2)
    assert picture.size == (SIZE_PX, SIZE_PX)


def test_a_refiner_takes_finished_latents_at_a_strength():
    refiner = load("refiner", task="two-stage")
    latents = drawing.generate(load("base"), PROMPT, sampler(steps=10), 7, output="latent")
    drawing.generate(refiner, PROMPT, sampler(steps=10), 8, image=latents, strength=0.3)
    assert drawing.executed_steps(refiner) == 3


@pytest.mark.parametrize(
    ("model", "scheduler", "guidance", "batch"),
    [
        ("base", "EulerDiscreteScheduler", 5.0, 2),
        ("base", "LCMScheduler", 1.0, 1),
        ("base", "LCMScheduler", 0.0, 1),
        ("lcm", "LCMScheduler", 8.0, 1),
    ],
)
def test_the_batch_is_doubled_only_where_guidance_needs_it(model, scheduler, guidance, batch):
    from stages.generation import recording

    pipeline, how = load(model, scheduler), sampler(scheduler, guidance=guidance)
    with recording.recording(pipeline, lambda step: True) as points:
        drawing.generate(pipeline, PROMPT, how, 7)
    assert [point["sample"].shape[0] for point in points] == [batch] * 3
    assert ("timestep_cond" in points[0]) == (model == "lcm")


def test_few_step_pictures_depend_on_the_seed_alone():
    pipeline, how = load("lcm", "LCMScheduler"), sampler("LCMScheduler", guidance=8.0)
    first, again, other = (np.asarray(drawing.generate(pipeline, PROMPT, how, seed)) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_recorded_inputs_stay_as_they_are_while_the_same_unet_goes_on_working():
    from stages.generation import recording

    pipeline = load("base")
    with recording.recording(pipeline, lambda step: True) as points:
        drawing.generate(pipeline, PROMPT, sampler(), 7)
    kept = [{name: array.copy() for name, array in point.items()} for point in points]
    first = [drawing.predict(pipeline, point).copy() for point in points]
    drawing.generate(pipeline, "another", sampler(), 9)
    again = [drawing.predict(pipeline, point) for point in points]
    for point, copy in zip(points, kept, strict=True):
        assert all(np.array_equal(point[name], copy[name]) for name in copy)
    assert all(np.array_equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_reference_computes_in_float32_with_dynamic_quantization_off():
    default = part(type(CPU), **{**vars(CPU), "inference_precision": "default", "dynamic_quantization_group_size": 64})
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", sampler(), default, reference=True)
    properties = runtime.effective_properties(pipeline.unet.request)
    assert properties["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"
    assert "float32" in properties["INFERENCE_PRECISION_HINT"] or "f32" in properties["INFERENCE_PRECISION_HINT"]


def test_a_missing_weight_file_is_named(tmp_path):
    broken = shutil.copytree(tiny_ir("base"), tmp_path / "ir")
    (broken / "unet/openvino_model.bin").unlink()
    with pytest.raises(FileNotFoundError, match="unet/openvino_model.bin is missing: it has to be made again"):
        pipelines.load(broken, "text-to-image", sampler(), CPU)


def test_an_index_that_names_a_foreign_module_is_refused_before_anything_is_imported(tmp_path):
    broken = shutil.copytree(tiny_ir("base"), tmp_path / "ir")
    index = json.loads((broken / "model_index.json").read_text())
    index["scheduler"] = ["antigravity", "Anything"]
    (broken / "model_index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="antigravity"):
        pipelines.load(broken, "text-to-image", sampler(), CPU)


def test_an_absent_device_is_refused_with_those_present():
    absent = part(type(CPU), **{**vars(CPU), "name": "NPU"})
    with pytest.raises(ValueError, match="present: CPU"):
        pipelines.load(tiny_ir("base"), "text-to-image", sampler(), absent)


def test_a_strength_that_runs_no_step_is_refused():
    pipeline = pipelines.also(load("base"), "image-to-image")
    with pytest.raises(ValueError, match="strength 0.2 of 3 steps runs no step"):
        drawing.generate(pipeline, PROMPT, sampler(), 7, image=object(), strength=0.2)


def test_a_picture_of_a_tiny_vae_is_the_one_that_diffusers_draws():
    import torch
    from diffusers import StableDiffusionXLPipeline

    checkpoint = tiny_root() / "artifacts/checkpoints/tiny-vae"
    reference = StableDiffusionXLPipeline.from_pretrained(checkpoint, torch_dtype=torch.float32, add_watermarker=False)
    assert type(reference.vae).__name__ == "AutoencoderTiny"
    reference.set_progress_bar_config(disable=True)
    how, generator = {"num_inference_steps": 3, "guidance_scale": 5.0}, torch.Generator().manual_seed(7)
    expected = reference(PROMPT, height=SIZE_PX, width=SIZE_PX, generator=generator, **how).images[0]
    pipeline = load("tiny-vae")
    ours = drawing.generate(pipeline, PROMPT, sampler(), 7)
    assert pipeline.vae_scale_factor == reference.vae_scale_factor == 2
    assert ours.size == (SIZE_PX, SIZE_PX) and np.asarray(ours).std() > 0
    assert np.abs(np.asarray(ours, int) - np.asarray(expected, int)).max() <= 1
    latents = drawing.generate(pipeline, PROMPT, sampler(), 7, output="latent")
    assert np.array_equal(np.asarray(drawing.decode(pipeline, latents)), np.asarray(ours))


def test_a_tiny_vae_encodes_to_latents_without_noise_for_image_to_image():
    import torch
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny.from_pretrained(tiny_root() / "artifacts/checkpoints/tiny-vae/vae").float().eval()
    pipeline = pipelines.also(load("tiny-vae"), "image-to-image")
    start = drawing.generate(load("tiny-vae"), PROMPT, sampler(), 7)
    picture = pipeline.image_processor.preprocess(start)
    distribution = pipeline.vae.encode(picture).latent_dist
    with torch.no_grad():
        expected = vae.encode(picture).latents
    for latents in (distribution.sample(torch.Generator().manual_seed(0)), distribution.mode()):
        torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)
    pictures = [
        np.asarray(drawing.generate(pipeline, PROMPT, sampler(), seed, image=start, strength=0.7)) for seed in (8, 8, 9)
    ]
    assert pictures[0].shape == (SIZE_PX, SIZE_PX, 3) and drawing.executed_steps(pipeline) == 2
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])


def load(model, scheduler="EulerDiscreteScheduler", task="text-to-image"):
    return pipelines.load(tiny_ir(model), task, sampler(scheduler), CPU)


def test_latents_are_brought_back_by_the_mean_and_deviation_that_a_checkpoint_gives():
    import torch

    latents = torch.ones(1, 4, 2, 2)
    plain = SimpleNamespace(scaling_factor=0.5)
    assert drawing.unscaled(latents, plain).unique().tolist() == [2.0]
    given = SimpleNamespace(scaling_factor=0.5, latents_mean=[1.0, 2.0, 3.0, 4.0], latents_std=[0.5, 0.5, 1.0, 1.0])
    assert drawing.unscaled(latents, given)[0, :, 0, 0].tolist() == [2.0, 3.0, 5.0, 6.0]  # 1 x std / 0.5 + mean
