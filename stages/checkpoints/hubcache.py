"""What the Hub cache of this machine holds of a repository, told without asking the Hub.

Consumes a repository's name and a revision; produces the commit that the cache's refs say, the files of its snapshot
with the hashes that their blobs are named by, and whether a blob is what its name says. Sweeps what killed downloads
left. Fetches nothing.

    models--org--name/refs/main                            the commit that `main` was when it was last asked about
    models--org--name/snapshots/<commit>/unet/config.json  -> ../../../blobs/<git hash, or SHA-256 of a large file>
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stages.checkpoints.asking import COMMIT, HASHES
from stages.files import manifest


def folder() -> Path:
    """The Hub cache; files are hard links to it where it is on the same disk as the project."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_bytes(repos: Iterable[str]) -> int:
    """Bytes that the Hub cache holds of these repositories, what was begun included."""
    blobs = {_of(repo) / "blobs" for repo in repos}
    return sum(path.stat().st_size for each in blobs for path in each.glob("*"))


def holds(repo: str, commit: str, name: str) -> bool:
    return (_of(repo) / "snapshots" / commit / name).is_file()


def sweep(repo: str) -> None:
    """Remove what killed downloads have left, which nobody goes on with: names of their own, as huggingface_hub 1.21
    gives each download. A living one holds the lock of its file."""
    from filelock import FileLock, Timeout

    for begun in (_of(repo) / "blobs").glob("*.incomplete"):
        lock = folder() / ".locks" / _of(repo).name / f"{begun.name.split('.')[0]}.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(lock, timeout=0):
                begun.unlink(missing_ok=True)
        except (Timeout, OSError, NotImplementedError):  # it lives, or others own it
            continue


def entry(repo: str, revision: str) -> dict[str, Any] | None:
    """An entry of the record, as far as the cache knows: files that nobody fetched are not among its files."""
    commit = revision if COMMIT.fullmatch(revision) else _ref(repo, revision)
    snapshot = _of(repo) / "snapshots" / (commit or "")
    paths = sorted(snapshot.rglob("*")) if commit else []
    files = {path.relative_to(snapshot).as_posix(): _facts(path) for path in paths if not path.is_dir()}
    return {"commit": commit, "files": files} if files else None


def is_sound(path: Path) -> bool | None:
    """Whether a file of a snapshot is what the name of its blob says; None where it has no such name."""
    blob = _blob(path)
    stated = _stated(blob) if blob else {}
    if "sha256" in stated:
        return manifest.sha256(path) == stated["sha256"]
    return git_hash(path) == stated["git"] if stated else None


def remove_blob(path: Path) -> bool:
    """Remove what a file of a snapshot points to. The link stays: it says that something is missing."""
    try:
        (_blob(path) or path).unlink()
    except OSError:  # a cache that others own
        return False
    return True


def git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _of(repo: str) -> Path:
    from huggingface_hub.file_download import repo_folder_name

    return folder() / repo_folder_name(repo_id=repo, repo_type="model")


def _ref(repo: str, revision: str) -> str | None:
    path = _of(repo) / "refs" / revision
    commit = path.read_text().strip() if path.is_file() else ""
    return commit if COMMIT.fullmatch(commit) else None


def _facts(path: Path) -> dict[str, Any]:
    """Size, 0 of a file whose blob is gone, and the hash that its blob is named by, if it is."""
    blob = _blob(path)
    return {"size": manifest.size(path) if path.is_file() else 0} | (_stated(blob) if blob else {})


def _blob(path: Path) -> Path | None:
    blob = path.parent / path.readlink() if path.is_symlink() else path
    return blob if blob.parent.name == "blobs" else None


def _stated(blob: Path) -> dict[str, str]:
    return {kind: blob.name for kind, form in HASHES.items() if form.fullmatch(blob.name)}
