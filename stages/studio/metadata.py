"""What reproduces a picture, in the picture itself and in a link.

Consumes what was drawn; produces a PNG with two texts, `pocketxl` (JSON: every field of the request, digests of the IR,
versions) and `parameters` (the line that other programs read), and reads the first of them again. A picture to start
from is named by its SHA-256 alone: it may be private.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from stages.files import manifest, placing
from stages.studio.request import Refused, Request
from stages.studio.studio import Drawn

KEY, LAYOUT = "pocketxl", 1
FIELDS = tuple(field.name for field in dataclasses.fields(Request) if field.name != "image")
VERSIONS = ("openvino", "optimum-intel", "diffusers")


def of(drawn: Drawn) -> dict[str, Any]:
    """Everything that decides the picture, as JSON takes it."""
    found: dict[str, Any] = {"layout": LAYOUT} | {name: getattr(drawn.request, name) for name in FIELDS}
    if drawn.start is not None:
        found["start_sha256"] = of_start(drawn.start)
    return found | {"ir": drawn.ir, "versions": {name: manifest.version(name) for name in VERSIONS}}


def of_start(picture: Any) -> str:
    """SHA-256 of the pixels of a picture to start from, as it was scaled and cut."""
    return hashlib.sha256(picture.tobytes()).hexdigest()


def png(drawn: Drawn) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    texts, content = PngInfo(), io.BytesIO()
    texts.add_itxt(KEY, json.dumps(of(drawn), ensure_ascii=False))
    texts.add_itxt("parameters", parameters(drawn.request))
    drawn.picture.save(content, "PNG", pnginfo=texts)
    return content.getvalue()


def write(drawn: Drawn, path: Path) -> None:
    """The PNG under its name when it is whole."""
    placing.write_bytes(path, png(drawn))


def read(source: Path | str | IO[bytes]) -> dict[str, Any]:
    """What `of` made, of a PNG of ours; Refused, field `image`, of anything else."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(source, formats=("PNG",)) as picture:
            text = getattr(picture, "text", {}).get(KEY)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Refused("image", "the file is no PNG, which alone holds settings") from error
    if text is None:
        raise Refused("image", "the PNG holds no settings of ours: it was not drawn here, or was saved anew elsewhere")
    try:
        found = json.loads(text)
        if found["layout"] != LAYOUT:
            raise Refused("image", f"the PNG's settings have layout {found['layout']!r}, this version reads {LAYOUT}")
        if not all(isinstance(digest, str) for digest in dict(found["ir"]).values()):
            raise TypeError("'ir' must be digests by model")
        return {"ir": dict(found["ir"]), "start_sha256": found.get("start_sha256")} | {n: found[n] for n in FIELDS}
    except (ValueError, KeyError, TypeError) as error:
        raise Refused("image", f"the PNG's settings are damaged ({error})") from error


def parameters(request: Request) -> str:
    """The text that other programs show and read."""
    lines = [request.prompt] + ([f"Negative prompt: {request.negative_prompt}"] if request.negative_prompt else [])
    facts = {
        "Steps": request.steps, "Sampler": request.scheduler.removesuffix("Scheduler"), "CFG scale": request.guidance,
        "Seed": request.seed, "Size": f"{request.width}x{request.height}",
        "Model": f"{request.model} {request.precision}",
    }  # fmt: skip
    facts |= {"Denoising strength": request.strength} if request.strength is not None else {}
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in facts.items())])


def link(request: Request) -> str:
    """A query string: the request's fields that are set, but for a picture to start from."""
    found = {name: getattr(request, name) for name in FIELDS}
    return urllib.parse.urlencode({name: value for name, value in found.items() if value not in (None, "")})


def from_link(query: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a link, as text, to be checked by `request.make`; what is no field is left out: links get decorated."""
    return {name: query[name] for name in FIELDS if name in query}
