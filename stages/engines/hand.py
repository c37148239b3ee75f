"""A worker of the cluster: it lives in a process of its own on some node, loads the work once and does item after item.

Consumes parcels, a recipe and items; answers each question with ("answer", result) or ("raised", error), so that
whatever else reaches the asking machine is the end of this process and not a fault of the work.
"""

from __future__ import annotations

import functools
import gc
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.engines import parcels
from stages.engines.parcels import Parcel
from stages.engines.work import Work
from stages.files import manifest
from stages.machine import apart, description, memory

if TYPE_CHECKING:
    from stages.settings.schema import Device

Answer = tuple[str, Any]


def answered(method: Callable[..., Any]) -> Callable[..., Answer]:
    @functools.wraps(method)
    def answer(self: Hand, *arguments: Any) -> Answer:
        try:
            return "answer", method(self, *arguments)
        except Exception as error:  # whatever it is, it is raised again on the other side
            sent = apart.sendable(error)
            sent.add_note(traceback.format_exc())
            return "raised", sent

    return answer


class Hand:
    """Ray makes an actor of it."""

    def __init__(self) -> None:
        self._folders: dict[str, Path] = {}  # by digest
        self._work: Work | None = None

    @answered
    def introduce(self, device: Device) -> dict[str, Any]:
        """Where it lives, and what decides the bytes that it computes."""
        return {"node": socket.gethostname(), "pid": os.getpid(), **alike(device)}

    @answered
    def lacking(self, wanted: list[Parcel]) -> list[str]:
        """Digests of folders that this node has to be sent."""
        places = {one.digest: self._named(parcels.found, one, parcels.home()) for one in wanted}
        self._folders |= {digest: folder for digest, folder in places.items() if folder is not None}
        return [digest for digest, folder in places.items() if folder is None]

    @answered
    def receive(self, wanted: Parcel, pieces: list[tuple[str, Any]]) -> None:
        """Pieces of its files, by references into the object store: each is here only while it is written."""
        import ray

        arriving = ((name, ray.get(piece)) for name, piece in pieces)
        self._folders[wanted.digest] = self._named(parcels.unpacked, wanted, arriving, parcels.home())

    @answered
    def prepare(self, work: Work, wanted: dict[str, Parcel], count: int, room_gb: float) -> None:
        """Load the work, to be computed with `count` threads; ValueError where this node has fewer cores."""
        self._work = None  # what it has loaded is not to stand beside what comes
        gc.collect()
        folders = {name: self._folders[one.digest] for name, one in wanted.items()}
        self._work = work.at(folders, count, min(room_gb, memory.room_gb()))
        if (found := self._work.threads()) != count:
            raise ValueError(
                f"node {socket.gethostname()} computes with {found} threads where results here are of {count}: they "
                f"would be others; set device.threads={found}, or take nodes with {count} cores"
            )
        self._work.loaded()

    @answered
    def do(self, item: Any) -> Any:
        assert self._work is not None
        return self._work(item)

    @staticmethod
    def _named(step: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return step(*arguments)
        except ValueError as error:
            raise ValueError(f"node {socket.gethostname()}: {error}") from None


def alike(device: Device) -> dict[str, Any]:
    """What must be the same on all nodes: releases, how floats are computed, and by which instructions."""
    sets = " ".join(description.instruction_sets())
    return {"tools": manifest.tools(), "floats": memory.floats(device), "instruction_sets": sets}
