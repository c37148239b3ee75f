"""The quickest way back to what is missing or damaged: out of DVC's cache where that is sound, else by its stage.

Consumes a path and the stage that makes it; produces the words for an error message. DVC trusts its cache and what it
has linked from it, whatever became of the bytes: `dvc repro` finds nothing changed or links the damaged file again, and
`dvc checkout` brings it back. So the cache's files are held to the hashes that they are named by before it is named.
"""

from __future__ import annotations

import configparser
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any

DVC = Path(".dvc")
CACHE = DVC / "cache/files/md5"


def remedy(path: Path, rerun: str) -> str:
    """`run 'dvc repro export@vega'`, or, of what was made here before, what brings it back as it was.

    `run 'dvc checkout --relink -f artifacts/ir/vega/fp16'` where the cache is sound; `run 'rm -f .dvc/cache/... && dvc
    repro -f -s export@vega'` where it is not. Reads all that the cache has of the output. What no stage makes is made
    by a command, `python -m stages.schemes vega`; "" is asked by who does not want to know.
    """
    if not rerun or rerun.startswith("python "):
        return f"run '{rerun}'"
    stage, made = _maker(path)
    if made is None:
        return f"run 'dvc repro {rerun}'"
    objects = _objects(made.get("md5", ""))
    damaged = [file for file, md5 in objects.items() if file.is_file() and _md5(file) != md5]
    if objects and not damaged and all(file.is_file() for file in objects):
        return f"run 'dvc checkout --relink -f {made['path']}'"
    if not damaged and not path.exists():
        return f"run 'dvc repro {rerun}'"
    alone = " -s" if all(Path(one["path"]).exists() for one in stage.get("deps", [])) else ""
    removed = f"rm -f {shlex.join(map(str, damaged))} && " if damaged else ""
    return f"run '{removed}dvc repro -f{alone} {rerun}'"


def cache() -> Path:
    """Where DVC keeps files by their hashes: in .dvc/cache, or where `dvc cache dir` has put it."""
    for name in ("config.local", "config"):
        parser = configparser.ConfigParser(interpolation=None)
        try:
            parser.read(DVC / name, encoding="utf-8")
            return DVC / parser["cache"]["dir"] / "files/md5"
        except (KeyError, configparser.Error, UnicodeDecodeError):
            continue
    return CACHE


def _objects(md5: str) -> dict[Path, str]:
    """Files of the cache that an output is made of, with their hashes; of a folder its listing too."""
    if not md5:
        return {}
    listing = cache() / md5[:2] / md5[2:]
    found = {listing: md5.removesuffix(".dir")}
    if md5.endswith(".dir") and listing.is_file() and _md5(listing) == found[listing]:
        for entry in json.loads(listing.read_text(encoding="utf-8")):
            found[cache() / entry["md5"][:2] / entry["md5"][2:]] = entry["md5"]
    return found


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _maker(path: Path) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """The stage that made a path and the output that it lies in, as dvc.lock of the working directory names them."""
    import yaml

    try:
        stages = (yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8")) or {}).get("stages") or {}
    except (OSError, ValueError, yaml.YAMLError):
        return {}, None
    pairs = [(stage, out) for stage in stages.values() for out in stage.get("outs", [])]
    return next(((stage, out) for stage, out in pairs if Path(out["path"]) in (path, *path.parents)), ({}, None))
