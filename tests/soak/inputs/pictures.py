"""What is given to the page and to `generate`: uploads, PNGs to be read back, links, fields of a request."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as any_of

from tests.soak import mutating
from tests.soak.kind import Kind, alike
from tests.soak.project import MODEL


def _pictures() -> Any:
    from PIL import Image

    picture = Image.effect_noise((24, 16), 80).convert("RGB")
    made = []
    for kind in ("PNG", "JPEG", "WEBP"):
        stream = io.BytesIO()
        picture.save(stream, kind)
        made.append(mutating.contents(stream.getvalue()).map(lambda e, kind=kind: (f"{kind} {e[0]}", e[1])))
    return any_of.one_of(*made)


def _uploaded(example: tuple[str, bytes]) -> Any:
    from stages.studio import uploads

    return uploads.read(example[1])


def _other_picture(example: tuple[str, bytes], picture: Any) -> str:
    from PIL import Image, ImageOps

    there = ImageOps.exif_transpose(Image.open(io.BytesIO(example[1]))).convert("RGB")
    return "" if picture.tobytes() == there.tobytes() else "the picture is not what Pillow reads"


def _drawn_pngs() -> Any:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from stages.studio.metadata import FIELDS

    request = {
        "model": MODEL, "precision": "int8", "task": "text-to-image", "prompt": "an owl", "negative_prompt": "",
        "steps": 5, "guidance": 5.0, "width": 32, "height": 32, "scheduler": "EulerDiscreteScheduler", "seed": 3,
        "strength": None, "high_noise_fraction": None,
    }  # fmt: skip
    assert set(request) == set(FIELDS)

    def png(text: str) -> bytes:
        stream, texts = io.BytesIO(), PngInfo()
        texts.add_itxt("pocketxl", text)
        Image.new("RGB", (8, 8)).save(stream, "PNG", pnginfo=texts)
        return stream.getvalue()

    sound = {"layout": 1, "ir": {MODEL: "0" * 64}, "versions": {}, "start_sha256": None} | request
    said = mutating.documents(sound).map(lambda pair: (str(pair[0])[:200], png(json.dumps(pair[1]))))
    return any_of.one_of(said, said, mutating.contents(png(json.dumps(sound))))


def _read_back(example: tuple[str, bytes]) -> Any:
    from stages.app import reproducing
    from stages.studio import shelf

    Path("dropped.png").write_bytes(example[1])
    return reproducing.from_png(shelf.find(), "dropped.png")


def _links() -> Any:
    fields = any_of.sampled_from(["model", "precision", "task", "prompt", "steps", "width", "seed", "scheduler", "x"])
    texts = any_of.one_of(mutating.TEXTS, mutating.NUMBERS.map(lambda number: str(number)[:400]))
    return any_of.dictionaries(fields, texts, min_size=1).map(lambda query: {"model": MODEL} | query)


def _followed(query: dict[str, str]) -> Any:
    from stages.app import reproducing
    from stages.studio import shelf

    return reproducing.from_link(shelf.find(), query)


def _cannot_be_shown(_: Any, found: tuple[dict, list[str]]) -> str:
    """Whatever is read goes into the form's fields: plain values, and sentences."""
    values, said = found
    plain = all(value is None or isinstance(value, str | int | float | bool) for value in values.values())
    return "" if plain and all(isinstance(one, str) for one in said) else f"{values} {said}"


def _asked() -> Any:
    fields = ("task", "prompt", "negative_prompt", "steps", "guidance", "width", "height", "seed", "strength")
    return any_of.dictionaries(
        any_of.sampled_from([*fields, "scheduler", "image", "stepz"]), mutating.VALUES, max_size=3
    )


def _requested(given: dict[str, Any]) -> Any:
    from stages.studio import request, shelf

    return request.make(shelf.find()[MODEL]["int8"], **({"prompt": "an owl"} | given))


def _other_request(given: dict[str, Any], made: Any) -> str:
    for name, value in given.items():
        if value is not None and not alike(getattr(made, name), value) and str(getattr(made, name)) != str(value):
            return f"{name} is {getattr(made, name)!r}, where {value!r} was given"
    return ""


KINDS = {
    "upload": Kind(_pictures, _uploaded, _other_picture),
    "png": Kind(_drawn_pngs, _read_back, _cannot_be_shown),
    "link": Kind(_links, _followed, _cannot_be_shown),
    "request": Kind(_asked, _requested, _other_request),
}
