"""Names that become parts of paths, by one rule: of models, schemes, speeds, precisions and prompts.

Consumes a name that a person, a file or another program gave; produces it, or an error that says what is allowed.
Folders and pictures are called by these names, on file systems too that do not tell upper case from lower.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import Any

LONGEST = 80
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")
DOTTED = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
ALLOWED = f"letters, digits, - and _, at most {LONGEST}"
ALLOWED_DOTTED = f"letters, digits, - _ . (at most {LONGEST}, no . first): it names files"


def require(name: Any, what: str) -> str:
    """The name of a model, a scheme, a speed or a precision; ValueError that begins with `what`.

    >>> require("mini-vega", "model key")
    'mini-vega'
    """
    if not is_name(name):
        raise ValueError(f"{what} must be {ALLOWED}, got {shown(name)}")
    return name


def is_name(name: Any) -> bool:
    """DVC takes a dot in a key for a level, and @ for a stage's item; folders take no slash."""
    return isinstance(name, str) and len(name) <= LONGEST and NAME.fullmatch(name) is not None


def is_file_name(name: Any) -> bool:
    """Whether a file may be called so, with dots in it."""
    return isinstance(name, str) and len(name) <= LONGEST and DOTTED.fullmatch(name) is not None


def shown(name: Any) -> str:
    """As an error shows it, however long it is."""
    text = repr(name)
    return text if len(text) <= 100 else f"{text[:60]}... of {len(text):,} characters"


def repeated(names: Iterable[Any]) -> Any:
    """The first that stands there a second time; None where each stands once.

    >>> repeated(["owl", "cat", "Owl", "cat"])
    'cat'
    """
    seen: set[Any] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def twins(names: list[str]) -> tuple[str, str] | None:
    """The first two that one file system would take for the same; None where all differ.

    >>> twins(["owl", "cat", "Owl"])
    ('owl', 'Owl')
    """
    seen: dict[str, str] = {}
    for name in names:
        if name.casefold() in seen:
            return seen[name.casefold()], name
        seen[name.casefold()] = name
    return None


def safe_name(name: str) -> str:
    """The relative name itself, refused when it is absolute or climbs out of its folder."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or ":" in path.parts[0] or "\0" in name:
        raise ValueError(f"file name {name!r} is refused: only relative names inside the folder are allowed")
    return name
