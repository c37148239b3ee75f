"""The published architectures by name: configurations of their components, and counts that follow from those.

Consumes architectures.yaml beside it; produces plain dictionaries. Builds nothing.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("architectures.yaml")


def configurations(name: str) -> dict[str, dict[str, Any]]:
    """Configurations by component; ValueError for a name that architectures.yaml does not hold."""
    return _named("configurations", name)


def counts(name: str) -> dict[str, dict[str, Any]]:
    """Parameters, and the UNet's work, by component; ValueError for a name that architectures.yaml does not hold."""
    return _named("counts", name)


def names() -> list[str]:
    return list(_read()["configurations"])


def _named(kind: str, name: str) -> dict[str, dict[str, Any]]:
    if name not in names():
        raise ValueError(f"source.architecture {name!r} is not known; allowed: {', '.join(names())}")
    return _read()[kind][name]


@functools.cache
def _read() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(FILE.read_text(encoding="utf-8"))
