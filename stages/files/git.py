"""What git says of the working tree, where there is git and a repository.

Consumes a question's arguments; produces what git prints. Whoever needs the reason why it fails asks git himself.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def answer(*arguments: str, root: Path = Path("."), limit_s: float | None = None) -> str | None:
    """What git prints; None where it is absent, refuses, takes longer, or this is no repository."""
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, encoding="utf-8", timeout=limit_s)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
