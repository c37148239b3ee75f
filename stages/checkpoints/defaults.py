"""What a folder of IR is drawn with where nobody says otherwise: generation_config.json, by task as the Hub names it.

Consumes the role, tasks and sampler of a model; produces keyword arguments that pipelines of diffusers, optimum-intel
and openvino.genai all take (`pipeline(prompt, **defaults["text-to-image"])`), and reads them again. None of the three
looks for such a file in a pipeline's folder: without it they draw 50 steps at guidance 5, whatever the model.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.settings.schema import Model

FILE = "generation_config.json"
TEXT_TO_IMAGE, IMAGE_TO_IMAGE, TWO_STAGE = "text-to-image", "image-to-image", "two-stage"
STRENGTH = 0.5  # of image-to-image: half of the schedule keeps the layout and changes the rest
Defaults = dict[str, dict[str, Any]]


def of(model: Model) -> Defaults:
    """By task. Two-stage is not one call of a library: its entry names the base and where the refiner takes over."""
    sampler = model.sampler
    how: dict[str, Any] = {"num_inference_steps": sampler.steps, "guidance_scale": sampler.guidance}
    if sampler.negative_prompt and sampler.guidance > 1:  # openvino.genai refuses it where nothing is guided
        how["negative_prompt"] = sampler.negative_prompt
    size = {"width": sampler.width, "height": sampler.height}
    found: Defaults = {} if model.role == "refiner" else {TEXT_TO_IMAGE: how | size}
    if model.role == "refiner" or IMAGE_TO_IMAGE in model.tasks:
        found[IMAGE_TO_IMAGE] = how | {"num_inference_steps": _for_a_step(sampler.steps), "strength": STRENGTH}
    if model.role == "refiner":
        found[TWO_STAGE] = how | size | {"base": model.base, "high_noise_fraction": sampler.high_noise_fraction}
    return found


def write(model: Model, folder: Path) -> None:
    _write(of(model), folder)


def write_steps(steps: int, source: Path, target: Path) -> None:
    """Those of `source` into another pipeline's folder, whose sampler takes so many steps."""
    found = {task: how | {"num_inference_steps": steps} for task, how in read(source).items()}
    if IMAGE_TO_IMAGE in found:
        found[IMAGE_TO_IMAGE]["num_inference_steps"] = _for_a_step(steps)
    _write(found, target)


def read(folder: Path) -> Defaults:
    """As `write` wrote them; FileNotFoundError without the file, ValueError where it holds something else."""
    path = folder / FILE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: it says steps, guidance and size of a model") from None
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ValueError(f"{path} must hold settings by task ({TEXT_TO_IMAGE}, {IMAGE_TO_IMAGE}, {TWO_STAGE})")
    return found


def _write(found: Defaults, folder: Path) -> None:
    (folder / FILE).write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _for_a_step(steps: int) -> int:
    """Image-to-image runs int(steps x strength) of them: a model of one step needs two for that to be one."""
    return max(steps, math.ceil(1 / STRENGTH))
