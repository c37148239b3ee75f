"""What the Hub says of a repository: the commit that a revision means, and every file's size and hash.

Consumes a repository's name and a revision; produces an entry of the record, or one line that says what stands in the
way and what to do about it. An answer that leaves a file unverifiable is refused. Fetches no file, prints no token.
"""

from __future__ import annotations

import json
import re
from typing import Any

from stages.files import manifest

COMMIT = re.compile(r"[0-9a-f]{40}")
HASHES = {"sha256": re.compile(r"[0-9a-f]{64}"), "git": COMMIT}
LOG_IN = "set HF_TOKEN (or run `hf auth login`)"


class Unreachable(ValueError):
    """The Hub did not answer, so that the cache may answer in its place."""


def ask(repo: str, revision: str) -> dict[str, Any]:
    """{"commit": ..., "files": {name: {"size", "sha256" or "git"}}} of all files, whatever is wanted of them."""
    import httpx
    from huggingface_hub import HfApi, errors

    about = f"{repo}@{revision}"
    try:
        info = HfApi().model_info(repo, revision=revision, files_metadata=True)
    except errors.RevisionNotFoundError as error:
        raise ValueError(f"{repo} has no revision {revision!r}: name a commit, or main") from error
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{endpoint()} answers about {about} as no Hub does: is a proxy in between?") from error
    except (httpx.HTTPError, errors.OfflineModeIsEnabled, UnicodeEncodeError) as error:
        if told := refusal(repo, error):
            raise ValueError(told) from error
        raise Unreachable(f"{endpoint()} cannot be asked about {about}: {first_line(error)}") from error
    if not COMMIT.fullmatch(info.sha or "") or (COMMIT.fullmatch(revision) and info.sha != revision):
        raise ValueError(f"{about}: {endpoint()} answers with commit {info.sha!r}")
    if not info.siblings:
        raise ValueError(f"{endpoint()} lists no files of {about}: there is nothing to fetch")
    return {"commit": info.sha, "files": {file.rfilename: _facts(repo, file) for file in info.siblings}}


def refusal(repo: str, error: BaseException | None) -> str | None:
    """What to do where the Hub has answered and says no; None where asking again may help."""
    import httpx
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return f"{repo} is gated: accept its terms at {endpoint()}/{repo} and {LOG_IN}"
    if isinstance(error, errors.RepositoryNotFoundError):
        return f"{repo} is not a repository on {endpoint()}, or it is private: then {LOG_IN}"
    if isinstance(error, errors.DisabledRepoError):
        return f"{repo} is disabled on {endpoint()}: name another repository"
    if isinstance(error, UnicodeEncodeError | httpx.LocalProtocolError):  # their messages hold the token itself
        return f"the Hub token holds characters that no token has: {LOG_IN} anew"
    if status == 401:
        return _unauthorized(repo)
    if status == 403:
        return f"{endpoint()} forbids access to {repo}: {LOG_IN} with a token that may read it"
    return None


def is_verifiable(facts: Any) -> bool:
    """Whether size and hash of a file are known, the hash in the form that git or LFS gives it."""
    size = facts.get("size") if isinstance(facts, dict) else None
    if type(size) is not int or size < 0:
        return False
    return any(isinstance(facts.get(kind), str) and form.fullmatch(facts[kind]) for kind, form in HASHES.items())


def endpoint() -> str:
    """HF_ENDPOINT as it may be printed: without user and password."""
    from huggingface_hub import constants

    return re.sub(r"//[^/@]*@", "//", constants.ENDPOINT)


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__


def _unauthorized(repo: str) -> str:
    from huggingface_hub import get_token

    if get_token():
        return f"{endpoint()} does not accept the Hub token: {LOG_IN} anew, or take it away where {repo} is public"
    return f"{endpoint()} does not give {repo} without a token: {LOG_IN}"


def _facts(repo: str, sibling: Any) -> dict[str, Any]:
    """Size and hash: SHA-256 of a large file, git's blob hash of a small one."""
    name, lfs = manifest.safe_name(sibling.rfilename), sibling.lfs
    facts = {"size": lfs.size, "sha256": lfs.sha256} if lfs else {"size": sibling.size, "git": sibling.blob_id}
    if not is_verifiable(facts):
        raise ValueError(
            f"{endpoint()} lists {name} of {repo} without its size and hash, so that it could not be verified: "
            "set HF_ENDPOINT to a Hub or a mirror that gives them"
        )
    return facts
