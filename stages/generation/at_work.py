"""A pipeline as an engine's work: loaded where the items are drawn, with everything that it takes foretold.

Consumes an IR folder, a sampler and a device; produces the loaded pipeline and the room that its parts share. What is
drawn of an item is the subclass's own.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.engines.work import Work
from stages.generation import pipelines
from stages.generation.residency import Room
from stages.ir import anatomy
from stages.machine import memory, sizes

if TYPE_CHECKING:
    from stages.settings.schema import Device, Sampler


class PipelineWork(Work):
    """`task` is the pipeline's; `exact`: in float32, nothing quantized."""

    task = "text-to-image"
    exact = False

    def __init__(self, folder: Path, sampler: Sampler, device: Device, room_gb: float) -> None:
        super().__init__({"ir": folder}, device, room_gb)
        self.sampler = sampler

    def need_gb(self) -> float:
        folder, asked = self.folders["ir"], memory.request(self.sampler, self.device)
        asked = replace(asked, floats="f32") if self.exact else asked
        return memory.together_gb(sizes.of_ir(folder), asked, anatomy.stored(folder))

    def load(self) -> tuple[Any, Room]:
        room, how = Room(self.room_gb, timed=False), (self.folders["ir"], self.task, self.sampler, self.device)
        return pipelines.load(*how, reference=self.exact, pinned=self.pinned, room=room), room
