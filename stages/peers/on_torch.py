"""The checkpoint drawn by diffusers on PyTorch: in float32, in bfloat16, and compiled by torch.compile.

Consumes a checkpoint folder; produces ways to draw. Compiled code is kept for the process alone, so that a cold start
is one.
"""

from __future__ import annotations

import os
from typing import Any

from stages.checkpoints import quiet, samplers
from stages.files import manifest
from stages.generation import drawing
from stages.machine import description
from stages.peers import work as works
from stages.peers.work import Draw, Work


def load(floats: str, compiled: bool, work: Work) -> Draw:
    """`floats`: float32 or bfloat16."""
    if compiled:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(works.place())
    manifest.read_whole(work.checkpoint, rerun=f"download@{work.key}")
    pipeline = pipeline_of(floats, work)
    if compiled:
        _compile(pipeline)
    return lambda prompt, seed, steps: draw(pipeline, floats, work, prompt, seed, steps)


def fastest_floats() -> str:
    """What the processor has units for: bfloat16, else float32."""
    return "bfloat16" if description.widest("bf16") else "float32"


def pipeline_of(floats: str, work: Work) -> Any:
    with quiet.quiet():
        import diffusers
        import torch

        torch.set_num_threads(work.threads)
        pipeline = diffusers.StableDiffusionXLPipeline.from_pretrained(
            work.checkpoint,
            torch_dtype=getattr(torch, floats),
            scheduler=samplers.load(work.checkpoint, work.sampler),
            local_files_only=True,
            use_safetensors=True,
            add_watermarker=False,
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, floats: str, work: Work, prompt: str, seed: int, steps: int) -> Any:
    """As stages.generation.drawing does: the same noise, drawn in float32 and then rounded."""
    import torch

    generator = torch.Generator().manual_seed(seed)  # which the few-step samplers draw their later noise from
    latents = torch.randn(drawing.initial_latents(pipeline, work.sampler, seed).shape, generator=generator)
    return pipeline(
        prompt,
        negative_prompt=work.sampler.negative_prompt or None,
        num_inference_steps=steps,
        guidance_scale=work.sampler.guidance,
        height=work.sampler.height,
        width=work.sampler.width,
        latents=latents.to(getattr(torch, floats)),
        generator=generator,
    ).images[0]


def _compile(pipeline: Any) -> None:
    """UNet and decoder, with weights frozen in, which lays them out for oneDNN: inductor's fastest on processors."""
    import torch
    import torch._inductor.config

    torch._inductor.config.freezing = True
    pipeline.unet = torch.compile(pipeline.unet)
    pipeline.vae.decode = torch.compile(pipeline.vae.decode)
