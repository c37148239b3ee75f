"""The way to a repository of the Hub: one commit that makes it hold the folder and nothing else.

Consumes a staged folder and OWNER/NAME; produces a private repository, unless asked, and the commit. What publish put
there before is replaced; what anybody else did there is not, unless asked. Asks nobody before it is told to publish.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import asking, hubcache
from stages.checkpoints.asking import LOG_IN
from stages.files import manifest, records, shape
from stages.publishing import answers, sending, shown
from stages.publishing.chosen import Chosen
from stages.publishing.refusals import listed
from stages.publishing.staging import STAGE

GITS_OWN = ".gitattributes"  # the Hub puts it into every repository


@dataclass(frozen=True)
class Way:
    """`Way("me/vega-int8").publish(chosen, folder)`"""

    repository: str
    public: bool = False
    replace: bool = False

    def __post_init__(self) -> None:
        from huggingface_hub.utils import HFValidationError, validate_repo_id

        owner, slash, _ = self.repository.partition("/")
        try:
            validate_repo_id(self.repository)
        except HFValidationError as error:
            raise ValueError(f"--to hub:{self.repository} is no name of a repository: {error}") from error
        if not slash or not owner:
            raise ValueError(
                f"--to hub:{self.repository} lacks the owner: hub:OWNER/NAME, for instance hub:me/vega-int8"
            )

    @property
    def visibility(self) -> str:
        return "public" if self.public else "private"

    @property
    def address(self) -> str:
        return f"{asking.endpoint()}/{self.repository}"

    def reasons(self) -> list[str]:
        from huggingface_hub import constants, get_token

        if constants.HF_HUB_OFFLINE:
            return ["HF_HUB_OFFLINE=1 says that nothing may be sent: unset it"]
        return [] if get_token() else [f"there is no Hub token: {LOG_IN}, one that may write"]

    def described(self, chosen: Chosen) -> list[str]:
        there = "whatever is there is replaced" if self.replace else "what others put there is left alone"
        return [f"target   {self.address}, {self.visibility}; {there}"]

    def publish(self, chosen: Chosen, folder: Path) -> str:
        """The closing line."""
        from huggingface_hub import HfApi, get_token

        api, doing = HfApi(token=get_token()), f"publishing to {self.repository}"
        with answers.told(doing), sending.quiet():
            before = self._there(api) or self._created(api)
            gone = self._gone(api, before, chosen, folder)
            commit = sending.send(api, self.repository, folder, gone, before.sha, f"Publish {chosen}")
            now = api.model_info(self.repository, revision=commit.oid, files_metadata=True)
            arrived(now, folder)
        sizes = {file.rfilename: file.size for file in now.siblings if file.rfilename != GITS_OWN}
        return (
            f"published {chosen}: {self.address} at commit {commit.oid[:7]}, {self.visibility}: {shown.total(sizes)}, "
            f"{chosen.result.title} as OpenVINO IR with card and licence"
        )

    def _there(self, api: Any) -> Any | None:
        """The repository, of the visibility that was asked for; None where there is none."""
        from huggingface_hub import errors

        try:
            info = api.model_info(self.repository, files_metadata=True)
        except errors.RepositoryNotFoundError as error:
            if answers.status(error) == 404:
                return None
            raise
        if bool(info.private) == self.public:
            is_now, asked = ("private", "leave out --public") if self.public else ("public", "say --public")
            raise ValueError(f"{self.repository} is {is_now}: {asked}, or change it at {self.address}/settings")
        return info

    def _created(self, api: Any) -> Any:
        api.create_repo(self.repository, private=not self.public, exist_ok=True)
        return api.model_info(self.repository, files_metadata=True)

    def _gone(self, api: Any, before: Any, chosen: Chosen, folder: Path) -> list[str]:
        """Files to be deleted; an error where others' work would be lost and that was not asked for."""
        there = {file.rfilename: file for file in before.siblings if file.rfilename != GITS_OWN}
        if not self.replace and (others := self._of_others(api, before.sha, there, chosen, folder)):
            raise ValueError(
                f"{self.repository} holds {others}: name another repository, or say --replace (what is there stays in "
                "the repository's history)"
            )
        staged = manifest.read(folder, rerun="")["files"]
        return sorted(name for name in there if name not in {manifest.NAME, *staged})

    def _of_others(self, api: Any, commit: str, there: dict[str, Any], chosen: Chosen, folder: Path) -> str | None:
        if not there:
            return None
        with tempfile.TemporaryDirectory() as place:

            def fetched(name: str) -> Path:
                return Path(api.hf_hub_download(self.repository, name, revision=commit, local_dir=place))

            ours = _published(fetched(manifest.NAME)) if manifest.NAME in there else None
            if ours is None:
                return f"files that publish did not put there ({listed(sorted(there))})"
            if ours["settings"] != {"model": chosen.model, "precision": chosen.precision}:
                return "{model} {precision}".format(**ours["settings"])
            changed = [name for name, file in there.items() if _changed(file, ours["files"], folder / name, fetched)]
        return f"what was changed or added there by hand ({listed(sorted(changed))})" if changed else None


def _published(path: Path) -> dict[str, Any] | None:
    """The manifest that publish wrote; None of anything else."""
    try:
        found = records.read(path, "")
    except ValueError:
        return None
    own = shape.flaw(found) is None and found["stage"] == STAGE
    return found if own and {"model", "precision"} <= found["settings"].keys() else None


def _changed(file: Any, published: dict[str, Any], staged: Path, fetched: Any) -> bool:
    """Whether a file of the repository is not as it was published; small ones that differ from ours are fetched."""
    if file.rfilename == manifest.NAME:
        return False
    if file.rfilename not in published:
        return True
    expected = published[file.rfilename]["sha256"]
    if file.lfs:
        return file.lfs.sha256 != expected
    if staged.is_file() and hubcache.git_hash(staged) == file.blob_id:
        return False
    return manifest.sha256(fetched(file.rfilename)) != expected


def arrived(info: Any, folder: Path) -> None:
    """Hold the repository's own listing against the folder, by size and hash."""
    there, here = {file.rfilename: file for file in info.siblings}, manifest.read(folder, rerun="")["files"]
    for name, facts in here.items():
        file = there.get(name)
        whole = file is not None and file.size == facts["size"]
        if not whole or (file.lfs and file.lfs.sha256 != facts["sha256"]):
            raise ValueError(f"{info.id} does not hold {name} as it was sent: {answers.AGAIN}")
