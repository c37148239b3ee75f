"""Samplers as data: which scheduler classes there are, which options each takes, and what SDXL needs of it.

Consumes schedulers.yaml beside it and the sampler of a model; raises ValueError with the key, the value and what is
allowed. Builds nothing: diffusers is not imported.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from stages.settings.spelling import nearest

FILE = Path(__file__).with_name("schedulers.yaml")
FAMILIAR = {"switch": bool, "count": int, "number": float}
SAID = {"switch": "true or false", "count": "a whole number", "number": "a number"}


def check(where: str, scheduler: str, options: dict[str, Any]) -> None:
    """`where` is the sampler's key: model.vega.sampler."""
    classes = known()["classes"]
    if scheduler not in classes:
        raise ValueError(
            f"{where}.scheduler must be one of {', '.join(classes)}; got {scheduler!r}{nearest(scheduler, classes)}"
        )
    for name, value in options.items():
        key, takes = f"{where}.options.{name}", classes[scheduler]["takes"]
        if name not in takes:
            raise ValueError(f"{key} is no option of {scheduler}{nearest(name, takes)}; it takes {', '.join(takes)}")
        _check_value(key, value, known()["options"][name])
    chosen = [name for name in known()["exclusive"] if options.get(name)]
    if len(chosen) > 1:
        raise ValueError(f"{where}.options: only one of {', '.join(chosen)} can be true")


def unless_said(scheduler: str) -> dict[str, Any]:
    """Options that SDXL needs of a class where neither settings nor checkpoint say anything."""
    return dict(known()["classes"][scheduler]["unless_said"])


@functools.cache
def known() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _check_value(key: str, value: Any, allowed: str | list[str]) -> None:
    if isinstance(allowed, list):
        if value not in allowed:
            raise ValueError(f"{key} must be one of {', '.join(allowed)}; got {value!r}{nearest(value, allowed)}")
        return
    kind = FAMILIAR[allowed]
    right = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not right or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{key} must be {SAID[allowed]}, got {value!r}")
