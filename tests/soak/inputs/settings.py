"""Settings of the command line and of params.yaml, changed at random: accepted ones are what was said."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as any_of

from stages.settings import config
from tests.soak import mutating
from tests.soak.kind import Kind, Unique, alike
from tests.soak.project import MODEL

SETTINGS = ("calibrate", "quantize", "benchmark", "download", "export", "scorer", "compare", "plan")


def _reads(stage: str) -> tuple[str, ...]:
    return importlib.import_module(f"stages.{stage}").READS


def _model_of(stage: str) -> str | None:
    return None if stage in ("scorer", "compare", "plan") else MODEL


def _overrides() -> Any:
    params = yaml.safe_load(Path("params.yaml").read_text())
    keys = [".".join(map(str, path)) for path in mutating.leaves(params) if all(isinstance(k, str) for k in path)]
    spelt = any_of.sampled_from([lambda key: key] * 6 + [lambda key: key[:-1], lambda key: key + "s", str.upper])
    stages = any_of.sampled_from(SETTINGS)
    reached = stages.flatmap(lambda stage: any_of.sampled_from([k for k in keys if _is_read(k, stage)] * 9 + keys))

    def texts(key: str) -> Any:
        near = mutating.near(mutating.at(params, tuple(key.split("."))))
        return any_of.one_of(
            near.map(json.dumps), near.map(json.dumps), mutating.VALUES.map(json.dumps), mutating.TEXTS
        )

    keyed = any_of.tuples(stages, reached).flatmap(lambda pair: any_of.tuples(any_of.just(pair), texts(pair[1])))
    return any_of.tuples(keyed, spelt).map(lambda found: (found[0][0][0], found[1](found[0][0][1]), found[0][1]))


def _is_read(key: str, stage: str) -> bool:
    return any(f"{key}.".startswith(f"{entry.format(model=MODEL)}.") for entry in _reads(stage))


def _overridden(example: tuple[str, str, str]) -> Any:
    stage, key, text = example
    return config.load(_reads(stage), _model_of(stage), [f"{key}={text}"])


def _not_as_said(example: tuple[str, str, str], settings: Any) -> str:
    """The setting is what YAML reads in the text: none is without effect."""
    _, key, text = example
    found = settings
    if key.startswith(f"model.{MODEL}."):
        found = settings.models[MODEL] if hasattr(settings, "models") else settings.model
    for name in key.removeprefix(f"model.{MODEL}.").split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    found, said = config.as_dict(found), yaml.safe_load(text)
    return "" if alike(found, said) else f"{key} is {found!r}, where {said!r} was said"


def _settings_files() -> Any:
    text = Path("params.yaml").read_bytes()
    params = yaml.safe_load(text)
    dumped = mutating.documents(params).map(lambda pair: (str(pair[0])[:200], yaml.safe_dump(pair[1]).encode()))
    return any_of.one_of(mutating.contents(text), dumped)


def _settings_read(example: tuple[str, bytes]) -> Any:
    Path("other.yaml").write_bytes(example[1])
    return config.load((*_reads("calibrate"), "quantization"), MODEL, [], Path("other.yaml"))


def _not_as_written(example: tuple[str, bytes], settings: Any) -> str:
    written = yaml.load(example[1], Loader=Unique)
    for name in ("prompts", "calibration", "device", "quantization"):
        if not alike(config.as_dict(getattr(settings, name)), written[name]):
            return f"{name} is {config.as_dict(getattr(settings, name))}, where {written[name]} is written"
    return ""


KINDS = {
    "override": Kind(_overrides, _overridden, _not_as_said),
    "settings": Kind(_settings_files, _settings_read, _not_as_written),
}
