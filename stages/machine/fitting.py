"""What of a benchmark this machine's memory holds: which precisions, which of them side by side, and which reference.

Consumes IR folders by precision and what a picture asks of them; decides, by stages.machine.memory's forecasts and the
memory that is free now. Loads nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stages.ir import anatomy
from stages.machine import description, memory, sizes
from stages.machine.memory import Request


def which(folders: dict[str, Path], asked: Request) -> tuple[dict[str, Path], dict[str, str]]:
    """The precisions that can be run, part by part, and the reasons of those that cannot.

    Raises ValueError if it is none of them.
    """
    free = free_gb()
    needs = {
        name: memory.in_turn_gb(sizes.of_ir(folder), asked, anatomy.stored(folder)) for name, folder in folders.items()
    }
    reasons = {
        name: f"not run: needs {gb:.1f} GB of memory, {free:.1f} of {description.memory_gb():.1f} GB can be had"
        for name, gb in needs.items()
        if gb > free
    }
    if len(reasons) == len(folders):
        raise ValueError("; ".join(f"{name} {reason}" for name, reason in reasons.items()) + ": close other programs")
    return {name: folder for name, folder in folders.items() if name not in reasons}, reasons


def groups(folders: dict[str, Path], asked: Request, room_gb: float) -> list[list[str]]:
    """Precisions that take turns: all where memory holds all their parts, else each for itself."""
    parts = [memory.parts_gb(sizes.of_ir(folder), asked, anatomy.stored(folder)) for folder in folders.values()]
    fit = sum(sum(gb.values()) for gb in parts) <= room_gb
    return [list(folders)] if fit else [[name] for name in folders]


def reference(folders: dict[str, Path], asked: Request, before: str) -> tuple[str, bool, str | None]:
    """(precision, whether in float32, what to call it): no name for one that fidelity cannot be measured against."""
    if before not in folders:
        return next(iter(folders)), False, None
    exact = memory.in_turn_gb(sizes.of_ir(folders[before]), replace(asked, floats="f32")) <= free_gb()
    return before, exact, f"{before} in float32" if exact else f"{before} in {asked.floats}"


def together(folder: Path, asked: Request) -> bool:
    """Whether memory holds all parts of one pipeline at once."""
    return memory.together_gb(sizes.of_ir(folder), asked, anatomy.stored(folder)) <= free_gb()


def free_gb() -> float:
    return memory.SHARE * description.available_memory_gb()
