"""Where a checkpoint came from, as manifests and model cards tell it: repositories at their commits, files by SHA-256.

Consumes a source, the record of revisions and the hashes of what was taken; produces facts, a dictionary for each part
with a source of its own. Holds no path of this machine: of a folder elsewhere than in the project, its name alone.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from stages.checkpoints import hub

if TYPE_CHECKING:
    from stages.settings.schema import AdapterSource, Source, SwapSource, TinyVae


def described(source: Source, record: Path, taken: dict[str, str]) -> list[dict[str, Any]]:
    """`[{"part": "pipeline", "kind": "hub", "name": "segmind/Segmind-Vega", "commit": ...}, {"part": "adapter", ...}]`.

    `record` is the file of revisions, `taken` the SHA-256 of every file by repository and name.
    """
    parts = [("pipeline", source), ("tokenizers", source.tokenizers), ("unet", source.unet), ("vae", source.vae)]
    parts += [("adapter", adapter) for adapter in source.adapters]
    return [one(part, given, record, taken) for part, given in parts if given is not None]


def one(
    part: str, given: Source | SwapSource | AdapterSource | TinyVae, record: Path, taken: dict[str, str]
) -> dict[str, Any]:
    """The facts of one source; what does not apply is left out."""
    if given.kind == "synthetic":
        return {"part": part, "kind": "synthetic", "name": getattr(given, "architecture", None) or given.title}
    kind, name, commit = _named(given, record)
    file = getattr(given, "file", None)
    found = {"part": part, "kind": kind, "name": name, "commit": commit, "subfolder": getattr(given, "subfolder", None)}
    found |= {"file": PurePath(file).name if file and kind == "local" else file}
    found |= {"sha256": taken.get(f"{given.repo}/{file}"), "scale": getattr(given, "scale", None)}
    return {key: value for key, value in found.items() if value is not None}


def _named(given: Any, record: Path) -> tuple[str, str, str | None]:
    """Kind, name and commit; a snapshot in a Hub cache is what its folders are called."""
    if given.kind == "hub":
        return "hub", given.repo, hub.commit(given.repo, given.revision, record)
    path = Path(given.repo)
    if path.parent.name == "snapshots" and path.parent.parent.name.startswith("models--"):
        return "hub", path.parent.parent.name.removeprefix("models--").replace("--", "/"), path.name
    inside = not path.is_absolute() and ".." not in path.parts
    return "local", path.as_posix() if inside else path.resolve().name, None
