"""The checkpoint drawn by stable-diffusion.cpp, with weights in its 8 bits (q8_0).

Consumes a checkpoint folder; produces one file of it in artifacts/peers, as the engine takes a file, and a way to draw,
from noise of its own: it takes none. Of its Python packages, stable-diffusion-cpp-python is on PyPI as source alone,
which wants a compiler, and cyllama as a wheel (extra `peers`). The engine has the widths of the published architectures
in its code: it draws no miniature.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stages.files import disk, layout, manifest, placing
from stages.peers.work import Draw, Work

NAME = "sdcpp"
METHODS = {  # by diffusers' names
    "EulerDiscreteScheduler": "EULER",
    "EulerAncestralDiscreteScheduler": "EULER_A",
    "LCMScheduler": "LCM",
    "DPMSolverMultistepScheduler": "DPMPP2M",
    "HeunDiscreteScheduler": "HEUN",
}
PREFIXES = {  # by folder: names under which it tells SDXL, SSD-1B and Vega from one another
    "unet": "unet.",
    "vae": "vae.",
    "text_encoder": "cond_stage_model.transformer.",
    "text_encoder_2": "cond_stage_model.1.transformer.",
}
FILE = "model.safetensors"
CHUNK = 2**24


def load(work: Work) -> Draw:
    sd, method, file = _library(), _method(work), layout.peer(work.key, NAME) / FILE
    try:  # its log stays where it is: handed to Python, it waits for ever for threads that wait for Python
        context = sd.SDContext(sd.SDContextParams(str(file), n_threads=work.threads, wtype=sd.SDType.Q8_0))
    except RuntimeError as error:
        known = "it has the widths of published architectures in its code, which miniatures have not"
        raise ValueError(f"stable-diffusion.cpp does not load this model; {known}") from error
    return lambda prompt, seed, steps: draw(sd, context, getattr(sd.SampleMethod, method), work, prompt, seed, steps)


def make(work: Work) -> None:
    """The checkpoint as one file, made or found; ValueError where nothing would draw with it."""
    _library()
    _method(work)
    manifest.read_whole(work.checkpoint, rerun=f"download@{work.key}")
    target, inputs = layout.peer(work.key, NAME), {"checkpoint": manifest.digest(work.checkpoint)}
    if manifest.is_whole(target, key=manifest.key("peers", inputs, PREFIXES)):
        return
    files = {prefix: _weights(work.checkpoint / part) for part, prefix in PREFIXES.items()}
    disk.require_space(target, sum(manifest.size(file) for file in files.values()))
    with placing.whole(target) as folder:
        join(files, folder / FILE)
        manifest.write(folder, stage="peers", inputs=inputs, settings=PREFIXES)


def join(files: dict[str, Path], target: Path) -> None:
    """One safetensors file of several, by what their tensors' names shall begin with: headers anew, data as it is.

    Source: https://github.com/huggingface/safetensors, Format: 8 bytes of length, a JSON header, tensors.
    """
    header: dict[str, Any] = {}
    begins: dict[Path, int] = {}
    size = 0
    for prefix, file in files.items():
        found, begins[file] = _header(file)
        for name, entry in found.items():
            header[prefix + name] = entry | {"data_offsets": [size + offset for offset in entry["data_offsets"]]}
        size += manifest.size(file) - begins[file]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with target.open("wb") as joined:
        joined.write(len(text).to_bytes(8, "little") + text)
        for file, begin in begins.items():
            with file.open("rb") as source:
                source.seek(begin)
                shutil.copyfileobj(source, joined, CHUNK)


def _header(file: Path) -> tuple[dict[str, Any], int]:
    """Entries by tensor, and where the data begin."""
    with file.open("rb") as source:
        length = int.from_bytes(source.read(8), "little")
        found = json.loads(source.read(length))
    found.pop("__metadata__", None)
    return found, 8 + length


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
