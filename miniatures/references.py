"""Writes the judge of the miniatures' prompts: `python -m miniatures.references`.

Every subject in every style as a cut-out with alpha, in one lossless picture, and what prompts ask for: all that
stages.measurement.retrieval needs to know a subject by its pixels, without OpenMoji and its renderer at hand.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from miniatures import emoji
from stages.measurement.retrieval import COLUMNS, FILE, SHEET

FOLDER = Path("miniatures/judge")
PATTERN = r"(?:an? )?(?P<subject>.+?)(?: sticker)? on an? (?P<background>\w+) background"  # of emoji.caption


def facts() -> dict[str, Any]:
    """What judge.json holds: the subject of each cut-out, in the order of the picture."""
    return {
        "source": "OpenMoji 17, https://openmoji.org",
        "licence": "CC-BY-SA-4.0",
        "pattern": PATTERN,
        "colours": {name: list(colour) for name, colour in emoji.COLOURS.items()},
        "subjects": [subject for subject in emoji.subjects() for _ in emoji.STYLES],
    }


def sheet() -> np.ndarray:
    """(height, width, 4) uint8: cut-outs in rows of COLUMNS, transparent where none is left."""
    cutouts = [cutout(emoji.render(subject), style) for subject in emoji.subjects() for style in emoji.STYLES]
    side = len(cutouts[0])
    rows = -(-len(cutouts) // COLUMNS)
    filled = np.zeros((rows * COLUMNS, side, side, 4), np.uint8)
    filled[: len(cutouts)] = cutouts
    return filled.reshape(rows, COLUMNS, side, side, 4).swapaxes(1, 2).reshape(rows * side, COLUMNS * side, 4)


def cutout(picture: np.ndarray, style: str) -> np.ndarray:
    """(size, size, 4) uint8 that gives emoji.compose's picture on any background, to two levels of 255."""
    black, white = (emoji.over(picture, shade, style) for shade in ((0, 0, 0), (255, 255, 255)))
    alpha = 1 - (white - black).mean(axis=-1, keepdims=True) / 255
    colour = black / np.maximum(alpha, 1 / 255)
    return np.dstack([colour.clip(0, 255), 255 * alpha]).round().astype(np.uint8)


def main() -> None:
    from PIL import Image

    FOLDER.mkdir(exist_ok=True)
    (FOLDER / FILE).write_text(json.dumps(facts(), indent=1) + "\n", encoding="utf-8")
    Image.fromarray(sheet()).save(FOLDER / SHEET, lossless=True, quality=100, method=6)
    print(f"{FOLDER}: {len(facts()['subjects'])} cut-outs, {(FOLDER / SHEET).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
