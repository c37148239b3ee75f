"""Two measurements of one model: what they have in common, and what keeps their figures from being compared.

Consumes two `Measured`; produces a `Pair` and reasons in words, empty ones where nothing is in the way. Compares no
figure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.files.layout import FP16
from stages.report import intervals, sides
from stages.report.sides import Measured

DRAWN_BY = (
    "width_px", "height_px", "steps", "guidance", "scheduler", "scheduler_options", "reference", "pictures_against",
    "seed",
)  # fmt: skip
SIDES = ("before", "after")


@dataclass(frozen=True)
class Pair:
    """One model before and after."""

    model: str
    before: Measured
    after: Measured

    @property
    def both(self) -> tuple[Measured, Measured]:
        return self.before, self.after

    @property
    def same_sitting(self) -> bool:
        return self.before.sitting == self.after.sitting

    @property
    def same_figures(self) -> bool:
        """Whether both sides are one and the same measurement: there is nothing to compare then."""
        return self.same_sitting and self.before.scheme == self.after.scheme

    @property
    def in_turns(self) -> bool:
        """Whether one sitting measured both, A B A B, so that no drift of the machine's speed comes between them."""
        return self.same_sitting and self.before.record.get("interleaved") is not False

    @property
    def same_machine(self) -> bool:
        return sides.same_hardware(self.before.machine, self.after.machine)

    @property
    def same_fp16(self) -> bool:
        """Whether FP16 is the same in all that is known of it: its times then tell how the machine's speed drifted."""
        inputs = [(one.record.get("inputs") or {}).get(FP16) for one in self.both]
        same_ir = None in inputs or inputs[0] == inputs[1]
        return self.same_machine and same_ir and self.before.openvino == self.after.openvino and not self.settings()

    def settings(self) -> dict[str, str]:
        """`{"steps": "25 → 12"}`: what is known of both sides and is not the same."""
        before, after = (settings_of(one.record) for one in self.both)
        shared = [name for name in before if name in after and before[name] != after[name]]
        return {name: f"{before[name]} → {after[name]}" for name in shared}

    def drawn_otherwise(self, clip: bool) -> str:
        """Why fidelity is not that of the same pictures, or, with `clip`, not as the same CLIP sees them."""
        differing = [f"{name} {values}" for name, values in self.settings().items() if name in DRAWN_BY]
        models = [(one.record.get("clip_model") or {}).get("title") for one in self.both]
        if clip and None not in models and models[0] != models[1]:
            differing.append(f"CLIP {models[0]} → {models[1]}")
        return f"drawn otherwise: {', '.join(differing)}" if differing else ""

    def busy(self) -> str:
        """`the machine was busy after`; one that was not watched is as good as busy, as for gates."""
        flags = [(one.record.get("noise") or {}).get("flagged") for one in self.both]
        if True in flags:
            return f"the machine was busy {named(flag is True for flag in flags)}"
        return f"the machine was not watched {named(flag is None for flag in flags)}" if None in flags else ""


def settings_of(record: dict[str, Any]) -> dict[str, Any]:
    """What the figures were asked for with, as far as it is recorded."""
    asked = record.get("settings") or {}
    seed = (asked.get("benchmark") or {}).get("seed")
    found = {name: record.get(name) for name in DRAWN_BY} | {"seed": seed} | (asked.get("device") or {})
    return {name: value for name, value in found.items() if value is not None}


def named(chosen: Any) -> str:
    """`before and after` of two truths."""
    return " and ".join(side for side, is_so in zip(SIDES, chosen, strict=True) if is_so)


def unknown(values: list[Any], what: str = "figure") -> str:
    """`no raw values before`"""
    absent = named(value in (None, [], {}) for value in values)
    return f"no {what} {absent}" if absent else ""


def few(count: int, what: str) -> str:
    return f"too few {what}: {count}, {intervals.LEAST} are the least" if count < intervals.LEAST else ""
