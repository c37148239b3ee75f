"""Whether an IR folder holds what a pipeline is made of, and of which size it is where its shapes are fixed.

Consumes an IR folder; produces the text of a part's graph, or an error that names the file and the stage that makes
it. Loads no model: graphs are searched as text, since parsing a large one takes seconds.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import components
from stages.ir import runtime

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stages.settings.schema import Sampler

NEEDED = ("unet", "vae_decoder")  # others are there or not, as a pipeline has them
BEGINNING = 100_000  # characters of a graph, which its inputs stand in
INPUT = r'name="{}" type="Parameter"[^>]*>\s*<data shape="([^"]*)"'
EMBEDDED_GUIDANCE = 'name="timestep_cond"'  # input of a UNet that takes the guidance scale itself, one row a picture


def require(folder: Path) -> None:
    """FileNotFoundError unless every part of the folder has its graph and its weights, UNet and decoder at least."""
    for component in components.COMPONENTS:
        if component.name in NEEDED or (folder / component.name).is_dir():
            require_files(folder / component.name / components.IR_FILES[0])


def require_files(xml: Path) -> None:
    for path in (xml, xml.with_suffix(".bin")):
        if not path.is_file():
            raise FileNotFoundError(f"{path} is missing: {runtime.way(path)}")


def graph(xml: Path, characters: int = -1) -> str:
    """The text of an IR's graph, or so many characters of it."""
    require_files(xml)
    try:
        with xml.open(encoding="utf-8") as file:
            return file.read(characters)
    except UnicodeDecodeError as error:
        raise ValueError(f"{xml} is not a graph of OpenVINO's: {runtime.way(xml)}") from error


def fixed_shape(folder: Path, part: str, name: str) -> list[int | None]:
    """Of an input of a part: its sides, None where one is open or where there is no such input."""
    found = re.search(INPUT.format(name), graph(folder / part / components.IR_FILES[0], BEGINNING))
    sides = found[1].split(",") if found else []
    return [int(side) if side.strip().isdecimal() else None for side in sides]


def fixed_px(folder: Path) -> tuple[int | None, int | None]:
    """Width and height that alone can be drawn, None where any can."""
    sides = (fixed_shape(folder, "unet", "sample") + [None] * 4)[2:4]
    if sides == [None, None]:
        return None, None
    scale = 2 ** (len(_config(folder, "vae_decoder")["block_out_channels"]) - 1)
    height, width = (side and side * scale for side in sides)
    return width, height


def require_size(folder: Path, samplers: Iterable[Sampler], key: str = "") -> None:
    """ValueError where the UNet's shapes are fixed, and are not those that pictures of `samplers` ask for."""
    if not any(fixed_shape(folder, "unet", "sample")):
        return
    (rows, *_), (width, height) = fixed_shape(folder, "unet", "sample"), fixed_px(folder)
    key = key or f"model.{folder.resolve().parent.name}.sampler"
    again = f"or run 'dvc repro -f{runtime.target(folder / 'unet' / components.IR_FILES[0])}' for an IR of any"
    for sampler in samplers:
        if width not in (None, sampler.width) or height not in (None, sampler.height):
            size = f"{width or 'any'} x {height or 'any'}"
            raise ValueError(
                f"{folder} draws {size} pixels alone, and {key} asks for {sampler.width} x {sampler.height}: set its "
                f"width and height to those, {again} size"
            )
        asked = rows_of(folder, sampler)
        if rows not in (None, asked):
            raise ValueError(
                f"{folder} takes {rows} rows a step alone, and {key}.guidance {sampler.guidance:g} asks for {asked}: "
                f"set guidance {'above 1' if rows > asked else 'to 1'}, {again} number"
            )


def rows_of(folder: Path, sampler: Sampler) -> int:
    """Of a picture's UNet step: with and without the prompt, where guidance is reckoned outside of it."""
    embedded = EMBEDDED_GUIDANCE in graph(folder / "unet" / components.IR_FILES[0], BEGINNING)
    return 2 if sampler.guidance > 1 and not embedded else 1


def _config(folder: Path, part: str) -> dict[str, Any]:
    path = folder / part / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: it says what the part's shapes mean")
    return components.read_json(path)
