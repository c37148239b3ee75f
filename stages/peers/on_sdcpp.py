"""The checkpoint drawn by stable-diffusion.cpp, with weights in its 8 bits (q8_0).

Consumes a checkpoint folder; produces a way to draw, from noise of its own: it takes none. Of its Python packages,
stable-diffusion-cpp-python is on PyPI as source alone, which wants a compiler, and cyllama as a wheel (extra `peers`).
The engine has the widths of the published architectures in its code: it draws no miniature.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.files import manifest
from stages.peers.work import Draw, Work

METHODS = {  # by diffusers' names
    "EulerDiscreteScheduler": "EULER",
    "EulerAncestralDiscreteScheduler": "EULER_A",
    "LCMScheduler": "LCM",
    "DPMSolverMultistepScheduler": "DPMPP2M",
    "HeunDiscreteScheduler": "HEUN",
}
ERROR = 3  # of its log


def load(work: Work) -> Draw:
    sd, method = _library(), _method(work)
    manifest.read_whole(work.checkpoint, rerun=f"download@{work.key}")
    said: list[str] = []
    sd.set_log_callback(lambda level, text: said.append(text) if int(level) >= ERROR else None)
    try:
        context = sd.SDContext(parameters(sd, work))
    except RuntimeError as error:
        why = said[-1].rpartition(" - ")[2].strip() if said else str(error).splitlines()[0]
        raise ValueError(f"stable-diffusion.cpp knows no model of these widths ({why})") from error
    return lambda prompt, seed, steps: draw(sd, context, getattr(sd.SampleMethod, method), work, prompt, seed, steps)


def parameters(sd: Any, work: Work) -> Any:
    parts = {"diffusion_model": "unet", "vae": "vae", "clip_l": "text_encoder", "clip_g": "text_encoder_2"}
    files = {f"{name}_path": str(_weights(work.checkpoint / part)) for name, part in parts.items()}
    return sd.SDContextParams(**files, n_threads=work.threads, wtype=sd.SDType.Q8_0)


def draw(sd: Any, context: Any, method: Any, work: Work, prompt: str, seed: int, steps: int) -> Any:
    sampler = work.sampler
    drawn = context.generate(
        prompt,
        negative_prompt=sampler.negative_prompt,
        width=sampler.width,
        height=sampler.height,
        seed=seed,
        sample_steps=steps,
        cfg_scale=max(1.0, sampler.guidance),  # of 1 and less it takes the prompt alone, as diffusers does
        sample_method=method,
        scheduler=sd.Scheduler.LCM if method == sd.SampleMethod.LCM else sd.Scheduler.DISCRETE,
    )
    return drawn[0].to_numpy()


def _library() -> Any:
    try:
        import cyllama.sd as sd
    except ImportError as error:
        said = "stable-diffusion-cpp-python has no wheel on PyPI; cyllama has one with the same engine"
        raise ValueError(f"{said}, and is missing ({error}): pip install '.[peers]'") from error
    return sd


def _method(work: Work) -> str:
    name = work.sampler.scheduler
    if name not in METHODS:
        raise ValueError(f"stable-diffusion.cpp has no sampler like {name}, only {', '.join(METHODS)}")
    return METHODS[name]


def _weights(folder: Path) -> Path:
    found = sorted(folder.glob("*.safetensors"))
    if len(found) != 1:
        raise ValueError(f"{folder} has {len(found)} files of weights: stable-diffusion.cpp takes one")
    return found[0]
