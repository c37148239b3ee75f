"""Trains the family's picture autoencoder: L1 plus an edge term plus a weak pull of the latents towards a normal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from miniatures import architecture, emoji, loop

STEPS = 1200
BATCH = 16


def edges(pictures: Any) -> tuple[Any, Any]:
    """Differences of horizontal and vertical neighbours of (N, 3, H, W)."""
    return pictures[..., :, 1:] - pictures[..., :, :-1], pictures[..., 1:, :] - pictures[..., :-1, :]


def reconstruction_loss(picture: Any, target: Any) -> Any:
    """L1 of the pixels plus L1 of their edges: outlines are a small part of the area and most of the picture."""
    import torch

    loss = torch.nn.functional.l1_loss(picture, target)
    for ours, theirs in zip(edges(picture), edges(target), strict=True):
        loss = loss + 0.5 * torch.nn.functional.l1_loss(ours, theirs)
    return loss


def train(work: Path, steps: int = STEPS) -> Any:
    """AutoencoderKL with `scaling_factor` set to one over the standard deviation of its latents."""
    import torch

    torch.manual_seed(0)
    vae = architecture.build_vae().to(memory_format=torch.channels_last)
    subjects = [emoji.render(name) for name in emoji.subjects()]
    others = [emoji.render(name) for name in emoji.names()]
    colours = list(emoji.COLOURS)

    def batch(generator: Any) -> Any:
        def pick(size: int) -> list[int]:
            return torch.randint(size, (BATCH // 2 // loop.workers(),), generator=generator).tolist()

        chosen = [subjects[i] for i in pick(len(subjects))] + [others[i] for i in pick(len(others))]
        behind = [colours[i] for i in pick(len(colours)) + pick(len(colours))]
        pictures = [emoji.compose(picture, colour) for picture, colour in zip(chosen, behind, strict=True)]
        return torch.from_numpy(emoji.as_input(np.stack(pictures))).contiguous(memory_format=torch.channels_last)

    def loss_of_step(generator: Any, step: int) -> Any:
        target = batch(generator)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            posterior = vae.encode(target).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            picture = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).float().mean()
        return reconstruction_loss(picture.float(), target) + 1e-4 * kl

    vae = loop.fit("vae", vae, loss_of_step, steps=steps, peak_rate=1.5e-3, folder=work)
    with torch.no_grad():
        sample = [emoji.compose(p, colours[i % len(colours)]) for i, p in enumerate(subjects)]
        latents = vae.encode(torch.from_numpy(emoji.as_input(np.stack(sample)))).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def psnr(vae: Any, names: list[str]) -> float:
    """Mean PSNR in dB of the reconstruction of `names` on changing backgrounds."""
    import torch

    colours = list(emoji.COLOURS)
    pictures = [emoji.compose(emoji.render(name), colours[i % len(colours)]) for i, name in enumerate(names)]
    target = torch.from_numpy(emoji.as_input(np.stack(pictures)))
    with torch.no_grad():
        ours = vae.decode(vae.encode(target).latent_dist.mean).sample.clamp(-1, 1)
    error = ((ours - target) / 2).pow(2).mean(dim=(1, 2, 3))
    return (-10 * error.log10()).mean().item()
