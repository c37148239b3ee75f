"""Pictures inside a page: whole and lossless where they are small, else as large as a page's size allows.

Consumes groups of pictures that are looked at together, the most telling group first, and a number of bytes; produces
data URIs of WebP. A group is in one form, so that its pictures can be laid over one another. Knows nothing of models.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from stages.report import pictures

AS_TEXT = 4 / 3  # bytes of base64 for a byte


@dataclass(frozen=True)
class Form:
    """`quality` of WebP, None for lossless; the longer side in pixels at most, None for the picture's own."""

    quality: int | None
    side: int | None = None

    @property
    def exact(self) -> bool:
        return self.quality is None and self.side is None


LOSSLESS = Form(None)
FORMS = (LOSSLESS, Form(90), Form(82, 768), Form(80, 512), Form(78, 320), Form(75, 160))
PROBABLY = 0.5  # bytes a pixel of a lossless picture, at least: more pixels than that are not even tried


@dataclass(frozen=True)
class Embedded:
    uri: str
    width: int
    height: int
    form: Form
    whole: bool  # as many pixels as the file has

    @property
    def exact(self) -> bool:
        return self.form.quality is None and self.whole


def embed(picture: Image.Image, form: Form) -> Embedded:
    buffer = io.BytesIO()
    side = max(picture.size)
    fitted = pictures.scale(picture, min(side, form.side or side))
    how = {"lossless": True, "quality": 60} if form.quality is None else {"quality": form.quality}
    fitted.save(buffer, "WEBP", method=4, **how)
    uri = "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
    return Embedded(uri, *fitted.size, form, fitted.size == picture.size)


def fit(groups: Sequence[Sequence[Image.Image]], room: int) -> list[list[Embedded]]:
    """Every picture of every group in `room` bytes of text: all lossless if that holds them, else each group, in its
    turn, in the best form that leaves room for those behind it in the least; groups that not even that holds are empty.
    """
    pixels = sum(picture.width * picture.height for group in groups for picture in group)
    if pixels * PROBABLY * AS_TEXT <= room:
        all_whole = [[embed(picture, LOSSLESS) for picture in group] for group in groups]
        if sum(map(size, all_whole)) <= room:
            return all_whole
    least = [[embed(picture, FORMS[-1]) for picture in group] for group in groups]
    behind, fitted = sum(map(size, least)), []
    for group, small in zip(groups, least, strict=True):
        behind -= size(small)
        best = next((made for form in FORMS[1:] if (made := tried(group, form, room - behind))), small)
        best = best if size(best) <= room else []
        room -= size(best)
        fitted.append(best)
    return fitted


def tried(group: Sequence[Image.Image], form: Form, room: int) -> list[Embedded]:
    """Nothing where it is more than `room`, which mostly the first of the pictures shows."""
    made: list[Embedded] = []
    for picture in group:
        made.append(embed(picture, form))
        if size(made) > room:
            return []
    return made


def size(group: Sequence[Embedded]) -> int:
    return sum(len(one.uri) for one in group)
