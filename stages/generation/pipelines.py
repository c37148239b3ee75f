"""Diffusion pipelines on IR folders: loaded, on parts that several of them share.

Consumes an IR folder as `export` and `quantize` write it; produces optimum-intel's own SDXL pipelines. Never exports,
downloads or reshapes: optimum's `reshape` doubles the UNet's batch, which is wrong without classifier-free guidance.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import components, samplers
from stages.generation import libraries, tiles
from stages.ir import anatomy, runtime
from stages.ir import parts as ir_parts
from stages.machine import memory, sizes

if TYPE_CHECKING:
    from stages.generation.residency import Room
    from stages.settings.schema import Device, Sampler

PARTS = tuple(component.name for component in components.COMPONENTS)
CLASSES = {
    "text-to-image": "OVStableDiffusionXLPipeline",
    "image-to-image": "OVStableDiffusionXLImg2ImgPipeline",
    "two-stage": "OVStableDiffusionXLImg2ImgPipeline",  # the refiner's half of it
}


def load(
    ir: Path,
    task: str,
    sampler: Sampler,
    device: Device,
    *,
    reference: bool = False,
    pinned: bool = True,
    room: Room | None = None,
    compile: bool = True,
) -> Any:
    """The pipeline of `task` on the IR folder `ir`, compiled for `device`; `reference`: float32, nothing quantized;
    `pinned`: see stages.ir.runtime.

    With a `room`, parts are compiled when they are called and let go when it is full; without `compile` when they are
    called.
    """
    _require_parts(ir)
    ir_parts.require_size(ir, [sampler])
    runtime.require_device(device.name)
    pipeline = _class(task).from_pretrained(
        ir,  # a folder that is there: nothing is exported, nothing is asked of the Hub
        export=False,
        device=device.name,
        ov_config=dict(runtime.device_config(device, reference, pinned=pinned)),
        scheduler=samplers.load(ir, sampler),
        compile=compile and room is None,
    )
    pipeline.set_progress_bar_config(disable=True)
    if room is not None:
        asked = memory.request(sampler, device)
        asked = replace(asked, floats="f32") if reference else asked
        room.watch(parts(pipeline), memory.parts_gb(sizes.of_ir(ir), asked, anatomy.stored(ir)))
    if memory.request(sampler, device).tiles:
        scale = pipeline.vae_scale_factor
        tiles.in_tiles(pipeline, memory.TILE_PX // scale, memory.OVERLAP_PX // scale)
    return pipeline


def parts(pipeline: Any) -> dict[str, Any]:
    """optimum's wrappers of the compiled models, by name."""
    return {name: getattr(pipeline, name) for name in PARTS if getattr(pipeline, name) is not None}


def replace_part(pipeline: Any, name: str, part: Any) -> None:
    """Put another wrapper of the same kind in a part's place, in the VAE's two halves too."""
    setattr(pipeline, name, part)
    if name in ("vae_encoder", "vae_decoder"):
        setattr(pipeline.vae, name.removeprefix("vae_"), part)


def also(pipeline: Any, task: str) -> Any:
    """A pipeline of another task on the very same parts: no second copy in memory, no second compilation."""
    shared = parts(pipeline)
    other = _class(task)(
        scheduler=type(pipeline.scheduler).from_config(pipeline.scheduler.config),
        tokenizer=pipeline.tokenizer,
        tokenizer_2=pipeline.tokenizer_2,
        force_zeros_for_empty_prompt=pipeline.config.force_zeros_for_empty_prompt,
        requires_aesthetics_score=pipeline.config.get("requires_aesthetics_score", False),
        device=pipeline._device,
        ov_config=pipeline.ov_config,
        model_save_dir=pipeline.model_save_dir,
        compile=False,
        **{name: part.model for name, part in shared.items()},
    )
    for name, part in (shared | {"vae": pipeline.vae}).items():
        setattr(other, name, part)
    other.set_progress_bar_config(disable=True)
    return other


def _require_parts(ir: Path) -> None:
    components.read_index(ir)  # loading imports whatever modules an index names
    needed = ("scheduler/scheduler_config.json", *(f"unet/{file}" for file in components.IR_FILES))
    ir_parts.require(ir)
    missing = [name for name in needed if not (ir / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{ir} is not a whole IR folder, {missing[0]} is missing: run 'dvc repro' to make it")


def _class(task: str) -> Any:
    if task not in CLASSES:
        raise ValueError(f"task must be one of {sorted(CLASSES)}, got {task!r}")
    return libraries.pipeline_class(CLASSES[task])
