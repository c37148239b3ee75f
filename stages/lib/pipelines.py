"""Diffusion pipelines on IR folders: loaded, fed with latents that depend on the seed alone, run.

Consumes an IR folder as `export` and `quantize` write it; produces optimum-intel's own SDXL pipelines and their
pictures, the same ones that an untouched pipeline draws. Never exports, downloads or reshapes: optimum's `reshape`
doubles the UNet's batch, which is wrong without classifier-free guidance.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import budget, components, sizes, tiles
from stages.lib import ir as irs

if TYPE_CHECKING:
    from PIL import Image

    from stages.lib.config import Device, Sampler
    from stages.lib.residency import Room

Encoded = dict[str, Any]  # embeddings of one prompt, as the pipelines take them

PARTS = tuple(component.name for component in components.COMPONENTS)
CLASSES = {
    "text-to-image": "OVStableDiffusionXLPipeline",
    "image-to-image": "OVStableDiffusionXLImg2ImgPipeline",
    "two-stage": "OVStableDiffusionXLImg2ImgPipeline",  # the refiner's half of it
}


def load(
    ir: Path, task: str, sampler: Sampler, device: Device, *, reference: bool = False, room: Room | None = None
) -> Any:
    """The pipeline of `task` on the IR folder `ir`, compiled for `device`; `reference`: float32, nothing quantized.

    With a `room`, parts are compiled when they are called and let go when it is full.
    """
    _require_parts(ir)
    irs.require_device(device.name)
    pipeline = _class(task).from_pretrained(
        ir,  # a folder that is there: nothing is exported, nothing is asked of the Hub
        export=False,
        device=device.name,
        ov_config=dict(irs.device_config(device, reference)),
        scheduler=load_scheduler(ir, sampler.scheduler),
        compile=room is None,
    )
    pipeline.set_progress_bar_config(disable=True)
    if room is not None:
        asked = budget.request(sampler, device)
        asked = replace(asked, floats="f32") if reference else asked
        room.watch(parts(pipeline), budget.parts_gb(sizes.of_ir(ir), asked, irs.stored(ir)))
    if budget.request(sampler, device).tiles:
        scale = pipeline.vae_scale_factor
        tiles.in_tiles(pipeline, budget.TILE_PX // scale, budget.OVERLAP_PX // scale)
    return pipeline


def parts(pipeline: Any) -> dict[str, Any]:
    """optimum's wrappers of the compiled models, by name."""
    return {name: getattr(pipeline, name) for name in PARTS if getattr(pipeline, name) is not None}


def also(pipeline: Any, task: str) -> Any:
    """A pipeline of another task on the very same parts: no second copy in memory, no second compilation."""
    shared = parts(pipeline)
    other = _class(task)(
        scheduler=type(pipeline.scheduler).from_config(pipeline.scheduler.config),
        tokenizer=pipeline.tokenizer,
        tokenizer_2=pipeline.tokenizer_2,
        force_zeros_for_empty_prompt=pipeline.config.force_zeros_for_empty_prompt,
        requires_aesthetics_score=pipeline.config.get("requires_aesthetics_score", False),
        device=pipeline._device,
        ov_config=pipeline.ov_config,
        model_save_dir=pipeline.model_save_dir,
        compile=False,
        **{name: part.model for name, part in shared.items()},
    )
    for name, part in (shared | {"vae": pipeline.vae}).items():
        setattr(other, name, part)
    other.set_progress_bar_config(disable=True)
    return other


def load_scheduler(ir: Path, name: str) -> Any:
    """The diffusers scheduler class `name`, built from the scheduler configuration of the IR folder."""
    import diffusers

    config = json.loads((ir / "scheduler" / "scheduler_config.json").read_text())
    return getattr(diffusers, name).from_config(config)


def initial_latents(pipeline: Any, size: int, seed: int) -> Any:
    """Unit normal noise of shape (1, 4, size / 8, size / 8): the generator's first draw, whatever the model."""
    import torch

    return torch.randn(_latents_shape(pipeline, size), generator=torch.Generator().manual_seed(seed))


def generate(
    pipeline: Any,
    prompt: str | Encoded,
    sampler: Sampler,
    seed: int,
    *,
    output: str = "pil",
    steps: int | None = None,
    image: Any = None,
    strength: float | None = None,
    denoising_start: float | None = None,
    denoising_end: float | None = None,
    on_step: Callable[[Any], None] | None = None,
) -> Image.Image | Any:
    """One picture (`output` "pil") or its latents (1, 4, h, w) ("latent"), decided by prompt, settings and seed.

    `prompt` is a text, or what `encode_ahead` made of one.

    `image` is a picture or latents, for image-to-image pipelines alone: noised as far as `strength` says, or taken as
    half finished at `denoising_start`. `on_step` is handed the latents after every step. `executed_steps` tells how
    many steps were run.
    """
    import torch

    steps = steps or sampler.steps
    settings: dict[str, Any] = {"denoising_end": denoising_end, "output_type": output}
    generator = torch.Generator().manual_seed(seed)
    if image is None:
        # Drawn from the generator itself, which the few-step samplers draw their later noise from: as diffusers does.
        latents = torch.randn(_latents_shape(pipeline, sampler.size), generator=generator)
        settings |= {"latents": latents, "height": sampler.size, "width": sampler.size}
    else:
        settings |= {"image": image, "denoising_start": denoising_start}
        settings |= {} if strength is None else {"strength": _require_a_step(strength, steps)}
    if on_step is not None:
        settings["callback_on_step_end"] = _callback(on_step)
    result = pipeline(
        **({"prompt": prompt, **_negative(sampler)} if isinstance(prompt, str) else prompt),
        num_inference_steps=steps,
        guidance_scale=sampler.guidance,
        generator=generator,
        **settings,
    )
    return result.images if output == "latent" else result.images[0]


def decode(pipeline: Any, latents: Any) -> Image.Image:
    """The picture of finished latents (1, 4, h, w), as the pipeline itself makes it at `output` "pil"."""
    decoded = pipeline.vae.decode(latents / pipeline.vae.config.scaling_factor, return_dict=False)[0]
    return pipeline.image_processor.postprocess(decoded, output_type="pil")[0]


def encode_prompt(pipeline: Any, prompt: str, sampler: Sampler) -> Any:
    """The text encoders' work for one picture: the negative prompt's too, where guidance asks for it."""
    return pipeline.encode_prompt(
        prompt=prompt,
        num_images_per_prompt=1,
        do_classifier_free_guidance=sampler.guidance > 1 and pipeline.unet.config.time_cond_proj_dim is None,
        **_negative(sampler),
    )


def encode_ahead(pipeline: Any, prompts: list[str], sampler: Sampler) -> list[Encoded]:
    """What `generate` takes in place of each prompt, so that text encoders need not stay while UNet steps run."""
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return [
        {
            name: tensor.clone()  # OpenVINO writes the next prompt's into the same memory
            for name, tensor in zip(names, encode_prompt(pipeline, prompt, sampler), strict=True)
            if tensor is not None
        }
        for prompt in prompts
    ]


def _negative(sampler: Sampler) -> dict[str, str | None]:
    return {"negative_prompt": sampler.negative_prompt or None}


def predict(pipeline: Any, inputs: dict[str, Any]) -> Any:
    """The UNet's noise prediction (n, 4, h, w) for recorded inputs, a copy.

    Shares the inputs' memory as the pipeline itself does: a copying call of the same request would write into the
    arrays that were shared last.
    """
    pipeline.unet.compile()
    return pipeline.unet.request(inputs, share_inputs=True)[0]


def executed_steps(pipeline: Any) -> int:
    """Steps of the last run: image-to-image runs int(steps x strength) of them."""
    return pipeline.num_timesteps


def _latents_shape(pipeline: Any, size: int) -> tuple[int, int, int, int]:
    side = size // pipeline.vae_scale_factor
    return 1, pipeline.unet.config.in_channels, side, side


def _callback(on_step: Callable[[Any], None]) -> Callable[..., dict]:
    def callback(_pipeline: Any, _step: int, _timestep: Any, tensors: dict) -> dict:
        on_step(tensors["latents"])
        return {}

    return callback


def _require_a_step(strength: float, steps: int) -> float:
    if int(steps * strength) >= 1:
        return strength
    raise ValueError(f"strength {strength} of {steps} steps runs no step: strength x steps must be >= 1")


def _require_parts(ir: Path) -> None:
    components.read_index(ir)  # loading imports whatever modules an index names
    needed = ("scheduler/scheduler_config.json", *(f"unet/{file}" for file in components.IR_FILES))
    missing = [name for name in needed if not (ir / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{ir} is not a whole IR folder, {missing[0]} is missing: run 'dvc repro' to make it")


def _class(task: str) -> Any:
    if task not in CLASSES:
        raise ValueError(f"task must be one of {sorted(CLASSES)}, got {task!r}")
    return getattr(_optimum(), CLASSES[task])


def _optimum() -> Any:
    """optimum-intel, which takes seconds to import, without its chatter."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read at import, where the first lines are said
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    import diffusers
    import optimum.intel.openvino
    import transformers

    logging.getLogger("optimum").setLevel(logging.ERROR)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return optimum.intel.openvino
