"""How the few-step members are trained: latent consistency distillation of ssd-1b (whole) and of vega (as a LoRA)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miniatures import architecture, loop, members
from miniatures.captions import Texts
from miniatures.diffusion import BATCH, draw, level, noised, origin, predict
from miniatures.latents import Data

STRIDE = 20  # timesteps from one point of the teacher's DDIM path to the next: 50 steps in all
CONDITION_WIDTH = architecture.UNETS["lcm-ssd-1b"]["time_cond_proj_dim"]


@dataclass(frozen=True)
class Guidance:
    """The scale w of cond + w (cond - uncond): `draw(generator)` gives (BATCH,), `embed(w)` the student's input."""

    draw: Callable[[Any], Any]
    embed: Callable[[Any], Any]


def boundary(t: Any) -> tuple[Any, Any]:
    """c_skip and c_out of diffusers' LCMScheduler: sigma_data 0.5, timesteps scaled by 10."""
    scaled = 10.0 * t.float().view(-1, 1, 1, 1)
    return 0.25 / (scaled**2 + 0.25), scaled / (scaled**2 + 0.25).sqrt()


def answer(unet: Any, x: Any, t: Any, told: tuple[Any, Any, Any]) -> Any:
    """The consistency function: the picture at the start of the path that passes through x_t."""
    skip, out = boundary(t)
    return skip * x + out * origin(x, t, predict(unet, x, t, *told))


def distil(
    name: str,
    data: Data,
    student: Any,
    teacher: Any,
    texts: Texts,
    guidance: Guidance,
    work: Path,
    steps: int,
    rate: float,
) -> Any:
    """Latent consistency distillation (arXiv 2310.04378) along the guided teacher's DDIM path."""
    import torch

    target_net = copy.deepcopy(student).requires_grad_(False)
    nothing = texts.of(torch.full((BATCH,), texts.empty))

    def loss(generator: Any, step: int) -> Any:
        batch = draw(data, texts, generator, dropped=0.0)
        start = (STRIDE * torch.randint(1, 1000 // STRIDE + 1, (BATCH,), generator=generator) - 1).to(batch.t.device)
        end = (start - STRIDE).clamp(min=0)
        w = guidance.draw(generator).to(batch.t.device)
        x = noised(data.latents[batch.index], start, batch.noise)
        told = (batch.text, batch.time_ids, guidance.embed(w))
        with torch.no_grad():
            both = tuple(torch.cat(parts) for parts in zip(batch.text, nothing, strict=True))
            twice = (torch.cat([x, x]), torch.cat([start, start]), both, batch.time_ids.repeat(2, 1))
            cond, uncond = predict(teacher, *twice).chunk(2)
            eps = cond + w.view(-1, 1, 1, 1) * (cond - uncond)
            earlier = level(end).sqrt() * origin(x, start, eps) + (1 - level(end)).sqrt() * eps
            target = answer(target_net, earlier, end, told)
            torch._foreach_lerp_(list(target_net.parameters()), list(student.parameters()), 0.05)
        difference = answer(student, x, start, told) - target
        return ((difference**2 + 1e-6).sqrt() - 1e-3).mean()

    return loop.fit(name, student, loss, steps=steps, peak_rate=rate, folder=work, average=0.99)


def guidance_embedding(w: Any) -> Any:
    """(N, width): diffusers' `get_guidance_scale_embedding` of the guidance scale less one."""
    import torch

    half = CONDITION_WIDTH // 2
    places = torch.arange(half, dtype=torch.float32, device=w.device)
    angles = 1000.0 * w[:, None] * torch.exp(places * -(math.log(10000.0) / (half - 1)))[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def train_lcm(teacher: Any, data: Data, texts: Texts, work: Path, steps: int) -> Any:
    """SSD-1B's few-step twin; it is told the guidance, 3 to 9 as the user sets it, through `timestep_cond`."""
    import torch

    loop.seed("lcm-ssd-1b")
    student = members.unet("lcm-ssd-1b")
    student.load_state_dict(teacher.state_dict(), strict=False)
    torch.nn.init.zeros_(student.time_embedding.cond_proj.weight)
    guidance = Guidance(lambda generator: 2 + 6 * torch.rand(BATCH, generator=generator), guidance_embedding)
    return distil("lcm-ssd-1b", data, student, teacher, texts, guidance, work, steps, 4e-4)


def train_lora(teacher: Any, data: Data, texts: Texts, work: Path, steps: int) -> Any:
    """Vega's few-step adapter: guidance 5 is built in, so that it runs without a second batch."""
    import torch
    from peft import LoraConfig

    loop.seed("vegart")
    student = copy.deepcopy(teacher).requires_grad_(False)
    layers = "to_q to_k to_v to_out.0 proj_in proj_out ff.net.0.proj ff.net.2 conv1 conv2 conv_shortcut time_emb_proj"
    student.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=layers.split()))
    guidance = Guidance(lambda generator: torch.full((BATCH,), 4.0), lambda w: None)
    return distil("vegart", data, student, teacher, texts, guidance, work, steps, 1e-3)
