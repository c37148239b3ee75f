"""When something was measured, by which commit of this project, and where that can be found.

Consumes the clock and git, where the working directory is a checkout; produces what a record keeps as `measured`.
"""

from __future__ import annotations

import datetime
from typing import Any
from urllib.parse import urlsplit

from stages.files import git


def measured() -> dict[str, Any]:
    """`{"date": "2026-11-26", "commit": "dfcc46e", "project": "https://…"}`; None for what is not known.

    A commit whose tracked files were changed since says so. The day is UTC's.
    """
    commit = _asked("rev-parse", "--short=7", "HEAD")
    if commit and _asked("status", "--porcelain", "--untracked-files=no"):
        commit += " with changes"
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": today, "commit": commit, "project": page(_asked("remote", "get-url", "origin") or "")}


def page(remote: str) -> str | None:
    """The page of a remote that has one, without names and passwords: `https://host/owner/name`."""
    parts = urlsplit(remote)
    if parts.scheme != "https" or not parts.hostname:
        return None
    port = f":{parts.port}" if parts.port else ""
    return f"https://{parts.hostname}{port}{parts.path.removesuffix('.git')}"


def _asked(*arguments: str) -> str | None:
    return (git.answer(*arguments, limit_s=30) or "").strip() or None
