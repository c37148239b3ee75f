"""The sampler of a pipeline folder: one of diffusers' schedulers, as its model is set.

Consumes scheduler/scheduler_config.json, a class and its options as settings.samplers allows them; produces the
scheduler, or another folder with that very sampler, so that whoever loads it draws as it was measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import components, configurations, lean
from stages.settings import samplers

if TYPE_CHECKING:
    from stages.settings.schema import Sampler

FILE = Path("scheduler/scheduler_config.json")


def load(folder: Path, sampler: Sampler) -> Any:
    """The scheduler that `sampler` names, trained as the folder's configuration says, with the sampler's options."""
    scheduler = lean.named("diffusers", sampler.scheduler)
    trained = components.read_json(folder / FILE)
    _require_kind(folder / FILE, str(trained.get("_class_name") or ""), sampler.scheduler)
    trained = {name: value for name, value in trained.items() if value is not None}  # null: whatever the class takes
    options = samplers.unless_said(sampler.scheduler) | trained | sampler.options
    try:
        return scheduler.from_config(options)
    except (ValueError, NotImplementedError) as error:
        raise ValueError(f"sampler.options {sampler.options} do not make a {sampler.scheduler}: {error}") from error


def _require_kind(path: Path, trained: str, asked: str) -> None:
    """A UNet is told its noise level in EDM's way or in the others', whichever it was trained with."""
    if trained.startswith(configurations.NOISE_LEVELS) != asked.startswith(configurations.NOISE_LEVELS):
        kind = [name for name in samplers.known()["classes"] if name.startswith(configurations.NOISE_LEVELS)]
        allowed = f"one of {', '.join(kind)}" if asked not in kind else f"none of {', '.join(kind)}"
        raise ValueError(f"{path} says {trained or 'no class'}: sampler.scheduler must be {allowed}, got {asked}")


def write(source: Path, sampler: Sampler, target: Path) -> None:
    """The configuration of that scheduler in `target`, another pipeline's folder."""
    (target / FILE).parent.mkdir(parents=True, exist_ok=True)
    (target / FILE).write_text(load(source, sampler).to_json_string(), encoding="utf-8")
