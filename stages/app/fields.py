"""The form's fields as plain values: what each may be chosen of, the model's own values, what is asked with them.

Consumes the shelf and a form's values by name; produces values to fill it with, and requests, or `Refused` with the
field at which the reason is to stand. Knows no page.
"""

from __future__ import annotations

import secrets
from typing import Any

from stages.checkpoints.defaults import IMAGE_TO_IMAGE, TWO_STAGE
from stages.settings import samplers
from stages.studio import request, shelf, uploads
from stages.studio.request import Refused, Request
from stages.studio.shelf import Item, Shelf

Values = dict[str, Any]
NOTHING = "nothing"  # to compare with
# In the order in which the page hands them over. `other` is the precision to compare with, `start` an uploaded file.
NAMES = (
    "task", "model", "precision", "other", "prompt", "negative_prompt", "start", "steps", "guidance", "width",
    "height", "strength", "high_noise_fraction", "scheduler", "seed", "new_seed",
)  # fmt: skip
FIELD_OF = {"image": "start"}  # what a request calls otherwise
HAVE = {"start": (IMAGE_TO_IMAGE,), "strength": (IMAGE_TO_IMAGE,), "high_noise_fraction": (TWO_STAGE,)}
GIVEN = ("prompt", "negative_prompt", "steps", "guidance", "width", "height", "scheduler")
SEEDS = 2**32  # of a new seed: short enough to be read out


def tasks(at_hand: Shelf) -> list[str]:
    """Those that some model at hand can do."""
    able = {task for precisions in at_hand.values() for item in precisions.values() for task in item.tasks}
    return [task for task in request.TASKS if task in able]


def models(at_hand: Shelf, task: str) -> list[str]:
    return [model for model, precisions in at_hand.items() if any(task in item.tasks for item in precisions.values())]


def others(at_hand: Shelf, model: str, precision: str) -> list[str]:
    """Precisions to compare one with."""
    return [NOTHING, *(name for name in at_hand[model] if name != precision)]


def schedulers() -> list[str]:
    return list(samplers.known()["classes"])


def has(name: str, task: str) -> bool:
    """Whether a field means anything in a task."""
    return task in HAVE.get(name, (task,))


def filled(at_hand: Shelf, task: str, model: str | None = None, precision: str | None = None) -> Values:
    """The model's own values; without a model those of the first that can do the task."""
    able = models(at_hand, task)
    item = shelf.choose(at_hand, model if model in able else able[0], precision)
    own = request.own(item, task)
    shown = {name: own[name] for name in NAMES if name in own}
    return shown | {"model": item.model, "precision": item.precision, "other": NOTHING}


def new_seed() -> int:
    return secrets.randbelow(SEEDS)


def asked(at_hand: Shelf, values: Values) -> list[Request]:
    """One request, or two that differ in the precision alone, FP16's first: drawn from the same latents."""
    item = _item(at_hand, values)
    other = values["other"] or NOTHING
    if other not in others(at_hand, item.model, item.precision):
        raise Refused("other", f"{item.model} is not at hand in {other}, or is drawn in it already")
    _require_base(at_hand, item, values["task"])
    given = _given(values)
    items = [one for name, one in at_hand[item.model].items() if name in (item.precision, other)]
    return [request.make(one, values["task"], **given) for one in items]


def refused(at_hand: Shelf, values: Values) -> dict[str, str]:
    """The message at each field whose value is not allowed: all of them at once, not one after the other."""
    found: dict[str, str] = {}
    values = dict(values)
    sound = _sound(at_hand)
    while True:
        try:
            asked(at_hand, values)
            return found
        except Refused as error:
            field = FIELD_OF.get(error.field, error.field)
            if field in found or field not in sound:
                return found | {field: str(error)}
            found[field] = str(error)
            values[field] = sound[field]


def _sound(at_hand: Shelf) -> Values:
    """What may stand in the place of a refused value while the others are looked at."""
    texts = {"prompt": "-", "negative_prompt": "", "seed": "0", "start": None}
    return texts | dict.fromkeys(("steps", "guidance", "width", "height", "scheduler", "strength"))


def _item(at_hand: Shelf, values: Values) -> Item:
    for name in ("model", "precision"):
        if not values[name]:
            raise Refused(name, f"choose a {name}; if there is none, {shelf.MAKE}")
    try:
        return shelf.choose(at_hand, values["model"], values["precision"])
    except ValueError as error:  # made anew under another name, or removed, since the page was opened
        raise Refused("model", str(error)) from error


def _require_base(at_hand: Shelf, item: Item, task: str) -> None:
    """Of a picture in two stages, whose first part another model draws."""
    if task == TWO_STAGE and TWO_STAGE in item.tasks:
        try:
            shelf.base_of(at_hand, item)
        except ValueError as error:
            raise Refused("model", str(error)) from error


def _given(values: Values) -> Values:
    """As `request.make` takes them: an emptied number stands for the model's own."""
    given = {name: values[name] for name in GIVEN}
    given["seed"] = 0 if values["new_seed"] else (values["seed"] or "").strip()
    for name in ("strength", "high_noise_fraction"):
        given[name] = values[name] if has(name, values["task"]) else None
    if has("start", values["task"]) and values["start"]:
        given["image"] = uploads.read(values["start"])
    return given


def with_seed(values: Values) -> Values:
    """A new seed where one is wanted."""
    return values | {"seed": str(new_seed()), "new_seed": False} if values["new_seed"] else values
