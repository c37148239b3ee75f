"""Templates of pages: where they lie, and how they are filled.

Consumes folders; produces Jinja2's environment, in which every value is escaped and one that lacks is an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def environment(*folders: Path) -> Any:
    """The first folder's templates go before those of the same name in the next."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
