"""A picture's own settings read back: out of its PNG or its link, and what stands in the way of drawing it again.

Consumes a file or an address's query, and the shelf; produces values for the form and sentences for its reader.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.app import fields
from stages.studio import metadata
from stages.studio.shelf import Shelf

if TYPE_CHECKING:
    from stages.studio.studio import Drawn

ANOTHER = (
    "The PNG that was read back started from another picture, or one cut otherwise: this is not its drawing again."
)
NUMBERS = ("steps", "guidance", "width", "height", "strength", "high_noise_fraction")
LONGEST = 10_000  # characters of a text that a field is filled with: longer ones are refused anyway, once drawn


def from_png(at_hand: Shelf, path: Path | str) -> tuple[fields.Values, list[str]]:
    """Values of the form, and what to know; Refused, a ValueError, where the file holds none."""
    found = metadata.read(path)
    return _values(at_hand, found), _said(at_hand, found)


def start_of(path: Path | str) -> str | None:
    """What names the picture that the PNG's own started from: `metadata.of_start`."""
    return metadata.read(path)["start_sha256"]


def compared(drawn: Drawn, began: str | None) -> Drawn:
    """With a sentence more where it is drawn by a PNG's settings and from another picture than the PNG was."""
    if began is None or drawn.start is None or metadata.of_start(drawn.start) == began:
        return drawn
    return replace(drawn, said=(*drawn.said, ANOTHER))


def from_link(at_hand: Shelf, query: Mapping[str, str]) -> tuple[fields.Values, list[str]]:
    """The same of an address; nothing at all where it says nothing of a picture."""
    if "model" not in query:
        return {}, []
    found = metadata.from_link(query)
    return _values(at_hand, found), _said(at_hand, found)


def _values(at_hand: Shelf, found: Mapping[str, Any]) -> fields.Values:
    """Only what the form can hold: a file says whatever its maker likes, and models are removed."""
    values = {name: _plain(name, found[name]) for name in fields.NAMES if found.get(name) is not None}
    values = {name: value for name, value in values.items() if value is not None}
    precision = at_hand.get(values.get("model", ""), {}).get(values.get("precision", ""))
    if precision is None or values.get("task") not in precision.tasks:
        for name in ("task", "model", "precision"):
            values.pop(name, None)
    return values | {"new_seed": False, "other": fields.NOTHING}


def _plain(name: str, value: Any) -> Any:
    """A text, a number, or None where a field cannot hold it."""
    if name in NUMBERS:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            return None
        return (int(number) if number.is_integer() else number) if math.isfinite(number) else None
    if name == "scheduler" and value not in fields.schedulers():
        return None
    return str(value)[:LONGEST] if isinstance(value, str | int) else None


def _said(at_hand: Shelf, found: Mapping[str, Any]) -> list[str]:
    said = []
    model, precision = (str(found.get(name))[:LONGEST] for name in ("model", "precision"))
    item = at_hand.get(model, {}).get(precision)
    if item is None:
        said.append(f"It was drawn by {model} in {precision}, which is not at hand: run `dvc repro quantize@{model}`.")
    digests = found.get("ir") if isinstance(found.get("ir"), dict) else {}
    changed = [name for name, digest in digests.items() if name in at_hand and digest not in _digests(at_hand[name])]
    if changed:
        said.append(f"The IR of {' and '.join(changed)} is another one than drew it: the picture may differ.")
    if found.get("task") == "image-to-image":
        said.append("It started from another picture, which it does not hold: choose that one too.")
    return said


def _digests(precisions: Mapping[str, Any]) -> set[str]:
    return {item.digest for item in precisions.values()}
