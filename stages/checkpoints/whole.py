"""Whether a checkpoint in diffusers layout is whole and means one model: checked before anything is made of it.

Consumes a folder; produces its index, or an error in one line that names file, key or tensor. Files are looked into
without any framework, in the time that it takes to read them; what the classes themselves say takes one to be imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.checkpoints import components, configurations, fitting, samplers, tokens, weights


def check_files(folder: Path) -> dict[str, Any]:
    """Check what files say: index, configurations, tokenizers, headers and numbers; returns `model_index.json`."""
    index, _ = _described(folder)
    weights.check_weights(folder)
    return index


def check(folder: Path) -> dict[str, Any]:
    """The same, and that each class finds all its tensors and no others, and that the tokenizers tokenize."""
    index, settings = _described(folder)
    for part, found in settings.items():
        fitting.check_tensors(folder / part, index[part][1], found)
    for tokenizer in components.tokenizers(index):
        tokens.check_tokens(folder / tokenizer)
    weights.check_weights(folder)
    return index


def check_part(folder: Path, class_name: str) -> None:
    """The same of one component alone; its folder is called as in components.STEMS."""
    settings = components.read_json(folder / "config.json")
    configurations.check(folder / "config.json", class_name, settings)
    fitting.check_tensors(folder, class_name, settings)
    weights.check_weights(folder)


def _described(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The index, and configurations by component: each by itself as its class takes it, and all of one model."""
    index = _index(folder)
    scheduler = folder / samplers.FILE
    configurations.check_scheduler(scheduler, components.read_json(scheduler))
    settings = {}
    for part in components.STEMS:
        if part in components.parts(index):
            settings[part] = components.read_json(folder / part / "config.json")
            configurations.check(folder / part / "config.json", index[part][1], settings[part])
    fitting.check_together(folder, settings)
    for tokenizer in components.tokenizers(index):
        encoder = tokenizer.replace("tokenizer", "text_encoder")
        tokens.check(folder / tokenizer, settings[encoder], folder / encoder / "config.json")
    return index, settings


def _index(folder: Path) -> dict[str, Any]:
    """What only a checkpoint must say: an IR of before may leave it to whoever loads it."""
    index, path = components.read_index(folder), folder / components.INDEX
    if index.get(components.ZEROS) is None:
        raise ValueError(f"{path}: {components.ZEROS} must be true or false: drawing without a prompt depends on it")
    parts = components.parts(index)
    if ("text_encoder" in parts) != ("tokenizer" in parts):
        raise ValueError(f"{path} has one of 'text_encoder' and 'tokenizer': a pipeline has both or none")
    return index
