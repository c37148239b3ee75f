"""Finished pieces of a benchmark, each kept as it comes, so that a killed one goes on and draws nothing twice.

Consumes names of pieces and functions that make them; produces the pieces, made now or found. Each is a file of its
own, whole or absent, and its arrays are read when they are looked at; without a folder they are remembered, and gone
with the process. Knows no precision and no model.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.files import pieces, placing
from stages.measurement import stored
from stages.measurement.stored import Arrays


class Kept:
    """`kept.value("peaks", measure)` is what `measure()` returned when it was first asked for under that name."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._remembered: dict[str, Any] = {}

    def value(self, name: str, make: Callable[[], Any]) -> Any:
        """Numbers, texts, lists and dictionaries: what JSON holds."""
        if self.folder is None:
            return self._remember(name, make)
        path = self._path(name, "json")
        if not pieces.is_there(path):
            placing.write_text(path, json.dumps(make()))
            pieces.note(path)
        return json.loads(path.read_text(encoding="utf-8"))

    def arrays(self, name: str, make: Callable[[], tuple[Arrays, dict[str, Any]]]) -> tuple[Arrays, dict[str, Any]]:
        """Arrays by name, in order, and facts beside them."""
        if self.folder is None:
            return self._remember(name, make)
        path = self._path(name, "safetensors")
        if not pieces.is_there(path):
            save(path, *make())
        return stored.load(path)

    def put(self, name: str, arrays: Arrays, facts: dict[str, Any]) -> None:
        """What was made elsewhere, where it is not there already."""
        if self.folder is None:
            self._remember(name, lambda: (arrays, facts))
        elif not self.has(name):
            save(self._path(name, "safetensors"), arrays, facts)

    def found(self, name: str) -> tuple[Arrays, dict[str, Any]]:
        """Arrays that are there."""
        return self._remembered[name] if self.folder is None else stored.load(self._path(name, "safetensors"))

    def has(self, name: str) -> bool:
        """Whether arrays of that name are there."""
        return name in self._remembered or (
            self.folder is not None and pieces.is_there(self._path(name, "safetensors"))
        )

    def _path(self, name: str, suffix: str) -> Path:
        """Of a piece: other names have other files, those of the prompts `a-b` and `a--b` too."""
        return self.folder / f"{file_name(name)}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.{suffix}"

    def _remember(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self._remembered:
            self._remembered[name] = make()
        return self._remembered[name]


def file_name(name: str) -> str:
    """`fp16 in float32/two-stage/7` as `fp16-in-float32-two-stage-7`"""
    return re.sub(r"[^\w.]+", "-", name)


def save(path: Path, arrays: Arrays, facts: dict[str, Any]) -> None:
    """A whole piece, or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    stored.save(partial, arrays, facts)
    os.replace(partial, path)
    pieces.note(path)
