"""Files of one Hub repository at one commit, every byte of them verified.

Consumes a repository name and a revision; produces local paths of wanted files in the Hub cache. What `main` meant
and the hash of every file are kept in a record, so that later runs use the same commit and work offline.
HF_ENDPOINT and HF_HUB_OFFLINE are honoured by huggingface_hub itself. Knows nothing of pipelines.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from stages.files import disk, manifest, placing

COMMIT = re.compile(r"[0-9a-f]{40}")


def fetch(repo: str, revision: str | None, record: Path, select: Callable[[list[str]], list[str]]) -> dict[str, Path]:
    """Names and paths of the files that `select` picks from the repository's listing.

    `record` is a JSON file: {repo: {revision: {"commit": ..., "files": {name: {"size", "sha256" or "git"}}}}}.
    """
    entry = _resolve(repo, revision or "main", record)
    names = select(sorted(entry["files"]))
    absent = [name for name in names if not _is_cached(repo, entry["commit"], name)]
    disk.require_space(_cache(), sum(entry["files"][name]["size"] for name in absent))
    return {name: _download(repo, entry["commit"], name, entry["files"][name]) for name in names}


def cached_bytes(repos: Iterable[str]) -> int:
    """Bytes that the Hub cache holds of these repositories, what was begun included."""
    from huggingface_hub.file_download import repo_folder_name

    folders = {_cache() / repo_folder_name(repo_id=repo, repo_type="model") for repo in repos}
    return sum(path.stat().st_size for folder in folders for path in (folder / "blobs").glob("*"))


def _is_cached(repo: str, commit: str, name: str) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repo, name, revision=commit), str)


def _cache() -> Path:
    """The Hub cache; files are hard links to it where it is on the same disk as the project."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def _resolve(repo: str, revision: str, record: Path) -> dict:
    """The commit and the files that a revision means: from the record, else asked once and recorded."""
    known = json.loads(record.read_text()) if record.is_file() else {}
    if revision not in known.get(repo, {}):
        known.setdefault(repo, {})[revision] = _ask(repo, revision)
        placing.write_text(record, json.dumps(known, indent=1, sort_keys=True) + "\n")
    entry = known[repo][revision]
    for name in entry["files"]:
        manifest.safe_name(name)
    return entry


def _ask(repo: str, revision: str) -> dict:
    import httpx
    from huggingface_hub import HfApi, constants, errors

    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    except errors.RepositoryNotFoundError as error:
        raise ValueError(f"{repo} is not a repository on {constants.ENDPOINT}, or it is private") from error
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repo} has no revision {revision!r}: name a commit, or main") from error
    except (httpx.TransportError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError) as error:
        raise ValueError(
            f"{constants.ENDPOINT} cannot be asked about {repo}@{revision}: {_first_line(error)}"
        ) from error
    if not COMMIT.fullmatch(info.sha or "") or (COMMIT.fullmatch(revision) and info.sha != revision):
        raise ValueError(f"{repo}@{revision}: {constants.ENDPOINT} answers with commit {info.sha!r}")
    return {"commit": info.sha, "files": {file.rfilename: _facts(file) for file in info.siblings}}


def _facts(sibling: object) -> dict:
    """Size and hash: SHA-256 of a large file, git's blob hash of a small one."""
    if sibling.lfs is not None:
        return {"size": sibling.lfs.size, "sha256": sibling.lfs.sha256}
    return {"size": sibling.size, "git": sibling.blob_id}


def _download(repo: str, commit: str, name: str, facts: dict) -> Path:
    """One verified file in the Hub cache; a wrong one is thrown away, so that the next run fetches it again."""
    import httpx
    from huggingface_hub import errors, hf_hub_download

    manifest.safe_name(name)
    try:
        path = Path(hf_hub_download(repo, name, revision=commit))
    except errors.LocalEntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repo}@{commit[:7]}: {name} is not in the cache and the Hub cannot be reached; run again online"
        ) from error
    except (httpx.TransportError, errors.HfHubHTTPError, OSError) as error:
        raise ValueError(f"{repo}@{commit[:7]}: {name} was not fetched: {_first_line(error)}; run again") from error
    fault = _fault(path, facts)
    if fault:
        path.resolve().unlink()
        path.unlink(missing_ok=True)
        raise ValueError(f"{repo}@{commit[:7]}: {name} {fault}; it was removed, run again")
    return path


def _fault(path: Path, facts: dict) -> str | None:
    if manifest.size(path) != facts["size"]:
        return f"has {manifest.size(path)} bytes instead of {facts['size']}"
    if "sha256" in facts and manifest.sha256(path) != facts["sha256"]:
        return f"has not the SHA-256 that the Hub states ({facts['sha256'][:12]}…)"
    if "git" in facts and _git_hash(path) != facts["git"]:
        return f"has not the hash that the Hub states ({facts['git'][:12]}…)"
    return None


def _git_hash(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
