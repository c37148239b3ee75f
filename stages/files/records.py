"""JSON files that stages leave for one another beside folders: read with one line for whatever is wrong with them.

Consumes a path and what makes it anew; produces the object in it. Manifests have their own shape, see
stages.files.shape.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from stages.files.remedy import remedy


def read(path: Path, rerun: str, kind: type = dict) -> Any:
    """What the file holds, a dictionary or, of that `kind`, a list; FileNotFoundError or ValueError name the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy(path, rerun)} first")
    return parsed(path.read_bytes(), path, rerun, kind)


def parsed(content: str | bytes, path: Path | str, rerun: str | None = None, kind: type = dict) -> Any:
    """The same of what was read already; without `rerun` nobody here makes it anew."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error}){_cure(path, rerun)}") from error
    if not isinstance(found, kind):
        raise ValueError(f"{path} must hold {'an object' if kind is dict else 'a list'}{_cure(path, rerun)}")
    return found


def _cure(path: Path | str, rerun: str | None) -> str:
    """What to do about it, once there is something: to find out takes the hashes of what DVC's cache has of it."""
    return "" if rerun is None else f": {remedy(Path(path), rerun)}"


TEXTS = ("machine", "quantization", "model", "title", "role", "family", "scheduler", "scheme")
NUMBERS = ("width_px", "height_px", "steps", "guidance", "executed_steps")
OBJECTS = (
    "measured", "noise", "inputs", "settings", "clock", "energy", "judge", "controls", "retrieval", "clip_model",
    "truncated", "elsewhere",
)  # fmt: skip
LISTS = ("doubts", "left_out", "points")
OBJECTS_OF_ROW = (
    "speedup_step", "speedup_image", "unet_step_s", "image_s", "text_encoders_s", "vae_decode_s", "cold_s", "energy_j",
    "macs", "retrieval", "tasks", "effective_properties", "executed_precisions",
)  # fmt: skip
LISTS_OF_ROW = ("per_prompt", "layers", "sqnr_by_timestep", "sqnr_by_quarter", "sqnr_by_sample", "worst_prompts")


def require_figures(record: dict[str, Any], path: Path | str, rerun: str | None = None) -> None:
    """ValueError unless a record has figures by precision, each under its name what a record has there; null, a
    number that is none, or nothing at all stands for what is not known."""
    rows = record.get("precisions")
    if not isinstance(rows, dict):
        raise ValueError(f"{path} has no 'precisions'{_cure(path, rerun)}")
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise ValueError(f"{path} has no figures by name of {name!r}{_cure(path, rerun)}")
        if wrong := _wrong(row, {dict: OBJECTS_OF_ROW, list: LISTS_OF_ROW}):
            raise ValueError(f"{path}: {wrong} of {name!r} is not what a record has there{_cure(path, rerun)}")
    if wrong := _wrong(record, {str: TEXTS, int | float: NUMBERS, dict: OBJECTS, list: LISTS}):
        raise ValueError(f"{path}: {wrong} is not what a record has there{_cure(path, rerun)}")


def _wrong(values: dict[str, Any], kinds: dict[Any, tuple[str, ...]]) -> str | None:
    """`unet_step_s 'x'`: the first value of another kind."""
    for kind, known in kinds.items():
        for name in known:
            value = values.get(name)
            unknown = value is None or isinstance(value, float) and not math.isfinite(value)
            if not unknown and not isinstance(value, kind):
                return f"{name} {str(value)[:40]!r}"
    return None
