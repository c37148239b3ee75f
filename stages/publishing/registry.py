"""The way into DVC's registry: the folder tracked, pushed to a remote, named as an artifact, and tagged with a version.

Consumes a staged folder; produces artifacts/published/<model>/<precision> with its .dvc file, an entry in
artifacts/published/dvc.yaml, a git commit of nothing else, and a tag as GTO makes it. The entry stands in a dvc.yaml of
its own, since a program writes that one whole, and people keep the pipeline's. Pushes to DVC's remote, never to git's:
commit and tag are yours to hand on.

    artifacts/published=vega-int8@v0.0.2      the tag; `dvc artifacts get CLONE artifacts/published:vega-int8`
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.files import layout, placing
from stages.files.layout import PUBLISHED
from stages.publishing import gitting, pushing, shown, staging
from stages.publishing.chosen import Chosen

ENTRIES, IGNORED = PUBLISHED / "dvc.yaml", PUBLISHED / ".gitignore"
HEAD = "# What was published by `python -m stages.publish MODEL --to dvc`, which writes this file whole.\n"
TASKS = {"base": "text-to-image", "refiner": "image-to-image"}


@dataclass(frozen=True)
class Way:
    """`Way(None)`: to the default remote."""

    remote: str | None = None

    def reasons(self) -> list[str]:
        return gitting.reasons() or pushing.reasons(self.remote)

    def described(self, chosen: Chosen) -> list[str]:
        return [
            f"target   {layout.published(chosen.model, chosen.precision)}, pushed to the remote {self._remote()}",
            f"git      one commit of {', '.join(map(str, files(chosen)))} and nothing else, tagged as the next version "
            f"of {full_name(chosen)}; git push is left to you",
        ]

    def publish(self, chosen: Chosen, folder: Path) -> str:
        """The closing line. What is pushed comes first, so that a version never names what nobody can get."""
        target = layout.published(chosen.model, chosen.precision)
        place(folder, target)
        ignore(target)
        dvc("add", "--quiet", str(target))
        pushing.push(target, self.remote)
        enter(chosen)
        commit = gitting.commit_alone(files(chosen), f"Publish {chosen}")
        if (known := latest(chosen)) and gitting.is_as_at(known, [pointer(chosen)]):
            return f"{chosen} is published as {known} already, and the remote {self._remote()} has all of it"
        tag = register(chosen, commit)
        notes = [f"To hand it on: git push origin HEAD && git push origin {tag}", *unshared()]
        notes += [f"In a clone of this project: dvc pull --recursive {PUBLISHED}"]
        notes += [f"Elsewhere: dvc get CLONE {target}, or dvc artifacts get CLONE {full_name(chosen)}"]
        size = shown.total(staging.sizes(target))
        done = f"published {chosen}: {tag} at commit {commit[:7]}, {size} on the remote {self._remote()}"
        return "\n".join([*notes, f"{done}, {chosen.result.title} as OpenVINO IR with card and licence"])

    def _remote(self) -> str:
        return pushing.remote_name(self.remote) or "(none)"


def name(chosen: Chosen) -> str:
    return f"{chosen.model}-{chosen.precision}"


def full_name(chosen: Chosen) -> str:
    """As DVC and GTO call an artifact of a dvc.yaml that is not at the root."""
    return f"{PUBLISHED.as_posix()}:{name(chosen)}"


def pointer(chosen: Chosen) -> Path:
    target = layout.published(chosen.model, chosen.precision)
    return target.with_name(f"{target.name}.dvc")


def files(chosen: Chosen) -> list[Path]:
    """What git is to hold."""
    return [ENTRIES, IGNORED, pointer(chosen)]


def place(folder: Path, target: Path) -> None:
    """Hard links to the staged files, which may be the IR's."""
    with placing.whole(target) as new:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            placing.link(path, new / path.relative_to(folder))


def ignore(target: Path) -> None:
    """Folders by their names: DVC 3.67 takes patterns such as */*/ for more than git does, and loses the .dvc files."""
    known = IGNORED.read_text(encoding="utf-8").splitlines() if IGNORED.is_file() else []
    lines = {*known, f"/{target.relative_to(PUBLISHED).as_posix()}"}
    placing.write_text(IGNORED, "\n".join(sorted(lines)) + "\n")


def enter(chosen: Chosen) -> None:
    """The artifact among those that were published before, in order of their names."""
    import yaml

    known: dict[str, Any] = yaml.safe_load(ENTRIES.read_text(encoding="utf-8")) if ENTRIES.is_file() else {}
    entries = ((known or {}).get("artifacts") or {}) | {name(chosen): entry(chosen)}
    text = yaml.safe_dump({"artifacts": dict(sorted(entries.items()))}, sort_keys=False, allow_unicode=True, width=120)
    placing.write_text(ENTRIES, HEAD + text)


def entry(chosen: Chosen) -> dict[str, Any]:
    return {
        "path": layout.published(chosen.model, chosen.precision).relative_to(PUBLISHED).as_posix(),
        "type": "model",
        "desc": f"{chosen.result.title} as OpenVINO IR, {chosen.precision}; licence: {chosen.licence}",
        "labels": ["openvino", chosen.precision, TASKS[chosen.result.role]],
    }


def latest(chosen: Chosen) -> str | None:
    """The tag of the newest version by GTO's order."""
    import gto.api
    from gto.constants import VersionSort
    from gto.exceptions import ArtifactNotFound

    try:
        found = gto.api.show(str(gitting.ROOT), full_name(chosen), registered_only=True, sort=VersionSort.SemVer)
    except ArtifactNotFound:
        return None
    return found[0]["ref"] if found else None


def register(chosen: Chosen, commit: str) -> str:
    """The tag of the next version: v0.0.1, v0.0.2 and so on, after whatever `gto` was told by hand."""
    import gto.api
    from gto.exceptions import GTOException

    try:
        return gto.api.register(str(gitting.ROOT), full_name(chosen), commit, message=f"Publish {chosen}").tag
    except GTOException as error:
        raise ValueError(f"{chosen} is pushed and committed, but GTO gave it no version: {error}") from error


def unshared() -> list[str]:
    """A remote that clones would not know."""
    if gitting.git("status", "--porcelain", "--", ".dvc/config"):
        return ["Commit .dvc/config too, so that clones know the remote: git commit -m 'Name the remote' .dvc/config"]
    return []


def dvc(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], capture_output=True, encoding="utf-8", errors="replace"
    )
    if done.returncode != 0:
        said = [line for line in done.stderr.strip().splitlines() if line.startswith("ERROR:")] or ["ERROR: unknown"]
        raise ValueError(f"dvc {arguments[0]} failed: {said[0].removeprefix('ERROR:').strip()}")
