"""A picture that somebody hands in, opened as something that may be anything.

Consumes a path, bytes or an open file; produces an RGB picture of bounded size, upright, cut to the size asked for.
Nothing is decoded before its size is known, and nothing but still pictures of three formats.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.studio.request import Refused

FORMATS = ("PNG", "JPEG", "WEBP")
LARGEST_BYTES = 32_000_000
LARGEST_PIXELS = 40_000_000  # of a camera's photograph


def read(source: Path | str | bytes) -> Any:
    """The picture; Refused, field `image`, with the reason and what is allowed."""
    from PIL import Image, ImageOps

    content = _bytes(source)
    with _refusals():
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
        width, height = picture.size
        if width * height > LARGEST_PIXELS:
            raise Refused("image", f"the picture has {width} x {height} pixels, at most {LARGEST_PIXELS // 10**6} "
                          "million are allowed: make it smaller")  # fmt: skip
        picture.load()
        return ImageOps.exif_transpose(picture).convert("RGB")


def fitted(picture: Any, width: int, height: int) -> Any:
    """Scaled and cut about its middle to exactly this size."""
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


def _bytes(source: Path | str | bytes) -> bytes:
    if isinstance(source, bytes):
        content = source[: LARGEST_BYTES + 1]
    else:
        try:
            with Path(source).open("rb") as file:
                content = file.read(LARGEST_BYTES + 1)
        except OSError as error:
            raise Refused("image", f"{source} cannot be read: {error.strerror}") from error
    if len(content) > LARGEST_BYTES:
        raise Refused("image", f"the file has more than {LARGEST_BYTES // 10**6} MB, which are allowed")
    return content


@contextmanager
def _refusals() -> Iterator[None]:
    """What Pillow says of a file that is none, is cut off or lies about its size, in one kind of error."""
    from PIL import Image, UnidentifiedImageError

    # Of large pictures, which are refused here with a bound of our own. Adding the same filter again changes nothing.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    try:
        yield
    except Refused:
        raise
    except UnidentifiedImageError as error:
        raise Refused("image", f"the file is no picture that is taken here: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise Refused("image", f"the picture has more than {LARGEST_PIXELS // 10**6} million pixels") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise Refused("image", f"the picture is damaged or cut off: {str(error).splitlines()[0]}") from error
