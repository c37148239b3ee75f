"""What a dry run shows: files with their sizes, the card, where they would go, on which terms, and what is in the way;
and the bar of bytes that go.

Consumes a staged folder, or an IR folder that may not be staged; produces text. Sends and writes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.cards import licences
from stages.publishing.chosen import Chosen
from stages.report import words


def preview(chosen: Chosen, folder: Path, sizes: dict[str, int], way: list[str]) -> str:
    """Largest file first; `way`: what the way there says of itself."""
    rows = [[name, in_bytes(size)] for name, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0]))]
    return "\n".join([words.table(rows), "", *facts(chosen, folder, sizes), *way])


def facts(chosen: Chosen, folder: Path, sizes: dict[str, int]) -> list[str]:
    found = [f"files    {total(sizes)}, in {folder}"]
    if (folder / "README.md").is_file():
        found += [f"card     {folder / 'README.md'}"]
    return found + [f"licence  {terms(chosen.licence)}"]


def terms(declared: str | None) -> str:
    """`CreativeML Open RAIL++-M: its terms are passed on, LICENSE goes with the weights. …`"""
    said = []
    for one in licences.of(declared):
        passed_on = one.redistribution == "pass_on_terms"
        first = "its terms are passed on, and its text goes with the weights. " if passed_on else ""
        said.append(f"{one.title}: {first}{one.asks}")
    return " ".join(said) or "none"


def total(sizes: dict[str, int]) -> str:
    return f"{in_bytes(sum(sizes.values()))} in {len(sizes)} files"


def in_bytes(size: int) -> str:
    """`812 B`, `14.2 kB`, `10.3 MB`, `2.60 GB`"""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return words.number(size / scale, f" {unit}")
    return f"{size} B"


def bar(total: int) -> Any:
    """Of bytes on their way, whichever that is."""
    from tqdm import tqdm

    return tqdm(total=total, desc="publish", unit="B", unit_scale=True, disable=None, leave=False)


def refused(chosen: object, reasons: list[str]) -> str:
    return "\n".join([f"{chosen} may not be published:", *(f"- {reason}" for reason in reasons)])
