"""Pieces of unfinished work, which a run that was stopped leaves to the next one: there only as they were written.

Consumes files and folders, each written whole; produces a note beside each, `.<name>.sha256`, and whether it is there.
A piece that no longer is what its note says is taken away, so that it is made anew: silently used it would go into
a result that nobody could tell from a right one.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path

from stages.files import manifest, placing


def note(piece: Path) -> None:
    """It is finished: from now on it is there for other runs too."""
    placing.write_text(_note(piece), _digest(piece))


def is_there(piece: Path) -> bool:
    """Whether it was finished and is what it was then."""
    if not piece.exists() or not _note(piece).is_file():  # or whoever made it was killed before it could say so
        _remove(piece)
        return False
    if _note(piece).read_bytes() == _digest(piece).encode():
        return True
    print(f"{piece}, of a run that was stopped, is damaged: it is made anew", file=sys.stderr)
    _remove(piece)
    return False


def _note(piece: Path) -> Path:
    return piece.with_name(f".{piece.name}.sha256")


def _digest(piece: Path) -> str:
    if piece.is_file():
        return manifest.sha256(piece)
    whole = hashlib.sha256()
    for path in sorted(piece.rglob("*")):
        if path.is_file():
            whole.update(f"{manifest.sha256(path)} {path.relative_to(piece).as_posix()}\n".encode())
    return whole.hexdigest()


def _remove(piece: Path) -> None:
    if piece.is_dir():
        shutil.rmtree(piece)
    piece.unlink(missing_ok=True)
    _note(piece).unlink(missing_ok=True)
