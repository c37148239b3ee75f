"""What all UNet trainings share: the noise schedule, batches, the error's weighting."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from miniatures import checkpoints, loop
from miniatures.captions import Texts
from miniatures.latents import Data

BATCH = 64 // loop.workers()  # pictures of one process in one step
DROPPED = 0.1  # captions replaced by the empty one, for classifier-free guidance


@cache
def alphas() -> Any:
    """Cumulative products of the noise schedule, (1000,)."""
    return checkpoints.scheduler().alphas_cumprod.to(loop.device())


def level(t: Any) -> Any:
    """The schedule at timesteps (N,), shaped to multiply latents."""
    return alphas()[t].view(-1, 1, 1, 1)


def noised(latents: Any, t: Any, noise: Any) -> Any:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) noise."""
    return level(t).sqrt() * latents + (1 - level(t)).sqrt() * noise


def origin(x: Any, t: Any, eps: Any) -> Any:
    """The x_0 that x_t and its noise stand for."""
    return (x - (1 - level(t)).sqrt() * eps) / level(t).sqrt()


def weights(t: Any) -> Any:
    """Min-SNR weighting with gamma 5 (arXiv 2303.09556) of the noise prediction's error."""
    snr = alphas()[t] / (1 - alphas()[t])
    return snr.clamp(max=5.0) / snr


def weighted_error(prediction: Any, target: Any, t: Any) -> Any:
    return (weights(t) * (prediction - target).pow(2).mean(dim=(1, 2, 3))).mean()


@dataclass
class Batch:
    """Noised latents `x` of rows `index` at timesteps `t`, and what the UNet is told of them."""

    index: Any
    t: Any
    noise: Any
    x: Any
    text: tuple[Any, Any]
    time_ids: Any


def draw(data: Data, texts: Texts, generator: Any, *, dropped: float = DROPPED) -> Batch:
    """Random rows at random timesteps, some without their captions."""
    import torch

    put = loop.device()
    index = torch.randint(len(data.latents), (BATCH,), generator=generator).to(put)
    silent = (torch.rand(BATCH, generator=generator) < dropped).to(put)
    t = torch.randint(1000, (BATCH,), generator=generator).to(put)
    noise = torch.randn((BATCH, *data.latents.shape[1:]), generator=generator).to(put)
    text = texts.of(torch.where(silent, texts.empty, data.caption[index]))
    return Batch(index, t, noise, noised(data.latents[index], t, noise), text, data.time_ids[index])


def predict(unet: Any, x: Any, t: Any, text: tuple[Any, Any], time_ids: Any, condition: Any = None) -> Any:
    """The UNet's noise prediction."""
    added = dict(text_embeds=text[1], time_ids=time_ids)
    return unet(x, t, text[0], timestep_cond=condition, added_cond_kwargs=added).sample
