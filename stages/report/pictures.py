"""Grids of pictures with labelled rows and columns, and pictures of the difference between two pictures.

Consumes picture files and records of which pictures stand where; produces PIL images and thumbnails as data URIs.
Does not know what the pictures show nor who made them.
"""

from __future__ import annotations

import base64
import io
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFont

from stages.files.remedy import remedy

PAPER, INK, FAINT, EMPTY = "#ffffff", "#1d2129", "#667085", "#eef0f3"
GAP, PAD = 6, 20


@dataclass(frozen=True)
class Row:
    label: str
    detail: str  # a second, fainter line under the label
    pictures: list[Image.Image | None]  # one per column, None where there is none
    tall: bool = False  # a wider space above: the row begins a group


@dataclass(frozen=True)
class Grid:
    """`Grid("Apples", ["a red apple"], [Row("SDXL", "25 steps", [picture])])`: one picture per row and column."""

    title: str
    columns: list[str]
    rows: list[Row]

    def __post_init__(self) -> None:
        for row in self.rows:
            assert len(row.pictures) == len(self.columns), f"row {row.label!r} does not fit {len(self.columns)} columns"


def read(path: Path, size: tuple[int, int], *, rerun: str) -> Image.Image:
    """The RGB picture of `size` (width, height) at `path`; an error that names the file where it is anything else."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy(path, rerun)}")
    try:
        with Image.open(path) as picture:
            picture.load()
            if picture.mode != "RGB" or picture.size != size:
                wrong = f"{picture.mode} of {picture.width} x {picture.height} pixels"
                raise ValueError(
                    f"{path} must be RGB of {size[0]} x {size[1]} pixels, got {wrong}: {remedy(path, rerun)}"
                )
            return picture.copy()
    except (OSError, SyntaxError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise ValueError(f"{path} is not a readable picture ({error}): {remedy(path, rerun)}") from error


def difference(one: Image.Image, other: Image.Image, gain: int) -> Image.Image:
    """`gain` times the absolute difference, in [0, 255], on black: black means equal. Mode RGB, the pictures' size."""
    return ImageChops.difference(one, other).point(lambda value: min(255, value * gain))


def scale(picture: Image.Image, size: int) -> Image.Image:
    """The picture with its longer side of `size` pixels."""
    longer = max(picture.size)
    fitting = tuple(max(1, round(side * size / longer)) for side in picture.size)
    return picture if longer == size else picture.resize(fitting, Image.Resampling.LANCZOS)


def data_uri(picture: Image.Image, size: int, quality: int = 88) -> str:
    """A WebP thumbnail, its longer side `size` pixels, for an <img> tag: nothing to request, a few kilobytes each."""
    buffer = io.BytesIO()
    scale(picture, size).save(buffer, "WEBP", quality=quality, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def draw(grid: Grid, cell: int = 128) -> Image.Image:
    """The grid as one RGB picture, every cell `cell` pixels wide; column labels on top, row labels on the left."""
    bold, plain, small = font(15, bold=True), font(12), font(11)
    heads = [wrap(drawable(text), small, cell) for text in grid.columns]
    left = PAD + label_width(grid, bold, plain)
    top = PAD + 30 + 15 * max((len(lines) for lines in heads), default=0) + GAP
    height = top + sum(cell + (3 * GAP if row.tall else GAP) for row in grid.rows) + PAD - GAP
    canvas = Image.new("RGB", (left + len(heads) * (cell + GAP) - GAP + PAD, height), PAPER)
    pen = ImageDraw.Draw(canvas)
    pen.text((PAD, PAD - 4), drawable(grid.title), font=font(18, bold=True), fill=INK)
    for column, lines in enumerate(heads):
        first = top - GAP - 15 * len(lines)
        for number, line in enumerate(lines):
            pen.text((left + column * (cell + GAP), first + 15 * number), line, font=small, fill=FAINT)
    y = top
    for row in grid.rows:
        y += 2 * GAP if row.tall else 0
        middle = y + cell / 2
        pen.text((PAD, middle - 9), drawable(row.label), font=bold, fill=INK, anchor="lm")
        pen.text((PAD, middle + (10 if row.label else 0)), row.detail, font=plain, fill=FAINT, anchor="lm")
        for column, picture in enumerate(row.pictures):
            x = left + column * (cell + GAP)
            pen.rectangle((x - 1, y - 1, x + cell, y + cell), fill=EMPTY)
            if picture is not None:
                fitted = scale(picture, cell)
                canvas.paste(fitted, (x + (cell - fitted.width) // 2, y + (cell - fitted.height) // 2))
        y += cell + GAP
    return canvas


def label_width(grid: Grid, bold: ImageFont.FreeTypeFont, plain: ImageFont.FreeTypeFont) -> int:
    widths = [max(bold.getlength(row.label), plain.getlength(row.detail)) for row in grid.rows]
    return round(max(widths, default=0)) + 16


def wrap(text: str, face: ImageFont.FreeTypeFont, width: int, lines: int = 3) -> list[str]:
    """Break at blanks so that each line fits `width` pixels; what does not fit `lines` ends in an ellipsis."""
    done: list[str] = [""]
    for word in text.split():
        longer = f"{done[-1]} {word}".strip()
        if face.getlength(longer) <= width or not done[-1]:
            done[-1] = longer
        else:
            done.append(word)
    if len(done) > lines:
        done[lines - 1 :] = [done[lines - 1] + " …"]
    return [shorten(line, face, width) for line in done]


def shorten(line: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    while face.getlength(line) > width and len(line) > 1:
        line = line.removesuffix("…").rstrip()[:-1] + "…"
    return line


def drawable(text: str) -> str:
    """What the font has no letter for by its name: `a [cat face]`, `[U+732B]`, rather than an empty box."""
    return "".join(letter if ord(letter) in _letters() else _name(letter) for letter in text)


def _name(letter: str) -> str:
    name = unicodedata.name(letter, "").lower()
    return f"[U+{ord(letter):04X}]" if not name or "ideograph" in name else f"[{name}]"


@cache
def _letters() -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    return frozenset(FT2Font(font(12).path).get_charmap())


@cache
def font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib ships it: the same letters on every machine."""
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
