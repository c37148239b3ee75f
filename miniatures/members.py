"""How each member of the family is trained: one function each, all on the same cached latents.

base         UNet and both text encoders together, captions dropped one time in ten
ssd-1b, vega the base with blocks removed, distilled from it by output and block features
sdxl-refiner the low-noise end of the schedule, told sharp from blurred by the aesthetic score
lcm-ssd-1b   consistency distillation of ssd-1b with its guidance embedded
vegart       the same for vega, kept as a LoRA
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miniatures import architecture, captions, checkpoints, emoji, loop

BATCH = 64 // loop.workers()  # pictures of one process in one step
DROPPED = 0.1
REFINED_BELOW = 500  # the refiner learns timesteps under this one
SHARP, BLURRED = 6.0, 2.5  # aesthetic scores: what the pipelines send for the prompt and for the negative prompt


@dataclass
class Data:
    """Latents (N, 4, 16, 16) of every trained combination, scaled, with their captions' token ids (N, TOKENS)."""

    latents: Any
    ids: Any
    empty: Any
    blurred: Any


def load_data(vae: Any, tokenizer: Any) -> Data:
    """Every subject on every colour that is not held out."""
    import torch
    from PIL import Image, ImageFilter

    pictures, blurred, texts = [], [], []
    for subject in emoji.subjects():
        rendered = emoji.render(subject)
        for colour in emoji.COLOURS:
            if emoji.held_out(subject, colour):
                continue
            pictures.append(emoji.compose(rendered, colour))
            soft = Image.fromarray(pictures[-1]).filter(ImageFilter.GaussianBlur(1.2))
            blurred.append(np.asarray(soft))
            texts.append(emoji.caption(subject, colour))

    def latents(batch: list[np.ndarray]) -> Any:
        parts = torch.from_numpy(emoji.as_input(np.stack(batch))).split(64)
        with torch.no_grad():
            return torch.cat([vae.encode(part).latent_dist.mean for part in parts]) * vae.config.scaling_factor

    empty = captions.tokenize(tokenizer, [""])
    return Data(latents(pictures), captions.tokenize(tokenizer, texts), empty, latents(blurred))


def alphas() -> Any:
    """Cumulative products of the noise schedule, (1000,)."""
    return checkpoints.scheduler().alphas_cumprod


def noised(latents: Any, t: Any, noise: Any) -> Any:
    """x_t = sqrt(a) x_0 + sqrt(1 - a) noise."""
    a = alphas()[t].view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def weights(t: Any) -> Any:
    """Min-SNR weighting with gamma 5 (arXiv 2303.09556) of the noise prediction's error."""
    import torch

    a = alphas()[t]
    snr = a / (1 - a)
    return torch.minimum(snr, torch.full_like(snr, 5.0)) / snr


def draw(data: Data, generator: Any, below: int = 1000) -> tuple[Any, Any, Any, Any]:
    """Indices, token ids with some captions dropped, timesteps and noise of one batch."""
    import torch

    index = torch.randint(len(data.latents), (BATCH,), generator=generator)
    dropped = torch.rand(BATCH, generator=generator) < DROPPED
    ids = torch.where(dropped[:, None], data.empty, data.ids[index])
    t = torch.randint(below, (BATCH,), generator=generator)
    return index, ids, t, torch.randn((BATCH, *data.latents.shape[1:]), generator=generator)


def predict(unet: Any, x: Any, t: Any, text: tuple[Any, Any], condition: Any = None) -> Any:
    """The UNet's noise prediction for base-like members."""
    added = dict(text_embeds=text[1], time_ids=captions.time_ids(len(x)))
    return unet(x, t, text[0], timestep_cond=condition, added_cond_kwargs=added).sample


def weighted_error(prediction: Any, target: Any, t: Any) -> Any:
    return (weights(t) * (prediction - target).pow(2).mean(dim=(1, 2, 3))).mean()


def train_base(data: Data, tokenizer: Any, work: Path, steps: int) -> tuple[Any, tuple[Any, Any]]:
    """The base UNet and the two text encoders, together."""
    import torch

    torch.manual_seed(1)
    encoders = architecture.build_text_encoders(len(tokenizer), tokenizer.eos_token_id)
    unet = architecture.build_unet("sdxl").to(memory_format=torch.channels_last)
    module = torch.nn.ModuleDict(dict(unet=unet, first=encoders[0], second=encoders[1]))

    def loss(generator: Any, step: int) -> Any:
        index, ids, t, noise = draw(data, generator)
        x = noised(data.latents[index], t, noise)
        return weighted_error(predict(unet, x, t, captions.encode(encoders, ids)), noise, t)

    loop.fit("sdxl", module, loss, steps=steps, peak_rate=1.2e-3, folder=work)
    return unet, encoders


def matching(student: Any, teacher: Any) -> dict[str, Any]:
    """The teacher's weights under the student's names; of a removed run of layers the student keeps the first ones."""
    own = student.state_dict()
    return {k: v for k, v in teacher.state_dict().items() if k in own and own[k].shape == v.shape}


def block_outputs(unet: Any, kept: list[Any]) -> list[Any]:
    """Hooks that append each down and up block's output to `kept`; returns their handles."""

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    return [block.register_forward_hook(keep) for block in (*unet.down_blocks, *unet.up_blocks)]


def distil(name: str, data: Data, teacher: Any, encoders: tuple[Any, Any], work: Path, steps: int) -> Any:
    """A smaller UNet that learns noise, the teacher's prediction and the teacher's block outputs (arXiv 2401.02677)."""
    import torch

    torch.manual_seed(2)
    student = architecture.build_unet(name).to(memory_format=torch.channels_last)
    student.load_state_dict(matching(student, teacher), strict=False)
    ours: list[Any] = []
    theirs: list[Any] = []
    handles = block_outputs(student, ours) + block_outputs(teacher, theirs)

    def loss(generator: Any, step: int) -> Any:
        index, ids, t, noise = draw(data, generator)
        x = noised(data.latents[index], t, noise)
        ours.clear(), theirs.clear()
        with torch.no_grad():
            text = captions.encode(encoders, ids)
            target = predict(teacher, x, t, text)
        prediction = predict(student, x, t, text)
        pairs = zip(ours, theirs, strict=True)
        features = sum((a - b).pow(2).mean() / b.pow(2).mean() for a, b in pairs) / len(theirs)
        error = weighted_error(prediction, noise, t) + weighted_error(prediction, target, t)
        return error + 0.05 * features

    loop.fit(name, student, loss, steps=steps, peak_rate=8e-4, folder=work)
    for handle in handles:
        handle.remove()
    return student


def train_refiner(data: Data, encoders: tuple[Any, Any], work: Path, steps: int) -> Any:
    """The expert of the last denoising steps; a fifth of its pictures are blurred and say so in their score."""
    import torch

    torch.manual_seed(3)
    unet = architecture.build_unet("sdxl-refiner").to(memory_format=torch.channels_last)

    def loss(generator: Any, step: int) -> Any:
        index, ids, t, noise = draw(data, generator, below=REFINED_BELOW)
        soft = torch.rand(BATCH, generator=generator) < 0.2
        latents = torch.where(soft[:, None, None, None], data.blurred[index], data.latents[index])
        scores = torch.where(soft, BLURRED, SHARP)
        with torch.no_grad():
            output = encoders[1](ids, output_hidden_states=True)
        added = dict(text_embeds=output.text_embeds, time_ids=captions.refiner_time_ids(scores))
        prediction = unet(noised(latents, t, noise), t, output.hidden_states[-2], added_cond_kwargs=added).sample
        return weighted_error(prediction, noise, t)

    return loop.fit("sdxl-refiner", unet, loss, steps=steps, peak_rate=1e-3, folder=work)


def consistency(
    name: str,
    data: Data,
    student: Any,
    teacher: Any,
    encoders: tuple[Any, Any],
    work: Path,
    steps: int,
    guidance: Callable[[Any], Any],
    embed: Callable[[Any], Any],
    peak_rate: float,
) -> Any:
    """Latent consistency distillation (arXiv 2310.04378) along a 50-step DDIM path of the guided teacher.

    `guidance(generator)` draws the (BATCH,) guidance scales w of eps = cond + w (cond - uncond); `embed(w)` gives the
    student's `timestep_cond` or None.
    """
    import copy

    import torch

    target_net = copy.deepcopy(student).requires_grad_(False)
    stride, a = 20, alphas()
    empty = captions.encode(encoders, data.empty)

    def boundary(t: Any) -> tuple[Any, Any]:
        """c_skip and c_out of diffusers' LCMScheduler: sigma_data 0.5, timesteps scaled by 10."""
        scaled = 10.0 * t.float().view(-1, 1, 1, 1)
        return 0.25 / (scaled**2 + 0.25), scaled / (scaled**2 + 0.25).sqrt()

    def origin(x: Any, t: Any, eps: Any) -> Any:
        at = a[t].view(-1, 1, 1, 1)
        return (x - (1 - at).sqrt() * eps) / at.sqrt()

    def answer(net: Any, x: Any, t: Any, text: Any, condition: Any) -> Any:
        skip, out = boundary(t)
        return skip * x + out * origin(x, t, predict(net, x, t, text, condition))

    def loss(generator: Any, step: int) -> Any:
        index, ids, _, noise = draw(data, generator)
        start = stride * torch.randint(1, 51, (BATCH,), generator=generator) - 1
        end = (start - stride).clamp(min=0)
        w = guidance(generator)
        x = noised(data.latents[index], start, noise)
        with torch.no_grad():
            text = captions.encode(encoders, data.ids[index])
            nothing = tuple(part.expand(BATCH, *part.shape[1:]) for part in empty)
            both = tuple(torch.cat(parts) for parts in zip(text, nothing, strict=True))
            cond, uncond = predict(teacher, torch.cat([x, x]), torch.cat([start, start]), both).chunk(2)
            eps = cond + w.view(-1, 1, 1, 1) * (cond - uncond)
            at = a[end].view(-1, 1, 1, 1)
            earlier = at.sqrt() * origin(x, start, eps) + (1 - at).sqrt() * eps
            target = answer(target_net, earlier, end, text, embed(w))
            torch._foreach_lerp_(list(target_net.parameters()), list(student.parameters()), 0.05)
        difference = answer(student, x, start, text, embed(w)) - target
        return ((difference**2 + 1e-6).sqrt() - 1e-3).mean()

    return loop.fit(name, student, loss, steps=steps, peak_rate=peak_rate, folder=work, average=0.99)


def guidance_embedding(w: Any, width: int = 32) -> Any:
    """(N, width): diffusers' `get_guidance_scale_embedding` of the guidance scale less one."""
    import math

    import torch

    half = width // 2
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32) * -(math.log(10000.0) / (half - 1)))
    angles = 1000.0 * w[:, None] * frequencies[None]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def train_lcm(teacher: Any, data: Data, encoders: tuple[Any, Any], work: Path, steps: int) -> Any:
    """SSD-1B's few-step twin; it is told the guidance, 3 to 9 as the user sets it, through `timestep_cond`."""
    import torch

    torch.manual_seed(4)
    student = architecture.build_unet("lcm-ssd-1b").to(memory_format=torch.channels_last)
    student.load_state_dict(teacher.state_dict(), strict=False)
    torch.nn.init.zeros_(student.time_embedding.cond_proj.weight)

    def guidance(generator: Any) -> Any:
        return 2 + 6 * torch.rand(BATCH, generator=generator)

    options = dict(guidance=guidance, embed=guidance_embedding, peak_rate=3e-4)
    return consistency("lcm-ssd-1b", data, student, teacher, encoders, work, steps, **options)


def train_lora(teacher: Any, data: Data, encoders: tuple[Any, Any], work: Path, steps: int) -> Any:
    """Vega's few-step adapter: guidance 5 is built in, so that it runs without a second batch."""
    import copy

    import torch
    from peft import LoraConfig

    torch.manual_seed(5)
    student = copy.deepcopy(teacher).requires_grad_(False)
    layers = "to_q to_k to_v to_out.0 proj_in proj_out ff.net.0.proj ff.net.2 conv1 conv2 conv_shortcut time_emb_proj"
    student.add_adapter(LoraConfig(r=16, lora_alpha=16, init_lora_weights="gaussian", target_modules=layers.split()))

    def guidance(generator: Any) -> Any:
        return torch.full((BATCH,), 4.0)

    options = dict(guidance=guidance, embed=lambda w: None, peak_rate=1e-3)
    return consistency("vegart", data, student, teacher, encoders, work, steps, **options)
