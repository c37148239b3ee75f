"""The folder as it is published: the IR's files, and card, pictures and licence beside them, described by a manifest.

Consumes what is chosen; produces artifacts/staged/<model>/<precision>, hard links to the IR's files where they are
that, whole or absent. Equal inputs give equal bytes: what is published twice changes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.cards import licences
from stages.files import layout, manifest, placing
from stages.publishing import carding
from stages.publishing.chosen import Chosen
from stages.report import grids, pictures

CARD, PICTURES = "README.md", "pictures.webp"
STAGE = "publish"
CELLS = 128, 256  # least and most pixels of a picture in the grid


def stage(chosen: Chosen, repository: str | None = None) -> Path:
    """The card that the IR came with gives way to one that knows the figures, and its place on the Hub."""
    target = layout.staged(chosen.model, chosen.precision)
    with placing.whole(target) as folder:
        for name in sorted(set(chosen.made["files"]) - {CARD, PICTURES}):
            placing.link(chosen.folder / name, folder / name)
        licences.place(folder, chosen.licence, chosen.made["facts"].get("sources", []))
        shown = draw(chosen, folder / PICTURES)
        placing.write_text(folder / CARD, carding.text(chosen, folder, repository, PICTURES if shown else None))
        manifest.write(
            folder,
            stage=STAGE,
            inputs={"ir": manifest.digest(chosen.folder)},
            settings={"model": chosen.model, "precision": chosen.precision},
            facts=chosen.made["facts"] | {"made": made(chosen.made)},
        )
    return target


def made(of_ir: dict[str, Any]) -> dict[str, Any]:
    """How the IR was made: all that its own manifest says but the facts, which go on, and the files."""
    return {name: value for name, value in of_ir.items() if name not in ("facts", "files")}


def draw(chosen: Chosen, path: Path) -> bool:
    """FP16, the quantized precision and what differs; whether there are such pictures."""
    grid = grids.precisions(chosen.result) if chosen.is_measured else None
    if grid is None or not grid.rows:
        return False
    least, most = CELLS
    side = max(picture.width for row in grid.rows for picture in row.pictures if picture)
    pictures.draw(grid, min(most, max(least, side))).save(path, "WEBP", quality=90, method=6)
    return True


def sizes(folder: Path) -> dict[str, int]:
    """Every file of a staged folder in bytes, the manifest included."""
    files = manifest.read(folder, rerun="")["files"]
    return {name: entry["size"] for name, entry in files.items()} | {
        manifest.NAME: manifest.size(folder / manifest.NAME)
    }
