"""Files of figures as a git revision or a DVC experiment holds them.

Consumes a revision or an experiment's name; produces the text of its files by name: benchmarks that git holds, those
that its dvc.lock names and DVC's cache holds, and reference figures. Changes no file and no branch.
"""

from __future__ import annotations

from typing import Any

from stages.files import dvcstate, git
from stages.files.remedy import CACHE
from stages.report import sides


def commit(name: str) -> str | None:
    """Of a revision that git knows, else of the experiment that `dvc exp run -n NAME` kept; None where neither is."""
    if found := git.answer("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
        return found.strip()
    for line in (git.answer("for-each-ref", "refs/exps", "--format=%(objectname) %(refname)") or "").splitlines():
        number, reference = line.split(" ", 1)
        if reference.endswith(f"/{name}"):
            return number
    return None


def dated(commit: str, *paths: str) -> str:
    """`97b8a67 of 2026-11-26`; of the last commit that changed these paths, where some are given."""
    form = ("log", "-1", "--format=%h of %cs", commit, "--")
    return (git.answer(*form, *paths) or git.answer(*form) or commit[:7]).strip()


def files(commit: str) -> dict[str, str]:
    """An experiment's own figures come before the reference figures that its branch carries along."""
    names = (git.answer("ls-tree", "-r", "--name-only", "--full-tree", commit, "reports") or "").splitlines()
    wanted = [name for name in names if sides.OWN.fullmatch(name) or name.endswith("/machine.json")]
    wanted += [name for name in names if sides.REFERENCE.fullmatch(name) and name not in wanted]
    return cached(commit) | {name: git.answer("show", f"{commit}:{name}") or "" for name in wanted}


def cached(commit: str) -> dict[str, str]:
    """Benchmarks that dvc.lock names by their hashes and DVC's cache holds."""
    lock = git.answer("show", f"{commit}:{dvcstate.LOCK}") or ""
    found = {}
    for out in outputs(lock) if "reports/benchmark/" in lock else []:
        if sides.OWN.fullmatch(out["path"]) and (digest := out.get("md5")):
            file = CACHE / digest[:2] / digest[2:]
            if file.is_file():
                found[out["path"]] = file.read_text(encoding="utf-8")
    return found


def outputs(lock: str) -> list[dict[str, Any]]:
    import yaml

    stages = (yaml.safe_load(lock) or {}).get("stages") or {}
    return [out for stage in stages.values() for out in stage.get("outs", [])]
