"""One sitting: ours and the peers, each in a process of its own, draw the same prompts in turns.

Consumes work, prompts and the names of who draws; produces what each drew, its times, its cold start, its memory, or
the reason why there is nothing of it. All are in memory together where it holds them; else each stands in it with our
INT8 alone, which draws again beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.machine import description, fitting
from stages.machine.companion import Companion
from stages.measurement import latency
from stages.peers import known
from stages.peers.known import QUANTIZED, REFERENCE
from stages.peers.work import Work

if TYPE_CHECKING:
    from stages.measurement.kept import Kept
    from stages.prompts.sets import Prompt


@dataclass
class Seat:
    """Who draws, in the turns of one group; its process is started when something is not known from an earlier run."""

    name: str
    work: Work
    kept: Kept
    group: str
    pictures: list[np.ndarray] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    cold: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    companion: Companion | None = None

    def begin(self, prompt: str, seed: int) -> None:
        """A cold start: load, and the first picture. It is known once, whatever the group."""
        self.cold = self.kept.value(f"cold/{self.name}", lambda: self._begin(prompt, seed))

    def draw(self, number: int, prompt: str, seed: int) -> None:
        name = f"{self.group}/{self.name}/{number}"
        arrays, facts = self.kept.arrays(name, lambda: self._draw(prompt, seed))
        self.pictures.append(arrays["picture"])
        self.seconds.append(facts["seconds"])

    def leave(self) -> None:
        if self.companion is not None:
            self.companion.end()
            self.companion = None

    def _begin(self, prompt: str, seed: int) -> dict[str, Any]:
        _, load_s = latency.stopwatch(self._present)
        _, first_s = self._present().ask("picture", prompt, seed, False)
        return {"load_s": round(load_s, 3), "first_s": round(first_s, 3), "peak_mb": self._present().ask("peak_mb")}

    def _draw(self, prompt: str, seed: int) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        picture, seconds = self._present().ask("picture", prompt, seed)
        return {"picture": picture}, {"seconds": seconds}

    def _present(self) -> Companion:
        if self.companion is None:
            self.companion = Companion(known.painter, self.name, self.work)
            self.companion.ready()
        return self.companion


Group = list[Seat]
Tick = Callable[[], Any]


def fitted(names: Sequence[str], work: Work, free_gb: float) -> tuple[list[str], dict[str, str]]:
    """Those whose process fits in memory alone, and the reasons of the others."""
    needs = {name: known.gb(name, work) for name in names}
    reasons = {
        name: f"does not fit: needs {gb:.1f} GB of memory, {free_gb:.1f} of {description.memory_gb():.1f} can be had"
        for name, gb in needs.items()
        if gb > free_gb
    }
    return [name for name in names if name not in reasons], reasons


def grouped(needs: dict[str, float], free_gb: float) -> list[list[str]]:
    """Who is in memory at the same time: all, else each beside our INT8, else each for itself.

    >>> grouped({"int8": 6.0, "torch-f32": 8.0, "genai": 6.0}, free_gb=15.0)
    [['int8', 'torch-f32'], ['int8', 'genai']]
    """
    if sum(needs.values()) <= free_gb:
        return [list(needs)]
    groups: list[list[str]] = []
    for name, gb in needs.items():
        if name == QUANTIZED:
            continue
        pair = QUANTIZED in needs and needs[QUANTIZED] + gb <= free_gb
        groups.append([QUANTIZED, name] if pair else [name])
    if QUANTIZED in needs and not any(QUANTIZED in group for group in groups):
        groups.insert(0, [QUANTIZED])
    return groups


def sit(names: list[str], work: Work, prompts: Sequence[Prompt], how: Any, kept: Kept, tick: Tick) -> list[Group]:
    """Everybody's pictures, group by group; `how`: seed and minutes, which all groups share."""
    groups = grouped({name: known.gb(name, work) for name in names}, fitting.free_gb())
    minutes = None if how.minutes is None else how.minutes / len(groups)
    seated = []
    for members in groups:
        group = [Seat(name, work, kept, "+".join(members)) for name in members]
        turns(group, prompts, how.seed, minutes, tick)
        seated.append(group)
    return seated


def turns(group: Group, prompts: Sequence[Prompt], seed: int, minutes: float | None, tick: Tick) -> None:
    """Each begins, then every prompt by everyone, beginning with another one each time; whoever fails leaves.

    Prompts after the first are drawn as long as they end within the minutes, as the first foretells; None draws all.
    """
    try:
        for seat in group:
            _try(seat, lambda seat=seat: seat.begin(prompts[0].text, seed), tick)
        limit = len(prompts)
        for number, prompt in enumerate(prompts):
            if number >= limit:
                break
            start = number % len(group)
            for seat in [*group[start:], *group[:start]]:
                _try(seat, lambda seat=seat, n=number, text=prompt.text: seat.draw(n, text, seed + n), tick)
            if number == 0 and minutes is not None:
                turn = sum(sum(seat.seconds) for seat in group)
                limit = max(1, min(limit, int(60 * minutes / max(turn, 1e-9))))
    finally:
        for seat in group:
            seat.leave()


def references(work: Work, count: int, prompts: Sequence[Prompt], seed: int, kept: Kept, tick: Tick) -> Seat:
    """Pictures that all are compared with: our FP16 IR, computed in float32."""
    seat = Seat(REFERENCE, work, kept, REFERENCE)
    seat.reason = fitted([REFERENCE], work, fitting.free_gb())[1].get(REFERENCE)
    try:
        for number, prompt in enumerate(prompts[:count]):
            _try(seat, lambda n=number, text=prompt.text: seat.draw(n, text, seed + n), tick)
    finally:
        seat.leave()
    return seat


def _try(seat: Seat, act: Callable[[], None], tick: Tick) -> None:
    if seat.reason is None:
        try:
            act()
        except ValueError as error:
            seat.reason = str(error)
            seat.leave()
    tick()
