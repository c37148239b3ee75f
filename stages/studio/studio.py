"""Pictures drawn one after the other by whatever pipelines are asked for, as many in memory as it holds.

Consumes requests; produces pictures, with the seconds of each part and the memory that the process had. One picture at
a time, whoever asks: two at once would take twice as long each, and more memory.
"""

from __future__ import annotations

import gc
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import defaults, samplers
from stages.generation import drawing, pipelines
from stages.generation.residency import Room
from stages.ir import anatomy
from stages.machine import description, memory, overflow, sizes
from stages.machine.costs import costs
from stages.studio import cutting, shelf, uploads
from stages.studio.preview import Previews
from stages.studio.request import Refused, Request
from stages.studio.shelf import Item

if TYPE_CHECKING:
    from stages.settings.schema import Device

LIBRARIES, LOAD, TEXT, STEP, DECODE = "libraries", "load", "text", "step", "decode"
PARTS = ("load", "text_encoders", "unet", "decode")


class Stopped(Exception):
    """Somebody wanted the picture no longer."""


@dataclass(frozen=True)
class Progress:
    part: str  # LOAD, TEXT, STEP or DECODE; LIBRARIES before, where another process still imports them
    step: int = 0  # finished, of `steps`
    steps: int = 0
    preview: Any = None  # a small picture, now and then
    seconds: float = 0.0  # since drawing began


@dataclass(frozen=True)
class Drawn:
    """`seconds`: load, text_encoders, unet, decode, and whole. `said`: what its reader should know, a sentence each."""

    picture: Any
    request: Request
    seconds: dict[str, float]
    memory_mb: float  # of the process, all of it, when the picture was finished
    ir: dict[str, str]  # digests of the manifests of the folders that drew it, by model
    start: Any = None  # the picture that it started from, as it was scaled and cut
    said: tuple[str, ...] = ()


Listener = Callable[[Progress], None]


@dataclass
class _Loaded:
    pipelines: dict[str, Any]  # by task, on one set of parts
    room: Room


class Studio:
    """Draws with the IR of one project folder; `limit_gb` bounds what compiled parts may take, else what is free."""

    def __init__(self, device: Device, root: Path = Path("."), limit_gb: float | None = None) -> None:
        self.device, self.root, self.limit_gb = device, root, limit_gb
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, _Loaded] = OrderedDict()  # by digest, the longest unused first

    def draw(
        self,
        request: Request,
        on_progress: Listener | None = None,
        stop: threading.Event | None = None,
        *,
        item: Item | None = None,
        base: Item | None = None,
    ) -> Drawn:
        """One picture. `item` and `base`: folders that do not lie in artifacts/ir.

        Raises Refused for what this machine cannot do, Stopped once `stop` is set, which is looked at between steps.
        """
        with self._lock:
            work = _Work(self, request, on_progress or (lambda progress: None), stop or threading.Event())
            item, base = self._items(request, item, base)
            return work.two_stage(item, base) if base else work.one(item)

    def loaded(self) -> list[str]:
        """Digests of the IR folders whose parts are in memory."""
        return list(self._loaded)

    def pipeline(self, item: Item, request: Request, task: str) -> Any:
        """The pipeline of a task with the request's scheduler; parts are compiled when they are called."""
        found = self._loaded.get(item.digest) or self._load(item, request, task)
        self._loaded.move_to_end(item.digest)
        if task not in found.pipelines:
            found.pipelines[task] = pipelines.also(next(iter(found.pipelines.values())), task)
        pipeline = found.pipelines[task]
        pipeline.register_modules(scheduler=samplers.load(item.folder, request.sampler()))
        return pipeline

    def loading_s(self, item: Item) -> float:
        return self._loaded[item.digest].room.loading_s

    def _items(self, request: Request, item: Item | None, base: Item | None) -> tuple[Item, Item | None]:
        at_hand = shelf.find(self.root) if item is None or request.task == defaults.TWO_STAGE else {}
        item = item or shelf.choose(at_hand, request.model, request.precision)
        if request.task != defaults.TWO_STAGE:
            return item, None
        return item, base or shelf.base_of(at_hand, item)

    def _load(self, item: Item, request: Request, task: str) -> _Loaded:
        limit = self._make_room(item, request)
        room = Room(limit, timed=False)
        pipeline = pipelines.load(item.folder, task, request.sampler(), self.device, room=room)
        self._loaded[item.digest] = _Loaded({task: pipeline}, room)
        return self._loaded[item.digest]

    def _make_room(self, item: Item, request: Request) -> float:
        """GB for the parts of one more pipeline: others go, the longest unused first, until it fits beside the rest."""
        found, stored = sizes.of_ir(item.folder), anatomy.stored(item.folder)
        asked = memory.request(request.sampler(), self.device)
        whole = sum(memory.parts_gb(found, asked, stored).values())
        least = memory.in_turn_gb(found, asked, stored)
        while self._loaded and self._free_gb() < whole:
            self._loaded.popitem(last=False)[1].room.clear()
            gc.collect()
        free = self._free_gb()
        if least > free + costs()["process_gb"]:
            raise Refused("model", f"{item.name} at {request.width} x {request.height} needs {least:.1f} GB of memory, "
                          f"{free:.1f} can be had: take INT8, or a smaller size, or close other programs")  # fmt: skip
        return free

    def _free_gb(self) -> float:
        """Memory for compiled parts that nobody holds: of what is free, or of the limit."""
        if self.limit_gb is None:
            return memory.room_gb()
        return max(0.0, self.limit_gb - sum(one.room.used_gb() for one in self._loaded.values()))


@dataclass
class _Work:
    """One picture on its way: what it asks for, who listens, the seconds so far."""

    studio: Studio
    request: Request
    listen: Listener
    stop: threading.Event
    began: float = field(default_factory=time.perf_counter)
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(PARTS, 0.0))
    said: list[str] = field(default_factory=list)
    step: int = 0
    steps: int = 0

    def one(self, item: Item) -> Drawn:
        request, start = self.request, None
        how: dict[str, Any] = {}
        self.steps = request.steps
        if request.task == defaults.IMAGE_TO_IMAGE:
            start = uploads.fitted(request.image, request.width, request.height)
            how = {"image": start, "strength": request.strength}
            self.steps = int(request.steps * request.strength)
        latents = self._latents(item, request.task, request.seed, **how)
        return self._finished(item, latents, {item.model: item.digest}, start)

    def two_stage(self, item: Item, base: Item) -> Drawn:
        """The base draws down to where the refiner takes over, both with the refiner's steps and guidance."""
        share = self.request.high_noise_fraction
        self.steps = self.request.steps
        half = self._latents(base, defaults.TEXT_TO_IMAGE, self.request.seed, denoising_end=share)
        how = {"image": half, "denoising_start": share}
        latents = self._latents(item, defaults.TWO_STAGE, self.request.seed + drawing.SECOND_SEED, **how)
        return self._finished(item, latents, {base.model: base.digest, item.model: item.digest})

    def _latents(self, item: Item, task: str, seed: int, **how: Any) -> Any:
        sampler = self.request.sampler()
        self._tell(LOAD)
        with self._timed("load"):
            pipeline = self.studio.pipeline(item, self.request, task)
        wrong = overflow.said(item.facts, self.studio.device.name)
        sentences = [*cutting.said(pipeline, self.request), *([f"{item.name}: {wrong}"] if wrong else [])]
        self.said += [said for said in sentences if said not in self.said]
        self._tell(TEXT)
        with self._timed("text_encoders", item):
            encoded = drawing.encode_ahead(pipeline, [self.request.prompt], sampler)[0]
        self._tell(STEP)
        previews = Previews(pipeline, lambda: time.perf_counter() - self.studio.loading_s(item))

        def on_step(latents: Any) -> None:
            self.step += 1
            self._tell(STEP, previews(latents))

        with self._timed("unet", item):
            latents = drawing.generate(pipeline, encoded, sampler, seed, output="latent", on_step=on_step, **how)
        self.seconds["unet"] -= previews.spent_s
        return latents.clone()

    def _finished(self, item: Item, latents: Any, ir: dict[str, str], start: Any = None) -> Drawn:
        self._tell(DECODE)
        task = self.request.task
        with self._timed("decode", item):
            picture = drawing.decode(self.studio.pipeline(item, self.request, task), latents)
        self.seconds["whole"] = time.perf_counter() - self.began
        rounded = {name: round(seconds, 4) for name, seconds in self.seconds.items()}
        return Drawn(picture, self.request, rounded, description.used_mb(), ir, start, tuple(self.said))

    def _tell(self, part: str, preview: Any = None) -> None:
        if self.stop.is_set():
            raise Stopped("stopped")
        self.listen(Progress(part, self.step, self.steps, preview, time.perf_counter() - self.began))

    @contextmanager
    def _timed(self, name: str, item: Item | None = None) -> Iterator[None]:
        """Seconds of the block under a name, but those under load in which parts were compiled, as they are called."""
        start, before = time.perf_counter(), self.studio.loading_s(item) if item else 0.0
        yield
        loading = self.studio.loading_s(item) - before if item else 0.0
        self.seconds[name] += time.perf_counter() - start - loading
        self.seconds["load"] += loading
