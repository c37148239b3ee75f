"""Virtual environments that hold what somebody's packages ask for, and nothing of this project.

Consumes requirements, as one would hand them to pip; produces an environment with their closure, taken from the
metadata of the packages: what it names is there, what it does not name is missing. Packages that the tests' own
environment has are linked file by file, as pip unpacked them, which takes seconds where torch would take minutes and
gigabytes; the others are got from the registry at the version asked for.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

UNREACHABLE = ("NewConnectionError", "NameResolutionError", "ProxyError", "ConnectTimeout")  # in what pip says


class NoRegistry(Exception):
    """A package is needed that is not here, and the registry cannot be reached."""


def make(folder: Path, asked: Iterable[str], without: frozenset[str] = frozenset()) -> Path:
    """The interpreter of an environment in `folder` with all that `asked` needs, but for the packages `without`."""
    venv.create(folder, with_pip=False)
    python = folder / "bin/python"
    site = next((folder / "lib").glob("python*/site-packages"))
    todo, extras = [Requirement(line) for line in asked], {}
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in without or extras.get(name, set()) >= (wanted.extras or {""}):
            continue
        found = _placed(site, wanted) if name in extras else _place(python, site, wanted)
        extras[name] = extras.get(name, set()) | wanted.extras | {""}
        todo += _needs(found, extras[name])
    return python


def installed(python: Path) -> dict[str, str]:
    """Names and versions of an environment's packages."""
    site = next((python.parents[1] / "lib").glob("python*/site-packages"))
    return {canonicalize_name(found.name): found.version for found in metadata.distributions(path=[str(site)])}


def complaints(python: Path) -> list[str]:
    """What `pip check` says is missing or does not fit."""
    said = _pip(python, "check")
    return [] if said.returncode == 0 else said.stdout.splitlines()


def _place(python: Path, site: Path, wanted: Requirement) -> metadata.Distribution:
    try:
        here = metadata.distribution(wanted.name)
    except metadata.PackageNotFoundError:
        here = None
    if here is not None and wanted.specifier.contains(here.version, prereleases=True):
        _link(here, site)
    else:
        _install(python, wanted)
    return _placed(site, wanted)


def _placed(site: Path, wanted: Requirement) -> metadata.Distribution:
    return next(iter(metadata.distributions(path=[str(site)], name=canonicalize_name(wanted.name))))


def _needs(found: metadata.Distribution, extras: set[str]) -> list[Requirement]:
    lines = [Requirement(line) for line in found.requires or []]
    return [
        line for line in lines if line.marker is None or any(line.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def _link(package: metadata.Distribution, site: Path) -> None:
    """Every file within site-packages; commands in bin/ name the interpreter that they were installed for."""
    for file in package.files or []:
        target = site / file
        if ".." in file.parts or not (source := Path(file.locate())).is_file() or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            target.symlink_to(source)


def _install(python: Path, wanted: Requirement) -> None:
    run = _pip(python, "install", "--no-deps", "--retries", "1", "--timeout", "30", str(wanted))
    if run.returncode == 0:
        return
    if any(reason in run.stderr for reason in UNREACHABLE):
        raise NoRegistry(f"{wanted} is not installed here, and no registry can be reached to get it from")
    raise RuntimeError(f"pip cannot install {wanted}: {run.stderr[-2000:]}")


def _pip(python: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True)
