"""A judge of prompts that steered no picture: which subject and which background do the pixels themselves show?

Consumes the folder of a judge: references.webp, square cut-outs in rows of COLUMNS, and judge.json, which names each
one's subject, the colours of backgrounds, and the pattern of a prompt that says what was asked for. Produces shares of
pictures that show it: the nearest of all true pictures has the subject, the border has the colour. Knows no encoder.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.measurement import tasks

if TYPE_CHECKING:
    from PIL.Image import Image

COLUMNS = 18
FILE, SHEET = "judge.json", "references.webp"
KEYS = {"pattern", "colours", "subjects"}


@dataclass(frozen=True)
class Judge:
    """`cutouts`: (n, side, side, 4) in 0..1 with alpha, of `subjects`; `colours`: RGB of 0..255 by name."""

    pattern: re.Pattern[str]
    subjects: list[str]
    colours: dict[str, tuple[int, int, int]]
    cutouts: np.ndarray

    def asked(self, text: str) -> tuple[str, str] | None:
        """(subject, background) that a prompt asks for, None where this judge knows either of them not."""
        found = self.pattern.fullmatch(text)
        wanted = (found["subject"], found["background"]) if found else ("", "")
        return wanted if wanted[0] in self.subjects and wanted[1] in self.colours else None

    def judge(self, pictures: Sequence[Image], texts: list[str]) -> dict[str, float] | None:
        """Shares (0 to 1) of the pictures with the subject and the background asked for; None where no prompt is one
        that this judge can read."""
        asked = {n: wanted for n, text in enumerate(texts) if (wanted := self.asked(text))}
        if not asked:
            return None
        arrays = np.stack([self._scaled(pictures[n]) for n in asked])
        subjects, backgrounds = zip(*asked.values(), strict=True)
        shown = [background(array, self.colours) for array in arrays]
        return {"subject": share(self.nearest(arrays), subjects), "background": share(shown, backgrounds)}

    def nearest(self, pictures: np.ndarray) -> list[str]:
        """Subject of the true picture with the least squared difference, out of all cut-outs on all colours."""
        best, found = np.full(len(pictures), np.inf), np.zeros(len(pictures), int)
        for error in self._errors(pictures):
            place, least = error.argmin(1), error.min(1)
            found, best = np.where(least < best, place, found), np.minimum(least, best)
        return [self.subjects[place] for place in found]

    def _errors(self, pictures: np.ndarray) -> Iterator[np.ndarray]:
        """(pictures, cut-outs) squared differences for each colour, without drawing a cut-out on any of them.

        A cut-out on a colour is `over + clear * colour`, so that all that pixels are summed for is common to colours.
        """
        alpha = self.cutouts[..., 3:]
        over, clear = self.cutouts[..., :3] * alpha, (1 - alpha)[..., 0]
        flat, over_flat = pictures.reshape(len(pictures), -1), over.reshape(len(over), -1)
        apart = (flat**2).sum(1)[:, None] - 2 * flat @ over_flat.T + (over_flat**2).sum(1)
        seen = [pictures[..., c].reshape(len(pictures), -1) @ clear.reshape(len(clear), -1).T for c in range(3)]
        through = np.stack(seen, -1) - np.einsum("nhwc,nhw->nc", over, clear)
        hidden = (clear**2).sum((1, 2))
        for colour in self.colours.values():
            shade = np.array(colour, np.float32) / 255
            yield apart - 2 * through @ shade + hidden * (shade**2).sum()

    def _scaled(self, picture: Image) -> np.ndarray:
        side = self.cutouts.shape[1]
        return np.asarray(picture.convert("RGB").resize((side, side)), np.float32) / 255


def load(folder: Path) -> Judge:
    """FileNotFoundError or ValueError that names the file where the folder holds no judge."""
    from PIL import Image

    for name in (FILE, SHEET):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} is missing: judge.repo must be a judge's folder, or judge=none")
    facts = json.loads((folder / FILE).read_text(encoding="utf-8"))
    if absent := KEYS - set(facts):
        raise ValueError(f"{folder / FILE} lacks {', '.join(sorted(absent))}")
    with Image.open(folder / SHEET) as sheet:
        pixels = np.asarray(sheet.convert("RGBA"), np.float32) / 255
    side, rows = pixels.shape[1] // COLUMNS, -(-len(facts["subjects"]) // COLUMNS)
    if pixels.shape[:2] != (rows * side, COLUMNS * side):
        raise ValueError(f"{folder / SHEET} must be {rows} rows of {COLUMNS} squares, is {pixels.shape[1::-1]} pixels")
    cutouts = pixels.reshape(rows, side, COLUMNS, side, 4).swapaxes(1, 2).reshape(-1, side, side, 4)
    colours = {name: tuple(colour) for name, colour in facts["colours"].items()}
    return Judge(re.compile(facts["pattern"]), facts["subjects"], colours, cutouts[: len(facts["subjects"])])


def add_retrieval(
    rows: dict[str, dict[str, Any]], expected: list[Any], runs: dict[str, list[Any]], judge: Judge
) -> dict[str, Any]:
    """Each precision's `retrieval`; returns the reference's own, with the prompts that could be read.

    `expected`: the reference's runs; `runs`: of every precision, those of the same task.
    """
    texts = [run.job.prompt.text for run in expected]
    for name, mine in runs.items():
        rows[name]["retrieval"] = judge.judge(tasks.pictures(mine), texts)
    known = {"prompts": sum(judge.asked(text) is not None for text in texts), "of": len(texts)}
    return known | (judge.judge(tasks.pictures(expected), texts) or {"subject": None, "background": None})


def share(found: Sequence[str], wanted: Sequence[str]) -> float:
    """0 to 1: how many of them are alike."""
    return round(sum(map(str.__eq__, found, wanted)) / len(wanted), 4)


def least_squares(pictures: np.ndarray, references: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each of (n, ...) pictures the least squared difference to a reference, and the place of that reference."""
    found, known = pictures.reshape(len(pictures), -1), references.reshape(len(references), -1)
    errors = (found**2).sum(1)[:, None] - 2 * found @ known.T + (known**2).sum(1)
    return errors.min(1), errors.argmin(1)


def background(picture: np.ndarray, colours: dict[str, tuple[int, int, int]]) -> str:
    """Name of the colour nearest to the median of a picture's outermost pixels; (h, w, 3) in 0..1."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    seen = 255 * np.median(border, axis=0)
    return min(colours, key=lambda name: float(np.square(seen - np.array(colours[name])).sum()))
