"""YAML in which no key stands twice: of two the parser takes the last, and says nothing of the first.

Consumes text; produces what it says, or yaml.YAMLError that names key and line.
"""

from __future__ import annotations

import functools
from typing import Any


def load(text: str) -> Any:
    import yaml

    return yaml.load(text, Loader=_loader())  # a SafeLoader


@functools.cache
def _loader() -> Any:
    import yaml

    class Once(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            seen: set[str] = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode) and key.value in seen:
                    said = f"{key.value!r} stands there twice"
                    raise yaml.constructor.ConstructorError(None, None, said, key.start_mark)
                seen.add(str(key.value))
            return super().construct_mapping(node, deep)

    return Once
