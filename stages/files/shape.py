"""What a manifest must look like before anybody reckons with it, and what it says to whoever asks for more.

Consumes what was read as JSON; produces the first thing that is wrong with it, or the same as dictionaries that answer
a missing name with an error of one line. Facts that older manifests lack are no fault until they are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.files.names import safe_name
from stages.files.remedy import remedy

PARTS = {"stage": str, "key": str, "inputs": dict, "settings": dict, "facts": dict, "files": dict}
SAID = ("inputs", "settings", "facts")
FACTS = {  # of what kind those are that stages reckon with, where they are there
    "samples": int, "prompts": int, "largest_px": int, "truncated": int, "weight_bits": int | None, "model": str,
    "title": str | None, "precision": str, "scheme": str | None, "licence": str | None, "sources": list | None,
    "random_weights": bool, "operations": dict, "made": dict, "search": dict | None,
}  # fmt: skip


class Said(dict):
    """What a manifest says; asked for more than that, it names itself and what makes it anew."""

    def __init__(self, said: dict, path: Path, rerun: str) -> None:
        super().__init__(said)
        self._path, self._rerun = path, rerun

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self._path} does not say {name!r}: {remedy(self._path, self._rerun)}")


def said(manifest: dict[str, Any], path: Path, rerun: str) -> Said:
    parts = {name: Said(part, path, rerun) if name in SAID else part for name, part in manifest.items()}
    return Said(parts, path, rerun)


def flaw(manifest: Any) -> str | None:
    """What makes something no manifest; None of one."""
    if not isinstance(manifest, dict):
        return "it must be an object"
    for name, kind in PARTS.items():
        if not isinstance(manifest.get(name), kind):
            return f"its {name!r} must be {'text' if kind is str else 'an object'}"
    if not all(isinstance(digest, str) for digest in manifest["inputs"].values()):
        return "its 'inputs' must be digests by name"
    return _of_facts(manifest["facts"]) or _of_files(manifest["files"])


def _of_facts(facts: dict[str, Any]) -> str | None:
    for name in FACTS.keys() & facts.keys():
        value = facts[name]
        if not isinstance(value, FACTS[name]) or isinstance(value, bool) != (FACTS[name] is bool):
            return f"it says {str(value)[:40]!r} of {name!r}"
        if isinstance(value, int) and value < 0:
            return f"it says {value} of {name!r}"
    return None


def _of_files(files: dict[str, Any]) -> str | None:
    for name, entry in files.items():
        try:
            safe_name(name)
        except ValueError as error:
            return str(error)
        size = entry.get("size") if isinstance(entry, dict) else None
        if not isinstance(size, int) or isinstance(size, bool) or size < 0 or not isinstance(entry.get("sha256"), str):
            return f"it must give {name!r} a size and a sha256"
    return None
