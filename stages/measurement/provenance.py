"""When something was measured, by which commit of this project, and where that can be found.

Consumes the clock and git, where the working directory is a checkout; produces what a record keeps as `measured`.
"""

from __future__ import annotations

import datetime
import subprocess
from typing import Any
from urllib.parse import urlsplit


def measured() -> dict[str, Any]:
    """`{"date": "2026-11-26", "commit": "dfcc46e", "project": "https://…"}`; None for what is not known.

    A commit whose tracked files were changed since says so. The day is UTC's.
    """
    commit = _git("rev-parse", "--short=7", "HEAD")
    if commit and _git("status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "commit": commit, "project": page(_git("remote", "get-url", "origin") or "")}


def page(remote: str) -> str | None:
    """The page of a remote that has one, without names and passwords: `https://host/owner/name`."""
    parts = urlsplit(remote)
    if parts.scheme != "https" or not parts.hostname:
        return None
    port = f":{parts.port}" if parts.port else ""
    return f"https://{parts.hostname}{port}{parts.path.removesuffix('.git')}"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
