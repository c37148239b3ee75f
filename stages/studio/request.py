"""What a picture is asked for with: fields, each within its bounds, the model's own values where none is given.

Consumes an item of the shelf and words of a person; produces a `Request`, which decides a picture, or `Refused` with
the field and a sentence to stand beside it.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, get_args

from stages.checkpoints import defaults
from stages.settings import samplers
from stages.settings.schema import LATENT_PX, Pixels, Range, Sampler, Steps
from stages.settings.spelling import nearest
from stages.studio.shelf import TASKS as TASKS
from stages.studio.shelf import Item

LONGEST_PROMPT = 5_000  # characters: the text encoders read 77 tokens, some 60 words
LARGEST_SEED = 2**53 - 1  # whole numbers that a browser's own are exact up to
SMALLEST_PX = 16
NUMBERS = ("num_inference_steps", "guidance_scale", "width", "height", "strength", "high_noise_fraction")


class Refused(ValueError):
    """A value that is not allowed: `field` says of what, the text why and what is."""

    def __init__(self, field: str, said: str) -> None:
        super().__init__(said)
        self.field = field

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process: an exception's own way would make it anew of the text alone."""
        return type(self), (self.field, str(self))


@dataclass(frozen=True)
class Request:
    """Everything that decides a picture, on one machine. `image`: of any size, in image-to-image alone."""

    model: str
    precision: str
    task: str
    prompt: str
    negative_prompt: str
    steps: int
    guidance: float
    width: int
    height: int
    scheduler: str
    seed: int
    strength: float | None = None
    high_noise_fraction: float | None = None
    image: Any = dataclasses.field(default=None, repr=False, compare=False)

    def sampler(self) -> Sampler:
        """As the pipelines take it; options are the folder's own."""
        return Sampler(
            self.scheduler, {}, self.steps, self.guidance, self.width, self.height, self.negative_prompt,
            self.high_noise_fraction,
        )  # fmt: skip


GIVEN = tuple(field.name for field in dataclasses.fields(Request) if field.name not in ("model", "precision"))


def own(item: Item, task: str | None = None) -> dict[str, Any]:
    """The model's own values of a task's fields, by their names in `Request`: what a form is filled with."""
    task = _task(item, task)
    said = item.defaults[task]
    size = next((entry for entry in item.defaults.values() if "width" in entry), {})
    missing = [name for name in ("num_inference_steps", "guidance_scale") if name not in said]
    if missing or not size:
        raise ValueError(f"{item.folder / defaults.FILE} lacks {', '.join(missing) or 'width and height'}")
    for name, value in (said | size).items():
        if name in NUMBERS and not _is_number(value):
            raise ValueError(f"{item.folder / defaults.FILE}: {name} must be a number, got {_short(value)}")
    return {
        "task": task,
        "negative_prompt": said.get("negative_prompt", ""),
        "steps": said["num_inference_steps"],
        "guidance": float(said["guidance_scale"]),
        "width": size["width"],
        "height": size["height"],
        "scheduler": item.scheduler,
        "strength": said.get("strength"),
        "high_noise_fraction": said.get("high_noise_fraction"),
    }


def make(item: Item, task: str | None = None, **given: Any) -> Request:
    """A request of what is given over the model's own values; None counts as not given. Refused names the field."""
    unknown = [name for name in given if name not in GIVEN]
    if unknown:
        near = nearest(unknown[0], GIVEN)
        raise Refused(unknown[0], f"{unknown[0]} is no field{near}; there are {', '.join(GIVEN)}")
    given = {name: value for name, value in given.items() if value is not None}
    values = {"prompt": "", "seed": 0} | own(item, task) | given
    _check_words(values)
    _check_numbers(values)
    _check_task(values)
    _check_fixed(item, values)
    return Request(model=item.model, precision=item.precision, **values)


def _check_fixed(item: Item, values: dict[str, Any]) -> None:
    """An IR of fixed shapes draws one size alone."""
    for name, only in zip(("width", "height"), item.fixed_px, strict=True):
        if only not in (None, values[name]):
            raise Refused(name, f"{name} must be {only} with {item.name}, whose shapes are fixed, got {values[name]}")


def _task(item: Item, task: str | None) -> str:
    task = item.tasks[0] if task is None else task
    if task not in item.tasks:
        raise Refused("task", f"task must be one of {', '.join(item.tasks)} with {item.model}, got {task!r}")
    return task


def _check_words(values: dict[str, Any]) -> None:
    for name in ("prompt", "negative_prompt"):
        text = values[name]
        if not isinstance(text, str):
            raise Refused(name, f"{name} must be text, got {text!r}")
        if len(text) > LONGEST_PROMPT:
            raise Refused(name, f"{name} must have at most {LONGEST_PROMPT:,} characters, got {len(text):,}")
        if unprintable := next((sign for sign in text if not sign.isprintable() and sign not in "\n\r\t"), None):
            raise Refused(name, f"{name} has a sign that nobody can read, {unprintable!r}: take it out")
    if not values["prompt"].strip():
        raise Refused("prompt", "prompt is empty: say what is to be seen")
    known = samplers.known()["classes"]
    if not isinstance(values["scheduler"], str) or values["scheduler"] not in known:
        near = nearest(values["scheduler"], known) if isinstance(values["scheduler"], str) else ""
        raise Refused("scheduler", f"scheduler must be one of {', '.join(known)}; got {values['scheduler']!r}{near}")


def _check_numbers(values: dict[str, Any]) -> None:
    """Whole numbers may come as text or as floats without a fraction: forms and links have no other."""
    (_, steps), (_, pixels) = get_args(Steps), get_args(Pixels)
    pixels = Range(SMALLEST_PX, pixels.high, LATENT_PX)
    whole = {"steps": steps, "width": pixels, "height": pixels, "seed": Range(0, LARGEST_SEED)}
    real = {"guidance": Range(0, 50), "strength": Range(0, 1, above=True), "high_noise_fraction": Range(0.01, 0.99)}
    for name, bounds in (whole | real).items():
        if values[name] is not None:
            values[name] = _number(name, values[name], bounds, int if name in whole else float)


def _number(name: str, value: Any, bounds: Range, kind: type) -> Any:
    said = "a whole number" if kind is int else "a number"
    try:
        found = kind(value) if isinstance(value, str | int) and not isinstance(value, bool) else float(value)
        if isinstance(value, bool) or not math.isfinite(found) or found != kind(found):
            raise ValueError
    except (ValueError, TypeError, OverflowError):
        raise Refused(name, f"{name} must be {said}, got {_short(value)}") from None
    if not bounds.holds(found):
        raise Refused(name, f"{name} must be {_bounds(bounds)}, got {_short(value)}")
    return kind(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _bounds(bounds: Range) -> str:
    return f"at least 0 and at most {LARGEST_SEED}" if bounds.high == LARGEST_SEED else str(bounds)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:30]}... of {len(text)} signs"


def _check_task(values: dict[str, Any]) -> None:
    """What one task alone has, and that at least one step is run."""
    if values["task"] == defaults.IMAGE_TO_IMAGE:
        if values.get("image") is None:
            raise Refused("image", "image-to-image starts from a picture: choose one")
        if int(values["steps"] * values["strength"]) < 1:
            least = math.ceil(1 / values["strength"])
            raise Refused("strength", f"strength {values['strength']:g} of {values['steps']} steps runs none of them: "
                          f"raise it, or steps to {least}")  # fmt: skip
    elif values.get("image") is not None:
        raise Refused("image", f"a picture to start from has no effect in {values['task']}: take image-to-image")
    if values["task"] != defaults.IMAGE_TO_IMAGE and values["strength"] is not None:
        raise Refused("strength", f"strength has no effect in {values['task']}")
    if values["task"] != defaults.TWO_STAGE and values["high_noise_fraction"] is not None:
        raise Refused("high_noise_fraction", f"high_noise_fraction has no effect in {values['task']}")
