"""JSON read strictly: an object whose keys stand once, all numbers finite: it means one thing to every reader.

Consumes text; produces a dictionary, or a ValueError that says what is wrong with it. Opens no file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any


def parse(text: str | bytes) -> dict[str, Any]:
    """ValueError for what is no JSON object, says a key twice, is nested too deeply or holds NaN or Infinity.

    -Infinity is let through: it stands in configurations of schedulers, for a lower bound that is none.
    """
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it must hold a JSON object")
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"it says {key!r} twice")
        if any(isinstance(one, float) and not one < math.inf for one in _flat(value)):
            raise ValueError(f"{key!r} is NaN or infinite, which is no number in JSON")
        found[key] = value
    return found


def _flat(value: Any) -> Iterator[Any]:
    """A value, or what a list holds, however deep."""
    if isinstance(value, list):
        for one in value:
            yield from _flat(one)
    else:
        yield value
