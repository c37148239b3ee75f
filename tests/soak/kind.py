"""A kind of input: how examples of it are made, used and judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Kind:
    """Three functions, and how many examples a round takes; `wrong` says what is wrong with an accepted one."""

    strategy: Callable[[], Any]
    run: Callable[[Any], Any]
    wrong: Callable[[Any, Any], str]
    count: int = 100


def alike(one: Any, other: Any) -> bool:
    """Equal in value and type, but that a whole number may have become one with a point."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) and isinstance(other, int | float) and not isinstance(other, bool):
        return one == other or one != one and other != other
    return type(one) is type(other) and one == other


class Unique(yaml.SafeLoader):
    """YAML in which no key stands twice: of two the parser would take the last, and say nothing."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise ValueError(f"{twice[0]} stands there twice")
        return super().construct_mapping(node, deep)
