"""Measured costs that forecasts are made with: the figures of costs.yaml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

COSTS = Path(__file__).with_name("costs.yaml")


@functools.cache
def costs() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(COSTS.read_text(encoding="utf-8"))
