"""The manifest of a folder: SHA-256 and size of every file, tool versions, and a key made of the inputs and settings.

Consumes a folder that a stage has filled; produces `manifest.json`, its last file, and checks the others against it
later. No timestamps: equal inputs give equal bytes. Does not know what the files mean.
"""

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path

from stages.files import placing, records, shape
from stages.files.names import safe_name as safe_name
from stages.files.remedy import remedy

NAME = "manifest.json"
HASHERS = 4
SHARED_BYTES = 100_000  # smaller files are not worth a link
ORIGIN = ("model", "title", "licence", "sources", "random_weights")  # facts of weights, whatever is made of them
TOOLS = ("diffusers", "nncf", "openvino", "openvino-tokenizers", "optimum-intel", "torch", "transformers")


def write(
    folder: Path,
    *,
    stage: str,
    inputs: dict[str, str],
    settings: dict,
    facts: dict | None = None,
    beside: Iterable[Path] = (),
) -> dict:
    """Describe `folder` in its `manifest.json`: `inputs` are digests by name, `facts` whatever readers should know.

    Large files that folders `beside` it hold too, by their manifests, become hard links to those.
    """
    files = _described(folder, _names(folder))
    _share(folder, files, beside)
    manifest = {
        "stage": stage,
        "key": key(stage, inputs, settings),
        "inputs": inputs,
        "settings": settings,
        "facts": facts or {},
        "tools": tools(),
        "files": files,
    }
    manifest["seal"] = seal(manifest)
    (folder / NAME).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n")
    return manifest


def _share(folder: Path, files: dict[str, dict], beside: Iterable[Path]) -> None:
    """Let equal files stand once on the disk: text encoders and VAEs are the same in several models."""
    known = {entry["sha256"]: path for other in beside for path, entry in _large_files(other)}
    for name, entry in files.items():
        twin = known.get(entry["sha256"])
        if twin is None or entry["size"] < SHARED_BYTES or not twin.is_file() or sha256(twin) != entry["sha256"]:
            continue
        placing.share(twin, folder / name)


def _large_files(folder: Path) -> list[tuple[Path, dict]]:
    try:
        files = read(folder, rerun="")["files"]
    except (OSError, ValueError):  # no whole folder: nothing to share
        return []
    return [(folder / name, entry) for name, entry in files.items() if entry["size"] >= SHARED_BYTES]


def read(folder: Path, *, rerun: str) -> dict:
    """The manifest, its shape checked; what it does not say is an error that names the file, and not a KeyError."""
    path = folder / NAME
    manifest = records.read(path, rerun, object)
    if flaw := shape.flaw(manifest):
        raise ValueError(f"{path} is not a manifest, {flaw}: {remedy(path, rerun)}")
    if "seal" in manifest and manifest["seal"] != seal(manifest):  # older ones have none
        raise ValueError(f"{path} is not as it was written: {remedy(path, rerun)}")
    return shape.said(manifest, path, rerun)


def read_whole(folder: Path, *, rerun: str) -> dict:
    """The manifest of a folder whose files are all there, each of its size; contents unread, as hashing takes time."""
    manifest = read(folder, rerun=rerun)
    for name, expected in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {remedy(path, rerun)}")
        if size(path) != expected["size"]:
            raise ValueError(f"{path} has {size(path)} bytes instead of {expected['size']}: {remedy(path, rerun)}")
    return manifest


def is_whole(folder: Path, **said: object) -> bool:
    """Whether a folder is what its manifest says, and that says this, such as `key=...`: else it is made anew."""
    try:
        found = verify(folder, rerun="")
    except (ValueError, FileNotFoundError):
        return False
    return all(found.get(name) == value for name, value in said.items())


def verify(folder: Path, *, rerun: str) -> dict:
    """Compare every file's size and SHA-256 with the manifest and return it; `rerun` is the DVC target to name."""
    manifest = read_whole(folder, rerun=rerun)
    for name, found in _described(folder, list(manifest["files"])).items():
        if found["sha256"] != manifest["files"][name]["sha256"]:
            cure = remedy(folder / name, rerun)
            raise ValueError(f"{folder / name} has other contents than its manifest says: {cure}")
    return manifest


def origin(manifest: dict) -> dict:
    """What every later manifest carries along, as far as it is known: see ORIGIN."""
    return {name: manifest["facts"][name] for name in ORIGIN if name in manifest["facts"]}


def has_random_weights(manifest: dict) -> bool:
    return bool(manifest["facts"].get("random_weights"))


def require_publishable(folder: Path, *, rerun: str) -> None:
    """Refuse to hand on what has random weights; for whatever publishes a folder."""
    if has_random_weights(read(folder, rerun=rerun)):
        raise ValueError(f"{folder} has random weights, for planning alone: it is not to be published")


def digest(folder: Path) -> str:
    """SHA-256 of the folder's manifest: what a later stage records as its input."""
    path = folder / NAME
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: the stage that writes {folder} has not finished")
    return sha256(path)


def code(room: Path) -> str:
    """SHA-256 of the Python files in a folder, names included: an input where other code would make other results."""
    files = sorted(room.rglob("*.py"))
    return hashlib.sha256("".join(f"{path.relative_to(room)} {sha256(path)}\n" for path in files).encode()).hexdigest()


def seal(manifest: dict) -> str:
    """A hash of all that a manifest says, so that it does not pass when a bit of it has turned. No signature."""
    said = {name: part for name, part in manifest.items() if name != "seal"}
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def key(stage: str, inputs: dict[str, str], settings: dict) -> str:
    """A hash that changes whenever the stage would have to be run again for its inputs or settings."""
    text = json.dumps([stage, inputs, settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: Path) -> int:
    return path.stat().st_size


def _described(folder: Path, names: list[str]) -> dict[str, dict]:
    """Hash and size of every file; a large one and small ones side by side, as hashing keeps one core busy."""
    with ThreadPoolExecutor(HASHERS) as pool:
        hashes = pool.map(sha256, [folder / name for name in names])
        return {
            name: {"sha256": digest, "size": size(folder / name)} for name, digest in zip(names, hashes, strict=True)
        }


def _names(folder: Path) -> list[str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(name for path in files if (name := path.relative_to(folder).as_posix()) != NAME)


def tools() -> dict[str, str | None]:
    """What a manifest written here and now says of the tools that made its files."""
    return {tool: version(tool) for tool in TOOLS}


def version(tool: str) -> str | None:
    """The installed release of a package, None where it is not installed."""
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return None
