"""Room on the disk: asked for before gigabytes are written.

Consumes the place of what is to be written; produces bytes, or an error that says how many are lacking.
"""

import shutil
from pathlib import Path


def require_space(target: Path, needed: int) -> None:
    """Refuse to start what would fill the disk: `needed` bytes beside `target`."""
    free = free_bytes(target)
    if free < needed:
        free_there = f"{free / 1e9:.2f} GB are free there"
        raise ValueError(f"{target} needs {needed / 1e9:.2f} GB of disk, {free_there}: make room first")


def free_bytes(target: Path) -> int:
    """Room on the disk that `target` is on, or will be."""
    parent = next(folder for folder in target.absolute().parents if folder.is_dir())
    return shutil.disk_usage(parent).free
