"""One work of the engine `ray`: its items shared among workers, each in a process of its own on some node.

Consumes the settings of `engine`, work, its items and actors that are there already; produces results in item order, as
stages.engines.engine says. A worker that ends, its node with it or not, is replaced where there is room, and its items
go to the others; a result counts once. Only so many items are out at a time that what arrives early never fills this
process's memory.

These are actors of Ray Core. Ray Data's pool of actors was tried (2.60): it gives an item to one actor for good, so
that, a node lost and no other with room for its actor, the run failed after so many retries or waited for ever.
"""

from __future__ import annotations

import heapq
import math
import sys
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stages.engines import hand, parcels
from stages.engines.parcels import Parcel
from stages.engines.work import Work

if TYPE_CHECKING:
    from stages.settings.schema import Engine as Settings

QUEUE = 2  # items that a worker holds, the next one beside the one that it does: it never waits for us
AHEAD = 8  # items for each worker that may be done before an earlier one is
TRIES = 5  # workers in a row that end while they load, or on one and the same item
PLACE_S = 90  # without any worker: what was asked for is not to be had
TICK_S = 1.0


@dataclass
class Worker:
    """`life`: what it is asked until it can be given items, a reference at a time; then the items that it holds."""

    actor: Any
    life: Generator[Any, Any, None]
    node: str | None = None
    ready: bool = False
    items: list[int] = field(default_factory=list)


class Shift:
    """One `map`: the workers at it, and what became of the items."""

    def __init__(self, ray: Any, settings: Settings, work: Work, items: Sequence[Any], what: str) -> None:
        self.ray, self.settings, self.work, self.items, self.what = ray, settings, work, items, what
        self.threads = work.threads()
        self.need_gb = settings.memory_gb or work.need_gb()
        self.parcels = {name: parcels.parcel(folder) for name, folder in work.folders.items()}
        self.alike, self.sent, self.bar = hand.alike(work.device), {}, None
        self.waiting: dict[Any, tuple[Worker, int | None]] = {}  # by reference; with the item, if it is one
        self.workers: list[Worker] = []
        self.todo, self.done, self.given = list(range(len(items))), {}, 0
        self.tries: Counter[int | None] = Counter()
        self.silent_s = 0.0

    def results(self, actors: Sequence[Any]) -> Iterator[Any]:
        """Of all items, done by these actors, or where there are none by as many workers as are to be had."""
        for actor in actors:
            self.take_on(actor)
        for _ in range(0 if actors else self.count()):
            self.hire()
        while self.given < len(self.items):
            self.hand_out()
            ready, _ = self.ray.wait(list(self.waiting), num_returns=1, timeout=TICK_S)
            self.require_workers(bool(ready))
            for reference in ready:
                self.heard(reference)
            while self.given in self.done:
                self.given += 1
                yield self.done.pop(self.given - 1)

    def count(self) -> int:
        """Workers as asked for, or as many as the cluster's CPUs and memory hold; no more than there are items."""
        return min(self.settings.workers or self.places(), len(self.items))

    def places(self) -> int:
        there, asked = self.ray.cluster_resources(), self.asked()
        fit = min(there.get("CPU", 0) // asked["num_cpus"], there.get("memory", math.inf) // asked["memory"])
        if fit < 1:
            raise ValueError(f"engine=ray: {self._short()}")
        return int(fit)

    def asked(self) -> dict[str, float]:
        """What is reserved for a worker."""
        return {"num_cpus": self.settings.cpus or max(1, self.threads), "memory": round(self.need_gb * 1e9)}

    def hire(self) -> None:
        how = self.asked() | {"max_restarts": 0, "max_task_retries": 0}
        self.take_on(self.ray.remote(**how)(hand.Hand).remote())

    def take_on(self, actor: Any) -> None:
        worker = Worker(actor, self.life(actor))
        self.workers.append(worker)
        self.ask(worker, next(worker.life))

    def life(self, actor: Any) -> Generator[Any, Any, None]:
        about = yield actor.introduce.remote(self.work.device)
        self.require_alike(about)
        lacking = yield actor.lacking.remote(list(self.parcels.values()))
        for one in self.parcels.values():
            if one.digest in lacking:
                yield actor.receive.remote(one, self.pieces(one))
        yield actor.prepare.remote(self.work, self.parcels, self.threads, self.need_gb)

    def ask(self, worker: Worker, reference: Any, item: int | None = None) -> None:
        self.waiting[reference] = worker, item

    def pieces(self, one: Parcel) -> list[tuple[str, Any]]:
        """References to a folder's contents in the object store, put there once and only if somebody lacks them."""
        if one.digest not in self.sent:
            self.sent[one.digest] = [(name, self.ray.put(piece)) for name, piece in parcels.chunks(one)]
        return self.sent[one.digest]

    def hand_out(self) -> None:
        """The first items to whoever has least to do."""
        heapq.heapify(self.todo)
        ready = [worker for worker in self.workers if worker.ready]
        for load in range(QUEUE):
            for worker in ready:
                if self.todo and len(worker.items) == load and self.todo[0] < self.given + AHEAD * len(ready):
                    item = heapq.heappop(self.todo)
                    worker.items.append(item)
                    self.ask(worker, worker.actor.do.remote(self.items[item]), item)

    def heard(self, reference: Any) -> None:
        if reference not in self.waiting:  # of a worker that has ended meanwhile
            return
        worker, item = self.waiting.pop(reference)
        try:
            kind, answer = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # not the work's: that answers with what it raises
            raise ValueError(f"engine=ray: a worker cannot be spoken to: {_first_line(error.cause)}") from error
        except self.ray.exceptions.RayError as error:
            self.lost(worker, item, error)
            return
        if kind == "raised":
            raise answer
        self.go_on(worker, item, answer)

    def go_on(self, worker: Worker, item: int | None, answer: Any) -> None:
        if item is not None:
            worker.items.remove(item)
            self.done[item] = answer
            return
        if not worker.node:
            worker.node = answer["node"]
        try:
            self.ask(worker, worker.life.send(answer))
        except StopIteration:
            worker.ready = True
            self.tries[None] = 0

    def lost(self, worker: Worker, item: int | None, error: Exception) -> None:
        """A worker has ended: its items go back, the first of them on suspicion, and another worker is hired."""
        self.workers.remove(worker)
        self.waiting = {one: who for one, who in self.waiting.items() if who[0] is not worker}
        self.ray.kill(worker.actor)
        suspect = worker.items[0] if worker.items else None
        self.tries[suspect] += 1
        if self.tries[suspect] >= TRIES:
            doing = "loading" if suspect is None else f"item {suspect + 1} of {len(self.items)}"
            raise ValueError(
                f"engine=ray, {self.what}: {TRIES} workers ended at {doing}, the last one with: {_first_line(error)}; "
                "if memory was short, raise engine.memory_gb, which is reserved for each"
            )
        self.todo += worker.items
        self.bar.write(
            f"{self.what}: a worker on node {worker.node or '?'} ended, its work goes to others", file=sys.stderr
        )
        self.hire()

    def require_alike(self, about: dict[str, Any]) -> None:
        """ValueError for a node whose results would be others."""
        for name, ours in self.alike.items():
            if about[name] != ours:
                raise ValueError(
                    f"node {about['node']} has {_difference(name, about[name], ours)}: its results would be "
                    "others; take nodes of one kind, with the packages of requirements.lock (`make install`)"
                )

    def require_workers(self, heard: bool) -> None:
        """ValueError where for a while there has been nobody at all."""
        alive = heard or any(worker.node for worker in self.workers)
        self.silent_s = 0.0 if alive else self.silent_s + TICK_S
        if self.silent_s >= PLACE_S:
            raise ValueError(f"engine=ray, {self.what}: no worker found a place within {PLACE_S} s; {self._short()}")

    def tell(self) -> None:
        """Progress of all items, with the workers at it and what they do in a minute."""
        ready = sum(worker.ready for worker in self.workers)
        per_s = self.bar.format_dict["rate"] or self.given / max(self.bar.format_dict["elapsed"], 1e-9)
        self.bar.set_postfix_str(f"{ready} workers, {60 * per_s:.1f} per minute", refresh=False)
        self.bar.update()

    def leave(self) -> list[Any]:
        """The actors, who are free for other work."""
        actors, self.workers = [worker.actor for worker in self.workers], []
        return actors

    def dismiss(self) -> None:
        for worker in self.workers:
            self.ray.kill(worker.actor)
        self.workers, self.waiting, self.sent = [], {}, {}

    def _short(self) -> str:
        free, asked = self.ray.available_resources(), self.asked()
        return (
            f"each wants {asked['num_cpus']:g} CPUs and {self.need_gb:.1f} GB, all nodes together have "
            f"{free.get('CPU', 0):g} and {free.get('memory', 0) / 1e9:.1f} free: set device.threads, engine.cpus or "
            "engine.memory_gb, or add nodes"
        )


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _difference(name: str, theirs: Any, ours: Any) -> str:
    """`openvino 2026.3.0 where this machine has 2026.4.1`"""
    if isinstance(theirs, dict):
        name = next(name for name in theirs if theirs[name] != ours.get(name))
        theirs, ours = theirs[name], ours.get(name)
    return f"{name.replace('_', ' ')} {theirs} where this machine has {ours}"
