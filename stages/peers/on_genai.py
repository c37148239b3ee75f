"""Our INT8 IR drawn by openvino.genai, which has neither PyTorch nor diffusers in it.

Consumes an IR folder with its tokenizers; produces a way to draw, from the same noise: genai's TorchGenerator draws it
as PyTorch does. Needs the package openvino-genai of OpenVINO's own release (extra `peers`).
"""

from __future__ import annotations

import shutil
from typing import Any

from stages.checkpoints import samplers
from stages.ir import runtime
from stages.peers import work as works
from stages.peers.work import Draw, Work


def load(work: Work) -> Draw:
    try:
        import openvino_genai as genai
    except ImportError as error:
        raise ValueError(f"openvino-genai is missing ({error}): pip install '.[peers]'") from error
    folder = work.ir(work.quantized)
    pipeline = genai.Text2ImagePipeline(folder, work.device.name, **runtime.device_config(work.device, False))
    pipeline.set_scheduler(_scheduler(genai, work))
    return lambda prompt, seed, steps: draw(genai, pipeline, work, prompt, seed, steps)


def draw(genai: Any, pipeline: Any, work: Work, prompt: str, seed: int, steps: int) -> Any:
    sampler = work.sampler
    negative = {"negative_prompt": sampler.negative_prompt} if sampler.negative_prompt else {}
    drawn = pipeline.generate(
        prompt,
        width=sampler.width,
        height=sampler.height,
        num_inference_steps=steps,
        guidance_scale=sampler.guidance,
        generator=genai.TorchGenerator(seed),
        **negative,
    )
    return drawn.data[0].copy()


def _scheduler(genai: Any, work: Work) -> Any:
    """The model's sampler, with the settings of this run; genai refuses those that it lacks."""
    folder = works.place()
    samplers.write(work.ir(work.quantized), work.sampler, folder)
    try:
        return genai.Scheduler.from_config(folder / samplers.FILE)
    finally:
        shutil.rmtree(folder)
