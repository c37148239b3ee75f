"""Prompts to begin with: of the set that a model is calibrated and measured with.

Consumes params.yaml and the embedded sets; produces a few texts, none that was calibrated with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.prompts import sets
from stages.settings import config
from stages.settings.schema import Prompts

COUNT = 6
OTHERWISE = Path(sets.__file__).with_name("photographs.jsonl")  # of models that params.yaml does not select now


def examples(model: str, root: Path = Path(".")) -> list[str]:
    """Texts of the model's own set; those of a set on the Hub are not asked for: photographs in their place."""
    params = config.read(root / config.PARAMS)
    settings = dict(params["prompts"])
    if model not in params["model"] or settings["source"] != "embedded":
        settings |= {"name": "photographs", "source": "embedded", "file": str(OTHERWISE)}
    return [prompt.text for prompt in sets.load_prompts(_of(root, settings), "evaluation", COUNT)]


def _of(root: Path, settings: dict[str, Any]) -> Prompts:
    return Prompts(**settings | {"file": str(root / settings["file"])})
