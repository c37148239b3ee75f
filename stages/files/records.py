"""JSON files that stages leave for one another beside folders: read with one line for whatever is wrong with them.

Consumes a path and what makes it anew; produces the object in it. Manifests have their own shape, see
stages.files.shape.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.files.remedy import remedy


def read(path: Path, rerun: str, kind: type = dict) -> Any:
    """What the file holds, a dictionary or, of that `kind`, a list; FileNotFoundError or ValueError name the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy(path, rerun)} first")
    return parsed(path.read_bytes(), path, remedy(path, rerun), kind)


def parsed(content: str | bytes, path: Path | str, cure: str = "", kind: type = dict) -> Any:
    """The same of what was read already; `cure`: the words that say what to do about it."""
    cure = f": {cure}" if cure else ""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}){cure}") from error
    if not isinstance(found, kind):
        raise ValueError(f"{path} must hold {'an object' if kind is dict else 'a list'}{cure}")
    return found


def require_rows(record: dict[str, Any], path: Path | str, cure: str = "") -> None:
    """ValueError unless a record has figures by precision, each of them by name."""
    rows, cure = record.get("precisions"), f": {cure}" if cure else ""
    if not isinstance(rows, dict):
        raise ValueError(f"{path} has no 'precisions'{cure}")
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise ValueError(f"{path} has no figures by name of {name!r}{cure}")
