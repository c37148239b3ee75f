"""What DVC keeps for itself, kept from getting in a user's way: its lock file, its table of links, its wish for git.

dvc.lock says what was made here and from what, so it differs on every machine, and DVC refuses one that git ignores. In
git it is a stub that never changes, and git is told to overlook what DVC writes into it. `dvc exp run` resets the file
to the stub, and takes outputs that the graph has no longer out of the tree; both are prevented here. Whoever commits a
lock file of their own is left alone. Consumes a repository's root; produces nothing else.
"""

from __future__ import annotations

from pathlib import Path

from stages.files import git

LOCK = "dvc.lock"
WITHOUT_GIT = "no_scm"  # as DVC calls it
COPY = Path(".dvc/tmp/pocketxl") / LOCK


def settle_git(root: Path) -> None:
    """Let DVC do without git where there is no repository, as in a ZIP of the project: it refuses otherwise.

    Stands in .dvc/config.local, so that `dvc repro` by hand works too, and is taken back when a repository is there.
    """
    there = any((folder / ".git").exists() for folder in (root.resolve(), *root.resolve().parents))
    local = root / ".dvc/config.local"
    if there and not (local.is_file() and WITHOUT_GIT in local.read_text(encoding="utf-8")):
        return
    from dvc.config import Config

    with Config(str(root / ".dvc")).edit("local") as found:
        core = found.setdefault("core", {})
        core.pop(WITHOUT_GIT, None)
        core |= {} if there else {WITHOUT_GIT: True}


def overlook_lock(root: Path) -> None:
    """Let `git status`, `git pull` and `git commit -a` pass over dvc.lock, where git holds the stub."""
    if _is_ours(root):
        git.answer("update-index", "--skip-worktree", LOCK, root=root)


def save_lock(root: Path) -> None:
    """Put a copy of dvc.lock aside; or, where a reset has left the stub, put the copy in its place."""
    lock, copy = root / LOCK, root / COPY
    if not _is_ours(root):
        return
    if not is_stub(lock):
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(lock.read_bytes())
    elif not is_stub(copy):
        lock.write_bytes(copy.read_bytes())


def keep_outputs(root: Path) -> None:
    """Let DVC forget which outputs it has linked, so that none is removed because another model or scheme is selected.

    DVC 3.67 removes them on a checkout without targets (dvc/repo/checkout.py), and `dvc exp run` begins with one.
    """
    from dvc.repo import Repo

    with Repo(str(root)) as repo:
        links = getattr(repo.state, "links", None)
        if links is not None:
            links.clear()


def is_stub(lock: Path) -> bool:
    """Whether a lock file holds no stage, or is not there."""
    return not lock.is_file() or _holds_none(lock.read_text(encoding="utf-8"))


def _is_ours(root: Path) -> bool:
    committed = git.answer("show", f"HEAD:{LOCK}", root=root)
    return committed is not None and _holds_none(committed)


def _holds_none(text: str) -> bool:
    return not any(line.startswith("stages:") for line in text.splitlines())
