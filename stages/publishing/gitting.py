"""What publishing asks of git: who commits, a commit of named files and nothing else, what has changed since a tag.

Consumes a repository's root; produces git's answers, or an error with its last line. Pushes nothing.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from stages.files.git import answer

ROOT = Path(".")
BUSY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply")


def reasons() -> list[str]:
    """What keeps a commit from being made here."""
    if (answer("rev-parse", "--show-prefix") or "-").strip():
        return ["this is not the root of a git repository: DVC's registry lives in git; run it there"]
    if answer("rev-parse", "--verify", "--quiet", "HEAD") is None:
        return ["this git repository has no commit yet: make one first"]
    said = []
    if any(answer("var", f"GIT_{who}_IDENT") is None for who in ("AUTHOR", "COMMITTER")):
        said += ["git does not know who you are: git config user.name and user.email"]
    if busy := [name for name in BUSY if Path(git("rev-parse", "--git-path", name)).exists()]:
        said += [f"git is in the middle of something ({busy[0]}): finish it, or call it off"]
    return said


def commit_alone(paths: list[Path], message: str) -> str:
    """The commit that holds these files as they are now; what else is changed or staged stays as it is."""
    names = [str(path) for path in paths]
    git("add", "--", *names)
    if git("status", "--porcelain", "--", *names):
        git("commit", "--quiet", "--only", "--message", message, "--", *names)
    return git("rev-parse", "HEAD")


def is_as_at(revision: str, paths: list[Path]) -> bool:
    """Whether these files are what they were at a commit, in the working tree."""
    return answer("diff", "--quiet", revision, "--", *map(str, paths)) is not None


def git(*arguments: str) -> str:
    """What git prints; ValueError with its last line where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ValueError("git is not installed: DVC's registry lives in it") from None
    if done.returncode == 0:
        return done.stdout.strip()
    said = (done.stderr or done.stdout).strip().splitlines()
    raise ValueError(f"git {arguments[0]} failed: {said[-1] if said else done.returncode}")
