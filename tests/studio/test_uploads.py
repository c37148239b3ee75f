"""Pictures that somebody hands in: files that are none, are cut off, lie or are far too large."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.studio import uploads
from stages.studio.request import Refused
from tests.odd_pictures import png_that_says


def encoded(picture: Image.Image, kind: str, **how) -> bytes:
    content = io.BytesIO()
    picture.save(content, kind, **how)
    return content.getvalue()


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", uploads.FORMATS)
def test_the_three_formats_are_read(kind: str, tmp_path: Path) -> None:
    content = encoded(noise(), kind)
    (tmp_path / "picture").write_bytes(content)
    for source in (content, tmp_path / "picture"):
        picture = uploads.read(source)
        assert (picture.mode, picture.size) == ("RGB", (64, 48))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"red,green,blue\n1,2,3\n", "no picture that is taken here: PNG, JPEG, WEBP"),
        (b"", "no picture that is taken here"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture that is taken here"),
        (encoded(noise(), "GIF"), "no picture that is taken here"),
        (encoded(noise(), "TIFF"), "no picture that is taken here"),
        (encoded(noise(), "JPEG")[:700], "damaged or cut off"),
        (encoded(noise(), "PNG")[:700], "damaged or cut off"),
        (encoded(noise(), "WEBP")[:300], "damaged or cut off|no picture"),
        (png_that_says(10_000, 10_000), "has 10000 x 10000 pixels, at most 40 million"),
        (png_that_says(60_000, 60_000), "more than 40 million pixels"),
        (png_that_says(64, 64), "damaged or cut off"),
        (bytes(uploads.LARGEST_BYTES + 1), "more than 32 MB"),
    ],
)
def test_anything_else_is_refused_at_its_field(content: bytes, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        uploads.read(content)
    assert refused.value.field == "image"


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(Refused, match="cannot be read"):
            uploads.read(path)


def test_a_photograph_is_turned_upright_and_one_with_transparency_made_plain() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert uploads.read(encoded(noise(64, 48), "JPEG", exif=exif)).size == (48, 64)
    assert uploads.read(encoded(noise().convert("RGBA"), "PNG")).mode == "RGB"


def test_a_picture_is_cut_about_its_middle() -> None:
    picture = Image.new("RGB", (300, 100), "black")
    picture.paste("white", (100, 0, 200, 100))
    cut = uploads.fitted(picture, 40, 40)
    assert cut.size == (40, 40) and np.asarray(cut)[:, 2:-2].min() > 250
