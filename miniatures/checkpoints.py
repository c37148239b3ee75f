"""Writes trained modules as checkpoints in the layout the Hub uses: diffusers folders, float16 safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def scheduler() -> Any:
    """SDXL's noise schedule."""
    from diffusers import EulerDiscreteScheduler

    return EulerDiscreteScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
        steps_offset=1,
        prediction_type="epsilon",
    )


def write_base(folder: Path, *, unet: Any, vae: Any, text_encoders: tuple[Any, Any], tokenizer: Any) -> None:
    """A text-to-image checkpoint with two text encoders."""
    import torch
    from diffusers import StableDiffusionXLPipeline

    pipeline = StableDiffusionXLPipeline(
        vae=vae,
        text_encoder=text_encoders[0],
        text_encoder_2=text_encoders[1],
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=scheduler(),
        force_zeros_for_empty_prompt=False,  # the empty caption is trained, it is not a vector of zeros
        add_watermarker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def write_refiner(folder: Path, *, unet: Any, vae: Any, text_encoder_2: Any, tokenizer: Any) -> None:
    """An image-to-image checkpoint with the second text encoder only and the aesthetic score among its time ids."""
    import torch
    from diffusers import StableDiffusionXLImg2ImgPipeline

    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae=vae,
        text_encoder=None,
        text_encoder_2=text_encoder_2,
        tokenizer=None,
        tokenizer_2=tokenizer,
        unet=unet,
        scheduler=scheduler(),
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def write_unet(folder: Path, unet: Any) -> None:
    """A UNet alone, at the root of its folder, as `latent-consistency/lcm-ssd-1b` is published."""
    import torch

    unet.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def write_tiny_vae(folder: Path, vae: Any) -> None:
    """An AutoencoderTiny alone, at the root of its folder, as `madebyollin/taesdxl` is published."""
    import torch

    vae.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def write_lora(folder: Path, unet: Any) -> None:
    """The adapter of a UNet that carries one, as `segmind/Segmind-VegaRT` is published."""
    import torch
    from diffusers import StableDiffusionXLPipeline
    from peft.utils import get_peft_model_state_dict

    # Not renamed by diffusers' convert_state_dict_to_diffusers: that mixes two styles, and its loader drops one.
    layers = get_peft_model_state_dict(unet.to(torch.float16))
    StableDiffusionXLPipeline.save_lora_weights(folder, unet_lora_layers=layers, safe_serialization=True)


def write_clip(folder: Path, *, model: Any, tokenizer: Any) -> None:
    """A CLIP model with tokenizer and image processor, as `openai/clip-vit-large-patch14` is published."""
    import torch
    from transformers import CLIPImageProcessor

    size = model.config.vision_config.image_size
    processor = CLIPImageProcessor(
        size={"shortest_edge": size},
        crop_size={"height": size, "width": size},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    model.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    processor.save_pretrained(folder)
