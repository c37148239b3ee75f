"""A picture drawn by a pipeline, decided by prompt, settings and seed alone; and the steps on the way, one by one.

Consumes a loaded pipeline; produces pictures, latents, embeddings and noise predictions, the same ones that an
untouched pipeline of optimum-intel makes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stages.ir import finite

if TYPE_CHECKING:
    from PIL import Image

    from stages.settings.schema import Sampler

SHOWN = 80  # characters of a prompt in an error
SECOND_SEED = 10_000  # a refiner's, apart from its base's: the same noise twice would be no noise at all
Encoded = dict[str, Any]  # embeddings of one prompt, as the pipelines take them


def initial_latents(pipeline: Any, sampler: Sampler, seed: int) -> Any:
    """Unit normal noise of shape (1, 4, height / 8, width / 8): the generator's first draw, whatever the model."""
    import torch

    return torch.randn(_latents_shape(pipeline, sampler), generator=torch.Generator().manual_seed(seed))


def generate(
    pipeline: Any,
    prompt: str | Encoded,
    sampler: Sampler,
    seed: int,
    *,
    output: str = "pil",
    steps: int | None = None,
    timesteps: list[float] | None = None,
    image: Any = None,
    strength: float | None = None,
    denoising_start: float | None = None,
    denoising_end: float | None = None,
    on_step: Callable[[Any], None] | None = None,
) -> Image.Image | Any:
    """One picture (`output` "pil") or its latents (1, 4, h, w) ("latent"), decided by prompt, settings and seed.

    `prompt` is a text, or what `encode_ahead` made of one.

    `timesteps`: of the schedule to step through, in the place of so many `steps`. `image` is a picture or latents, for
    image-to-image pipelines alone: noised as far as `strength` says, or taken as half finished at `denoising_start`.
    `on_step` is handed the latents after every step. `executed_steps` tells how many steps were run.
    """
    import torch

    steps = steps or sampler.steps
    settings: dict[str, Any] = {"denoising_end": denoising_end, "output_type": output}
    generator = torch.Generator().manual_seed(seed)
    if image is None:
        # Drawn from the generator itself, which the few-step samplers draw their later noise from: as diffusers does.
        latents = torch.randn(_latents_shape(pipeline, sampler), generator=generator)
        settings |= {"latents": latents, "height": sampler.height, "width": sampler.width}
    else:
        settings |= {"image": image, "denoising_start": denoising_start}
        settings |= {} if strength is None else {"strength": _require_a_step(strength, steps)}
    if timesteps is not None:
        settings["timesteps"] = timesteps
    if on_step is not None:
        settings["callback_on_step_end"] = _callback(on_step)
    if not isinstance(prompt, str):
        finite.require(prompt, "the text encoders' results")
    result = pipeline(
        **({"prompt": prompt, **_negative(sampler)} if isinstance(prompt, str) else prompt),
        num_inference_steps=steps,
        guidance_scale=sampler.guidance,
        generator=generator,
        **settings,
    )
    if output == "latent":
        finite.require({"latents": result.images}, "what the UNet drew")
        return result.images
    return result.images[0]


def decode(pipeline: Any, latents: Any) -> Image.Image:
    """The picture of finished latents (1, 4, h, w), as the pipeline itself makes it at `output` "pil"."""
    decoded = pipeline.vae.decode(unscaled(latents, pipeline.vae.config), return_dict=False)[0]
    finite.require({"pixels": decoded}, "the VAE decoder's result")
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
    encoded = []
    for prompt in prompts:
        found = dict(zip(names, encode_prompt(pipeline, prompt, sampler), strict=True))
        found = {name: tensor for name, tensor in found.items() if tensor is not None}
        with finite.of(f"prompt {prompt[:SHOWN]!r}"):
            finite.require(found, "the text encoders' results")
        # OpenVINO writes the next prompt's into the same memory
        encoded.append({name: tensor.clone() for name, tensor in found.items()})
    return encoded


def negative_of(sampler: Sampler) -> str:
    """The negative prompt, where guidance asks for it."""
    return sampler.negative_prompt if sampler.guidance > 1 else ""


def _negative(sampler: Sampler) -> dict[str, str | None]:
    return {"negative_prompt": sampler.negative_prompt or None}


def predict(pipeline: Any, inputs: dict[str, Any]) -> Any:
    """The UNet's noise prediction (n, 4, h, w) for recorded inputs, a copy.

    Shares the inputs' memory as the pipeline itself does: a copying call of the same request would write into the
    arrays that were shared last.
    """
    pipeline.unet.compile()
    return pipeline.unet.request(inputs, share_inputs=True)[0]


def tensor(array: Any) -> Any:
    """The array as pipelines take latents."""
    import torch

    return torch.from_numpy(array)


def executed_steps(pipeline: Any) -> int:
    """Steps of the last run: image-to-image runs int(steps x strength) of them."""
    return pipeline.num_timesteps


def _latents_shape(pipeline: Any, sampler: Sampler) -> tuple[int, int, int, int]:
    height, width = (side // pipeline.vae_scale_factor for side in (sampler.height, sampler.width))
    return 1, pipeline.unet.config.in_channels, height, width


def unscaled(latents: Any, config: Any) -> Any:
    """Latents as the VAE's encoder makes them: some checkpoints give a mean and a deviation for each channel."""
    import torch

    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or deviation is None:
        return latents / config.scaling_factor
    mean, deviation = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, deviation))
    return latents * deviation / config.scaling_factor + mean


def _callback(on_step: Callable[[Any], None]) -> Callable[..., dict]:
    def callback(_pipeline: Any, _step: int, _timestep: Any, tensors: dict) -> dict:
        on_step(tensors["latents"])
        return {}

    return callback


def _require_a_step(strength: float, steps: int) -> float:
    if int(steps * strength) >= 1:
        return strength
    raise ValueError(f"strength {strength} of {steps} steps runs no step: strength x steps must be >= 1")
