"""Files that are not what their name says: pointers of Git LFS, web pages, and things that are no files at all.

Consumes a path, or the beginning of a file; produces an error in one line, or what the file is instead. Opens nothing
that could wait for ever.
"""

from __future__ import annotations

import stat
from pathlib import Path

START_BYTES = 512  # of a file, enough to know it by
POINTER = b"version https://git-lfs.github.com/spec/"
PAGES = (b"<!doctype html", b"<html", b"<?xml")
KINDS = {stat.S_ISFIFO: "a FIFO", stat.S_ISSOCK: "a socket", stat.S_ISCHR: "a device", stat.S_ISBLK: "a device"}


def require_file(path: Path) -> None:
    """FileNotFoundError where nothing is there; ValueError for a folder, a FIFO or a device, which may never end."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"{path} is missing") from None
    except OSError as error:  # a circle of links, a name that is too long
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{path} is {kind(mode)}: a file is wanted")


def kind(mode: int) -> str:
    """What a path's mode says that it is, where it is no file."""
    return next((said for is_one, said in KINDS.items() if is_one(mode)), "a folder")


def instead(start: bytes) -> str | None:
    """What a file is that begins with `start`, and what to do, where it only stands for another one; else None."""
    if start.startswith(POINTER):
        return "it is a pointer of Git LFS: run `git lfs pull` in its repository, or download the file itself"
    if start.lstrip().lower().startswith(PAGES):
        return "it is a web page, saved under this name: download the file itself"
    return None
