"""Files of one Hub repository at one commit, every byte of them verified.

Consumes a repository name and a revision; produces local paths of wanted files in the Hub cache. What `main` meant
and the hash of every file are kept in a record, so that later runs use the same commit and work offline. Without a
record and without the Hub, the cache itself says what it holds. HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE are honoured
by huggingface_hub itself. Knows nothing of pipelines.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import asking, hubcache
from stages.checkpoints.hubcache import cached_bytes as cached_bytes
from stages.endings import causes
from stages.files import disk, manifest, placing


class Missing(FileNotFoundError):
    """The cache lacks files, and the Hub does not give them."""


@dataclass(frozen=True)
class Tree:
    """A commit's files; `unasked` is why the cache alone says what they are, where the Hub could not, and `recorded`
    whether the record says it."""

    repo: str
    commit: str
    files: dict[str, dict[str, Any]]
    record: Path
    unasked: ValueError | None = None
    recorded: bool = False

    def __str__(self) -> str:
        return f"{self.repo}@{self.commit[:7]}"


def fetch(repo: str, revision: str | None, record: Path, select: Callable[[list[str]], list[str]]) -> dict[str, Path]:
    """Names and paths of the files that `select` picks from the repository's listing.

    `record` is a JSON file: {repo: {revision: {"commit": ..., "files": {name: {"size", "sha256" or "git"}}}}}. An entry
    that has "partial" besides came from the cache, knows the files of that run alone, and is completed by the Hub.
    """
    tree = _resolve(repo, revision or "main", record)
    names = _selected(tree, select)
    absent = [name for name in names if not hubcache.holds(repo, tree.commit, name)]
    hubcache.sweep(repo)
    disk.require_space(hubcache.folder(), sum(tree.files[name]["size"] for name in absent))
    paths = {name: _download(tree, name, absent) for name in names}
    if tree.unasked:
        print(f"{tree}: taken from the cache, as far as it is there ({tree.unasked})", file=sys.stderr)
        _keep_partial(tree, revision or "main", names)
    return paths


def commit(repo: str, revision: str | None, record: Path) -> str | None:
    """The commit that a revision stood for when its files were fetched; None where nothing is recorded of it."""
    return (_recorded(record, repo, revision or "main") or {}).get("commit")


def _resolve(repo: str, revision: str, record: Path) -> Tree:
    """The commit and the files that a revision means: from the record, else asked once and recorded; from the cache
    where the Hub does not answer, or is asked in vain about a commit, which means the same for ever."""
    known = _recorded(record, repo, revision)
    if known and "partial" not in known:
        return Tree(repo, known["commit"], known["files"], record, recorded=revision != known["commit"])
    wanted = known["commit"] if known else revision
    try:
        entry = asking.ask(repo, wanted)
    except ValueError as error:
        return _cached(repo, wanted, record, known, error)
    _keep(record, repo, revision, entry)
    return Tree(repo, entry["commit"], entry["files"], record)


def _cached(repo: str, wanted: str, record: Path, known: dict[str, Any] | None, error: ValueError) -> Tree:
    unreachable = isinstance(error, asking.Unreachable)
    cached = hubcache.entry(repo, wanted) if unreachable or asking.COMMIT.fullmatch(wanted) else None
    if cached:
        files = cached["files"] | (known["files"] if known else {})
        return Tree(repo, cached["commit"], files, record, unasked=error)
    if unreachable:
        raise ValueError(f"{error}; and the cache holds nothing of {repo}@{wanted}") from error
    raise error


def _recorded(record: Path, repo: str, revision: str) -> dict[str, Any] | None:
    """What is recorded of a revision; of a commit also what is recorded of a branch that stood at it."""
    entries = _read(record).get(repo, {})
    entry = entries.get(revision) or next(
        (one for one in entries.values() if one.get("commit") == revision and "partial" not in one), None
    )
    if entry is None:
        return None
    files = entry.get("files")
    if not isinstance(files, dict) or not all(map(asking.is_verifiable, files.values())) or "commit" not in entry:
        raise ValueError(f"{record}: what it says of {repo}@{revision} is not whole; {_forget(record, repo)}")
    for name in files:
        if not _is_safe(name):
            raise ValueError(f"{record}: {repo}@{revision} has a file named {name!r}; {_forget(record, repo)}")
    return entry


def _is_safe(name: str) -> bool:
    try:
        return manifest.safe_name(name) == name
    except ValueError:
        return False


def _read(record: Path) -> dict[str, dict[str, dict]]:
    try:
        found = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{record} is not valid JSON ({error}): {_restore(record)}") from error
    for repo, entries in found.items() if isinstance(found, dict) else [("", None)]:
        if not isinstance(entries, dict) or not all(isinstance(entry, dict) for entry in entries.values()):
            raise ValueError(f"{record} is no record of revisions{f' at {repo!r}' if repo else ''}: {_restore(record)}")
    return found


def _keep(record: Path, repo: str, revision: str, entry: dict[str, Any]) -> None:
    known = _read(record)
    known.setdefault(repo, {})[revision] = entry
    placing.write_text(record, json.dumps(known, indent=1, sort_keys=True) + "\n")


def _keep_partial(tree: Tree, revision: str, names: list[str]) -> None:
    """Only files that were verified; those of an earlier run, or of another part of the same repository, stay."""
    earlier = (_recorded(tree.record, tree.repo, revision) or {}).get("files", {})
    files = earlier | {name: tree.files[name] for name in names}
    _keep(tree.record, tree.repo, revision, {"commit": tree.commit, "files": files, "partial": True})


def _restore(record: Path) -> str:
    return f"restore it ('git checkout {record}' where it is committed), or remove it and run again"


def _forget(record: Path, repo: str) -> str:
    return f"remove {repo} from {record} (or the file) and run again online"


def _selected(tree: Tree, select: Callable[[list[str]], list[str]]) -> list[str]:
    try:
        return select(sorted(tree.files))
    except (ValueError, FileNotFoundError) as error:
        if tree.unasked is not None:
            raise ValueError(f"{tree.unasked}; and the cache holds too little of {tree}: {error}") from error
        if not tree.recorded:
            raise
        mended = (
            f"as {tree.record} says of {tree}; if the repository was mended since, {_forget(tree.record, tree.repo)}"
        )
        raise type(error)(f"{error} ({mended})") from error


def _download(tree: Tree, name: str, absent: list[str]) -> Path:
    """One verified file in the Hub cache; `absent`: all that are to be fetched, for whom none can be."""
    path, facts = _fetched(tree, manifest.safe_name(name), absent), tree.files[name]
    if fault := _fault(path, facts):
        raise ValueError(f"{tree}: {name} {fault}{_judged(tree, path)}")
    return path


def _fetched(tree: Tree, name: str, absent: list[str]) -> Path:
    import httpx
    from huggingface_hub import errors, hf_hub_download

    cache_only = tree.unasked is not None
    try:
        return Path(hf_hub_download(tree.repo, name, revision=tree.commit, local_files_only=cache_only))
    except errors.LocalEntryNotFoundError as error:
        if told := asking.refusal(tree.repo, error.__cause__):
            raise ValueError(told) from error
        raise Missing(f"{tree}: {_lacking(tree, name, absent, error)}; run again online") from error
    except (httpx.HTTPError, OSError, UnicodeEncodeError) as error:
        if told := asking.refusal(tree.repo, error):
            raise ValueError(told) from error
        if causes.of_disk(error):
            error.add_note(f"{name} of {tree} was being fetched")
            raise
        raise ValueError(f"{tree}: {name} was not fetched: {asking.first_line(error)}; run again") from error


def _lacking(tree: Tree, name: str, absent: list[str], error: Exception) -> str:
    """The file that the Hub does not give; where nobody answers, all files that are lacking."""
    from huggingface_hub import errors

    cause = error.__cause__
    if isinstance(cause, errors.HfHubHTTPError | errors.FileMetadataError):
        return f"{name} is not in the cache and {asking.endpoint()} does not give it ({asking.first_line(cause)})"
    names = [one for one in absent if not hubcache.holds(tree.repo, tree.commit, one)] or [name]
    verb = "is" if len(names) == 1 else "are"
    return f"{', '.join(names)} {verb} not in the cache and {tree.unasked or 'the Hub cannot be reached'}"


def _fault(path: Path, facts: dict[str, Any]) -> str | None:
    if manifest.size(path) != facts["size"]:
        return f"has {manifest.size(path)} bytes instead of {facts['size']}"
    if "sha256" in facts:
        wrong = manifest.sha256(path) != facts["sha256"]
        return f"has not the SHA-256 that the Hub states ({facts['sha256'][:12]}…)" if wrong else None
    if "git" in facts:
        wrong = hubcache.git_hash(path) != facts["git"]
        return f"has not the hash that the Hub states ({facts['git'][:12]}…)" if wrong else None
    return "has no hash to be verified by"


def _judged(tree: Tree, path: Path) -> str:
    """Who is wrong, the file or the record, and what is to be done. Only a file that belies its own name is removed."""
    sound = hubcache.is_sound(path)
    if sound is None and tree.unasked:
        return ", so that only the Hub could tell whether it is whole: run again online"
    if sound is None:
        return f", and its name in the cache does not tell whether it is whole: remove {path} and run again"
    if sound:
        return f", but it is what its name in the cache says and was kept: {_forget(tree.record, tree.repo)}"
    return "; it was removed, run again" if hubcache.remove_blob(path) else f": remove {path.resolve()} and run again"
