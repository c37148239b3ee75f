"""Trains a decoder of the family's latents a fraction of the VAE's size, to draw what the VAE draws, and its encoder.

What TAESDXL is to SDXL (github.com/madebyollin/taesd): diffusers' AutoencoderTiny, plain convolutions with ReLU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miniatures import architecture, loop, vae


def train(teacher: Any, work: Path, steps: int) -> Any:
    """AutoencoderTiny for latents that are scaled as UNets see them, `teacher` being the family's VAE."""
    import torch
    from torch.nn import functional

    loop.seed("tiny-vae")
    tiny = architecture.build_tiny_vae().to(loop.device(), memory_format=torch.channels_last)
    batch, scale = vae.Batches(), teacher.config.scaling_factor

    def loss_of_step(generator: Any, step: int) -> Any:
        pictures = batch.draw(generator)
        with torch.autocast(loop.device(), dtype=torch.bfloat16):
            with torch.no_grad():
                latents = teacher.encode(pictures).latent_dist.mean
                target = teacher.decode(latents).sample
            drawn, found = tiny.decode(scale * latents).sample, tiny.encode(pictures).latents
        return vae.reconstruction_loss(drawn.float(), target.float()) + functional.mse_loss(
            found.float(), scale * latents.float()
        )

    return loop.fit("tiny-vae", tiny, loss_of_step, steps=steps, peak_rate=2e-3, folder=work)
