"""The viewer's pictures: any two precisions or schemes of a model, prompt and task beside each other.

Consumes results; produces what page.js reads, as JSON: pictures inside of it, what differs from FP16 where they had to
be made smaller, figures to stand under them. Draws nothing itself and holds no picture twice.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from PIL import Image

from stages.files.layout import REFERENCE, REPORTS
from stages.report import embedding, grids, pictures, results
from stages.report.embedding import Embedded
from stages.report.results import BEFORE, Result
from stages.report.words import in_db

ROOM = 3_400_000  # bytes of a page of 5 MB
PROMPTS = 40  # of a task of one model, to choose from: nobody looks through a thousand
TASKS = {
    results.TEXT_TO_IMAGE: "text to image",
    results.TWO_STAGE: "base, then refiner",
    results.TWO_STAGE_SDEDIT: "finished, then refined",
    results.IMAGE_TO_IMAGE: "image to image",
}


@dataclass
class Scene:
    """One prompt of one task of one model, drawn by each of its precisions."""

    result: Result
    task: str
    prompt_id: str
    text: str
    takes: dict[str, results.Picture] = field(default_factory=dict)
    sources: dict[str, Result] = field(default_factory=dict)  # whose figures those of a precision are
    embedded: dict[str, Embedded] = field(default_factory=dict)
    differences: dict[str, Embedded] = field(default_factory=dict)  # `fp16|int8`

    @property
    def first(self) -> bool:
        return self.task == grids.main_task(self.result)


def scenes(found: list[Result], schemes: Sequence[Result] = ()) -> list[Scene]:
    """The first prompt of every model's own task, then the second of each, ...; other tasks behind them."""
    numbered = []
    for result in (result for result in found if not result.missing):
        for task in [name for name in TASKS if result.takes(name, result.after)]:
            for number, scene in enumerate(of_task(result, task, schemes)):
                numbered.append((not scene.first, number, scene))
    return [scene for *_, scene in sorted(numbered, key=lambda entry: entry[:2])]


def of_task(result: Result, task: str, schemes: Sequence[Result]) -> list[Scene]:
    own = [one for one in schemes if one.key == result.key and one.after not in (BEFORE, result.after)]
    shown: dict[str, Scene] = {}
    for source, names in [(result, (BEFORE, result.after, REFERENCE)), *((one, (one.after,)) for one in own)]:
        for name in names:
            for take in source.takes(task, name):
                scene = shown.setdefault(take.prompt_id, Scene(result, task, take.prompt_id, take.prompt))
                scene.takes[name], scene.sources[name] = take, source
    return few([scene for scene in shown.values() if len(scene.takes) > 1], result)


def few(shown: list[Scene], result: Result) -> list[Scene]:
    """The first PROMPTS, and whatever prompts came out worst."""
    worst = {entry["id"] for entry in result.value(result.after, "worst_prompts") or []}
    return shown[:PROMPTS] + [scene for scene in shown[PROMPTS:] if scene.prompt_id in worst]


def prompts(found: list[Result]) -> int:
    """Of the model that has most of them, shown or not."""
    return max((len(one.takes(grids.main_task(one), one.after)) for one in found if not one.missing), default=0)


def embed(shown: list[Scene], room: int = ROOM) -> list[Scene]:
    """Those with pictures in them; where these are not lossless, with what differs between FP16's and the others."""
    plain = [{name: take.image for name, take in scene.takes.items()} for scene in shown]
    fitted = embedding.fit([list(images.values()) for images in plain], room)
    if not all(group and all(one.exact for one in group) for group in fitted):  # else browsers subtract
        plain = [images | {pair: differing(images, pair) for pair in pairs(images)} for images in plain]
        fitted = embedding.fit([list(images.values()) for images in plain], room)
    for scene, images, group in zip(shown, plain, fitted, strict=True):
        known = dict(zip(images, group, strict=False))
        scene.embedded = {name: one for name, one in known.items() if name in scene.takes}
        scene.differences = {name: one for name, one in known.items() if name not in scene.takes}
    return [scene for scene in shown if scene.embedded]


def pairs(images: dict[str, Image.Image]) -> list[str]:
    """FP16 with each of the others: more would not fit."""
    return ["|".join(pair) for pair in combinations(images, 2) if pair[0] == BEFORE]


def differing(images: dict[str, Image.Image], pair: str) -> Image.Image:
    one, other = pair.split("|")
    return pictures.difference(images[one], images[other], grids.GAIN)


def data(shown: list[Scene]) -> str:
    """JSON for a `<script type="application/json">`: without any `<`, which might end it."""
    models = dict.fromkeys(scene.result for scene in shown)
    about = [{"key": one.key, "title": one.title} for one in models]
    content = {"gain": grids.GAIN, "models": about, "scenes": [entry(scene) for scene in shown]}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def entry(scene: Scene) -> dict[str, Any]:
    sides = {
        name: {"label": label(name), "src": one.uri, "whole": one.whole, "exact": one.exact,
               "size": list(scene.takes[name].image.size), "file": address(scene.takes[name].file),
               "figures": figures(scene, name)}
        for name, one in scene.embedded.items()
    }  # fmt: skip
    return {
        "model": scene.result.key, "task": scene.task, "named": TASKS[scene.task], "prompt": scene.prompt_id,
        "text": scene.text, "sides": sides, "differences": {name: one.uri for name, one in scene.differences.items()},
    }  # fmt: skip


def label(name: str) -> str:
    return "float32" if name == REFERENCE else grids.title(name)


def address(file: Path) -> str:
    """Of a picture's file, from the page."""
    return file.relative_to(REPORTS).as_posix() if file.is_relative_to(REPORTS) else file.as_posix()


def figures(scene: Scene, name: str) -> str:
    """`PSNR 42.1 dB to float32`, of the model's own task."""
    if not scene.first or name == REFERENCE:
        return ""
    rows = scene.sources[name].value(name, "per_prompt") or []
    known = next((row for row in rows if row.get("id") == scene.prompt_id), {})
    psnr = known.get("psnr_db")
    return f"PSNR {in_db(psnr)} to float32" if results.is_number(psnr) else ""
