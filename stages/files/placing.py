"""Files and folders that are whole or absent: written beside their place and moved there in one step.

Consumes what a stage writes; produces it under its final name, or nothing. What a killed process left is swept by the
next, but for what it meant to go on from. Looks into no file.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.endings import causes


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block succeeds and disappears when it fails."""
    with passing(target) as folder:
        yield folder
        _replace(target, folder)


@contextmanager
def passing(target: Path) -> Iterator[Path]:
    """A folder beside `target` that goes with the block; what killed processes left of such is swept."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    folder, lock = _locked_folder(target)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def scratch(name: str) -> Path:
    """What this user's temporary folders of a kind stand beside, out of the project."""
    return Path(tempfile.gettempdir()) / f"pocketxl-{name}-{os.getuid() if hasattr(os, 'getuid') else 0}"


@contextmanager
def unfinished(target: Path, key: str) -> Iterator[Path]:
    """A folder beside `target` for pieces of it, kept when the run dies and found again by a run with the same key.

    ValueError that names the process where a living one is making `target`, of the same pieces or of others: what it
    has is left alone.
    """
    folder = target.with_name(f".{target.name}.unfinished-{key[:16]}")
    went_on = folder.is_dir() and any(folder.iterdir())
    for stale in set(pieces_of(target)) - {folder}:
        with _held(stale, target):
            shutil.rmtree(stale)
    folder.mkdir(parents=True, exist_ok=True)
    with _held(folder, target):
        try:
            yield folder
            shutil.rmtree(folder)
        except Exception as error:
            if went_on and not causes.is_refusal(error):
                error.add_note(f"pieces of an earlier run are in {folder}: if it comes again, remove that first")
            raise
        finally:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def pieces_of(target: Path) -> list[Path]:
    """Folders that runs which did not come to their end have left beside `target`."""
    return sorted(target.parent.glob(f".{target.name}.unfinished-*"))


@contextmanager
def _held(folder: Path, target: Path) -> Iterator[None]:
    """While this process alone holds a folder's lock, which ends with the process, however that ends."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        who = _holder(os.fstat(lock).st_ino)
        os.close(lock)
        raise ValueError(f"another run{who} is making {target}: wait for it, or stop it") from error
    try:
        yield
    finally:
        os.close(lock)


def _holder(inode: int) -> str:
    """` (process 123)` that holds a lock, as Linux tells it; nothing elsewhere, or of another container's process."""
    try:
        locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return ""
    held = [fields[4] for fields in locks if fields[1] == "FLOCK" and fields[5].rpartition(":")[2] == str(inode)]
    return f" (process {held[0]})" if held and held[0] != "0" else ""


def sweep(target: Path) -> None:
    """Remove what dead processes left beside `target`: a living one holds the lock of its folder."""
    for stale in target.parent.glob(f".{target.name}.partial-*"):
        try:
            lock = os.open(stale, os.O_RDONLY)
        except FileNotFoundError:  # another process swept it
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale, ignore_errors=True)
        except BlockingIOError:
            pass
        finally:
            os.close(lock)


def write_text(path: Path, text: str) -> None:
    """A small file under its final name only when it is complete; never through a link into a cache."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """The same of bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def link(source: Path, target: Path) -> None:
    """Hard-link a file, or copy it where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source.resolve(), target)
    except FileExistsError:
        raise
    except OSError:
        shutil.copyfile(source, target)


def share(source: Path, target: Path) -> None:
    """Put a hard link to `source` in the place of `target`, which holds the same bytes; where none can be, leave it."""
    if target.samefile(source):  # to rename a link onto another one of the same file does nothing, says POSIX
        return
    partial = target.with_name(f".{target.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), partial)
        partial.replace(target)
    except OSError:  # another disk, or a file system without hard links
        partial.unlink(missing_ok=True)


def _locked_folder(target: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():  # a sweeping process may have come between mkdtemp and flock
            folder.chmod(0o755)
            return folder, lock
        os.close(lock)


def _replace(target: Path, folder: Path) -> None:
    """Move `folder` to `target`; an older `target` is set aside first, under a name that the next sweep removes."""
    old = folder.with_name(folder.name + "-old")
    if target.exists():
        target.rename(old)
    folder.rename(target)
    shutil.rmtree(old, ignore_errors=True)
