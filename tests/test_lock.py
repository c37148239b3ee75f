"""The lock file: all that pyproject.toml asks for is pinned, with hashes, and nothing belongs to one machine only."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LEFT_TO_PIP = re.compile(r"(torch|torchvision|triton|playwright|pyee|greenlet)$|(nvidia|cuda)-")


def entries() -> list[str]:
    """The lock's lines without comments, one for each pinned package: its continuation lines are joined to it."""
    bare = re.sub(r"^\s*#.*\n", "", LOCK, flags=re.MULTILINE)
    return bare.replace("\\\n", " ").splitlines()


def pins() -> dict[str, list[str]]:
    """Each package's versions: more than one where the lock tells Pythons or systems apart."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", LOCK, flags=re.MULTILINE):
        found.setdefault(canonicalize_name(name), []).append(version)
    return found


def asked() -> list[str]:
    project = PROJECT["project"]
    lines = project["dependencies"] + project["optional-dependencies"]["dev"] + PROJECT["dependency-groups"]["no-deps"]
    return [line for line in lines if Requirement(line).name != "torch"]


@pytest.mark.parametrize("line", asked())
def test_every_dependency_is_pinned_at_a_version_that_pyproject_admits(line):
    wanted = Requirement(line)
    versions = pins().get(canonicalize_name(wanted.name))
    assert versions, f"{wanted.name} is not in requirements.lock: run `make lock`"
    refused = [version for version in versions if not wanted.specifier.contains(version, prereleases=True)]
    assert not refused, f"requirements.lock has {refused}, pyproject.toml asks for {line}: run `make lock`"


def test_every_entry_is_one_exact_version_with_hashes_and_nothing_else():
    assert len(entries()) > len(asked())
    form = re.compile(r"[a-z0-9-]+==[\w.+!]+( ; [^;]+?)?( +--hash=sha256:[0-9a-f]{64})+\s*")
    assert [entry for entry in entries() if not form.fullmatch(entry)] == []


def test_torch_and_what_only_its_cuda_build_needs_are_left_to_pip():
    assert [name for name in pins() if LEFT_TO_PIP.match(name)] == []


def test_no_address_and_no_path_is_in_the_lock():
    """Neither can be written without a slash; options such as --index-url are refused with the entries' form."""
    assert [line for line in LOCK.splitlines() if "/" in line] == []
