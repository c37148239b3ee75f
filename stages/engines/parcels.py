"""Models on another node, known by content: used where they lie if they are the very same, sent for if not there.

Consumes folders of the asking machine, IR or CLIP; produces folders of this node with the same bytes. Each is verified
once per node, by the hash of every file, and again when a file has changed since. Another folder's contents at the same
path are refused: whoever shares a disk between nodes wants to know that they do not agree.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stages.files import manifest, placing

CHUNK_BYTES = 64_000_000  # of a file, sent at once
HASHERS = 4


@dataclass(frozen=True)
class Parcel:
    """A folder as the asking machine has it: `digest` of its manifest, its path there, each file's SHA-256 and size."""

    digest: str
    path: str
    files: dict[str, tuple[str, int]]


def parcel(folder: Path) -> Parcel:
    """Of a folder that has just been verified; one without a manifest is hashed."""
    folder = folder.resolve()
    if (folder / manifest.NAME).is_file():
        said = manifest.read(folder, rerun="export")["files"]
        files = {name: (entry["sha256"], entry["size"]) for name, entry in said.items()}
        files |= _hashed(folder, [manifest.NAME])
        return Parcel(manifest.digest(folder), str(folder), files)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = _hashed(folder, names)
    return Parcel(hashlib.sha256(json.dumps(files).encode()).hexdigest(), str(folder), files)


def chunks(sent: Parcel) -> Iterator[tuple[str, bytes]]:
    """Its files in pieces, one after the other, each with the name of its file."""
    for name in sent.files:
        with (Path(sent.path) / name).open("rb") as file:
            first = True
            while (piece := file.read(CHUNK_BYTES)) or first:
                yield name, piece
                first = False


def home() -> Path:
    """What this node keeps of what it was sent; it may be removed at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pocketxl" / "ir"


def found(wanted: Parcel, kept: Path) -> Path | None:
    """The folder on this node, verified; None where it has to be sent. ValueError where another one is in its place."""
    with _alone(kept, wanted):
        own = kept / wanted.digest
        if Path(wanted.path).is_dir():
            return _verified(Path(wanted.path), wanted, kept, "bring it up to date, or remove it: then it is sent")
        return _verified(own, wanted, kept, "remove it, it is sent again") if own.is_dir() else None


def unpacked(wanted: Parcel, pieces: Iterable[tuple[str, bytes]], kept: Path) -> Path:
    """The same folder, out of the pieces that were sent; whoever else of this node has unpacked it meanwhile, did."""
    with _alone(kept, wanted):
        own = kept / wanted.digest
        if not own.is_dir():
            with placing.whole(own) as folder:
                for name, piece in pieces:
                    (folder / name).parent.mkdir(parents=True, exist_ok=True)
                    with (folder / name).open("ab") as file:
                        file.write(piece)
        return _verified(own, wanted, kept, "remove it, it is sent again")


def _verified(folder: Path, wanted: Parcel, kept: Path, cure: str) -> Path:
    stamp = kept / "verified" / f"{wanted.digest}-{hashlib.sha256(str(folder).encode()).hexdigest()[:8]}.json"
    state = _state(folder, wanted)
    if stamp.is_file() and stamp.read_text() == state:
        return folder
    whole = {name: size for name, (_, size) in wanted.files.items()}
    there = {name: (folder / name).stat().st_size for name in whole if (folder / name).is_file()}
    other = [name for name in whole if there.get(name) != whole[name]]
    if not other:
        hashes = _hashed(folder, list(wanted.files))
        other = [name for name in whole if hashes[name] != wanted.files[name]]
    if other:
        raise ValueError(f"{folder / other[0]} is not what the asking machine has ({wanted.digest[:12]}…): {cure}")
    placing.write_text(stamp, state)
    return folder


def _state(folder: Path, wanted: Parcel) -> str:
    """Sizes and times of change: as long as they stay, so do the contents."""
    stats = {name: (folder / name).stat() for name in wanted.files if (folder / name).is_file()}
    return json.dumps({name: [one.st_size, one.st_mtime_ns] for name, one in stats.items()})


def _hashed(folder: Path, names: list[str]) -> dict[str, tuple[str, int]]:
    with ThreadPoolExecutor(HASHERS) as pool:
        hashes = pool.map(manifest.sha256, [folder / name for name in names])
        return {name: (found, manifest.size(folder / name)) for name, found in zip(names, hashes, strict=True)}


@contextmanager
def _alone(kept: Path, wanted: Parcel) -> Iterator[None]:
    """One process of this node at a time; the others find what it has done."""
    kept.mkdir(parents=True, exist_ok=True)
    lock = os.open(kept / f".{wanted.digest}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
