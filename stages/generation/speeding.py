"""Pipelines at a speed: loaded on parts that rows of one table share, and drawn with what the speed spares.

Consumes IR folders, as `stages.quantization.lighter` writes them or any other, and a `Speed`; produces pictures. Two
folders that hold one and the same file of a part, by hard links, have one compiled part.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.files import manifest
from stages.generation import drawing, pacing, pipelines, static
from stages.generation.residency import Room
from stages.ir import anatomy, runtime, shallow
from stages.machine import memory, sizes
from stages.settings import speeds

if TYPE_CHECKING:
    from stages.settings.schema import Device, Sampler, Speed

XML, BIN = "openvino_model.xml", "openvino_model.bin"


@dataclass
class Pool:
    """Parts by what they are compiled from; loaded once."""

    device: Device
    room: Room
    parts: dict[tuple[Any, ...], Any] = field(default_factory=dict)
    outer: dict[tuple[Any, ...], shallow.Shallow] = field(default_factory=dict)


@dataclass(frozen=True)
class Fast:
    """A pipeline, its sampler, and what its pictures are spared."""

    pipeline: Any
    sampler: Sampler
    speed: Speed
    outer: shallow.Shallow | None

    def draw(self, prompt: Any, seed: int, **how: Any) -> tuple[Any, pacing.Work | None]:
        """A picture, and the rows that its UNet was given, None where it was not watched; arguments as `generate`."""
        watched = pacing.paced(self.pipeline, self.speed, self.outer) if self.spares else nullcontext()
        with watched as work:
            return drawing.generate(self.pipeline, prompt, self.sampler, seed, **how), work

    @property
    def spares(self) -> bool:
        return speeds.spares(self.speed)


def load(folder: Path, own: Sampler, speed: Speed, pool: Pool) -> Fast:
    """The pipeline of an IR folder at a speed, nothing of it compiled yet that the pool did not hold.

    A model that was made for few steps keeps its sampler, and every evaluation of its UNet.
    """
    sampler, speed = speeds.sampler(own, speed), speeds.within(own, speed)
    pipeline = pipelines.load(folder, "text-to-image", sampler, pool.device, compile=False)
    asked = memory.request(sampler, pool.device)
    gb = memory.parts_gb(sizes.of_ir(folder), asked, anatomy.stored(folder))
    for name in pipelines.parts(pipeline):
        pipelines.replace_part(pipeline, name, _shared(pipeline, name, folder / name, gb[name], speed, pool))
    return Fast(pipeline, sampler, speed, _outer(pipeline, folder / "unet", pool) if speed.deep_every else None)


def _shared(pipeline: Any, name: str, folder: Path, gb: float, speed: Speed, pool: Pool) -> Any:
    part, deep = getattr(pipeline, name), name == "unet" and bool(speed.deep_every)
    key = (*_identity(folder), speed.static_shapes, deep)
    if key not in pool.parts:
        if deep:
            shallow.hand_out(part.model)
        if speed.static_shapes:
            static.fix(part, pool.device.name)
        pool.room.watch({name: part}, {name: gb * (2 if speed.static_shapes and speed.guidance_interval else 1)})
        pool.parts[key] = part
    return pool.parts[key]


def _outer(pipeline: Any, folder: Path, pool: Pool) -> shallow.Shallow:
    key = _identity(folder)
    if key not in pool.outer:
        outer = shallow.outer(runtime.read(folder / XML))
        pool.outer[key] = shallow.compiled(outer, pool.device.name, dict(pipeline.unet.ov_config))
    return pool.outer[key]


def _identity(folder: Path) -> tuple[Any, ...]:
    """Of a part: its weights, as a file on the disk, its graph and its configuration."""
    weights = (folder / BIN).stat()
    return weights.st_dev, weights.st_ino, *(manifest.sha256(folder / name) for name in (XML, "config.json"))
