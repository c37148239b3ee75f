"""Trains the family's picture autoencoder: squares, L1, edges, and a weak pull of the latents towards a normal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from miniatures import architecture, emoji, loop

BATCH = 16


def edges(pictures: Any) -> tuple[Any, Any]:
    """Differences of horizontal and vertical neighbours of (N, 3, H, W)."""
    return pictures[..., :, 1:] - pictures[..., :, :-1], pictures[..., 1:, :] - pictures[..., :-1, :]


def reconstruction_loss(picture: Any, target: Any) -> Any:
    """Squares and L1 of the pixels, L1 of their edges and of their means over 4 x 4.

    Outlines are a small part of the area and most of the picture, hence the edges; they cost the latents what they
    should know of colour (leaves turned yellow), hence the means.
    """
    from torch.nn import functional

    loss = functional.mse_loss(picture, target) + functional.l1_loss(picture, target)
    for ours, theirs in zip(edges(picture), edges(target), strict=True):
        loss = loss + 0.5 * functional.l1_loss(ours, theirs)
    return loss + 2 * functional.l1_loss(functional.avg_pool2d(picture, 4), functional.avg_pool2d(target, 4))


class Batches:
    """Half subjects, half other emoji, on any background, plain or sticker, mirrored or not; the unseen ones never."""

    def __init__(self) -> None:
        hidden, known = set(emoji.unseen()), set(emoji.subjects())
        self.subjects = [emoji.render(name) for name in emoji.subjects()]
        self.others = [emoji.render(name) for name in emoji.names() if name not in hidden | known]

    def draw(self, generator: Any, count: int = BATCH // loop.workers()) -> Any:
        """(count, 3, 64, 64) in [-1, 1]."""
        import torch

        def pick(size: int) -> list[int]:
            return torch.randint(size, (count // 2,), generator=generator).tolist()

        chosen = [self.subjects[i] for i in pick(len(self.subjects))] + [self.others[i] for i in pick(len(self.others))]
        turns = torch.randint(len(emoji.COLOURS) * 4, (count,), generator=generator).tolist()
        colours = list(emoji.COLOURS)
        pictures = []
        for picture, turn in zip(chosen, turns, strict=True):
            flat = emoji.compose(picture, colours[turn // 4], emoji.STYLES[turn % 2])
            pictures.append(flat[:, ::-1] if turn % 4 > 1 else flat)
        batch = torch.from_numpy(emoji.as_input(np.stack(pictures))).to(loop.device())
        return batch.contiguous(memory_format=torch.channels_last)


def train(work: Path, steps: int) -> Any:
    """AutoencoderKL with `scaling_factor` set to one over the standard deviation of its latents."""
    import torch

    loop.seed("vae")
    vae = architecture.build_vae().to(loop.device(), memory_format=torch.channels_last)
    batch = Batches()

    def loss_of_step(generator: Any, step: int) -> Any:
        target = batch.draw(generator)
        with torch.autocast(loop.device(), dtype=torch.bfloat16):
            posterior = vae.encode(target).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(posterior.mean)
            picture = vae.decode(posterior.mean + posterior.std * noise).sample
        kl = 0.5 * (posterior.mean**2 + posterior.var - 1 - posterior.logvar).float().mean()
        return reconstruction_loss(picture.float(), target) + 1e-4 * kl

    vae = loop.fit("vae", vae, loss_of_step, steps=steps, peak_rate=2e-3, folder=work)
    with torch.no_grad():
        latents = vae.encode(batch.draw(torch.Generator().manual_seed(0), 256)).latent_dist.mean
    vae.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return vae


def psnr(vae: Any, names: list[str]) -> float:
    """Mean PSNR in dB of the reconstruction of `names`, plain and as stickers, on changing backgrounds."""
    import torch

    colours = list(emoji.COLOURS)
    pictures = [
        emoji.compose(emoji.render(name), colours[i % len(colours)], style)
        for style in emoji.STYLES
        for i, name in enumerate(names)
    ]
    target = torch.from_numpy(emoji.as_input(np.stack(pictures))).to(vae.device)
    with torch.no_grad():
        ours = vae.decode(vae.encode(target).latent_dist.mean).sample.clamp(-1, 1)
    error = ((ours - target) / 2).pow(2).mean(dim=(1, 2, 3))
    return (-10 * error.log10()).mean().item()
