"""Settings of one stage: params.yaml and dotted overrides in, small typed dataclasses out, or an error within the first
second.

A stage names in READS what it reads; `load` checks the whole file but hands over only that, so that a stage cannot
depend on a setting which dvc.yaml does not track for it. Nothing here knows a model by name.
"""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from pathlib import Path
from typing import Annotated, Any

from stages.endings.guard import main_guard as main_guard
from stages.settings import checks, documents
from stages.settings.schema import SECTIONS, Model, Part, Settings
from stages.settings.spelling import nearest

PARAMS = Path("params.yaml")
MADE_ANEW = "`make params` writes this file anew out of conf/"
HOW = ("engine",)  # how a result is come by, and nothing of what it is: read by stages, tracked by none in dvc.yaml
CONF = Path("conf")
OPEN = "options"  # a mapping whose keys are not the schema's: an override may add to it
STAGES_FOR_ALL = ("describe", "scorer", "compare")  # these take no model key


def load(reads: tuple[str, ...], model: str | None, overrides: list[str], path: Path = PARAMS) -> Settings:
    """Settings of one stage: `load(("model.{model}.sampler", "prompts"), "mini-vega", ["prompts.seed=3"])`.

    Raises ValueError for a setting that is misspelt, mistyped or out of range, for an unknown model, and for an
    override that this stage would not read; FileNotFoundError where there is no params.yaml.
    """
    params = read(path)
    declared = [entry.format(model=model) for entry in reads]
    try:
        checks.check(params)
    except ValueError as error:
        raise ValueError(f"{path}: {error}. {MADE_ANEW}") from error
    for override in overrides:
        _apply(params, override, declared)
    if overrides:  # the file alone has been checked
        checks.check(params, model)
    if model is not None:
        checks.model_key(params["model"], model)
    return select(params, declared, model)


def read(path: Path = PARAMS) -> dict[str, Any]:
    """params.yaml as plain dictionaries, unchecked."""
    import yaml

    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run this in the repository's root, or `make params` to compose it")
    try:
        params = documents.load(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 (byte {error.start}): {MADE_ANEW}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a ValueError: 2026-13-45 is read as a date
        raise ValueError(f"{path} is not YAML ({_where(error)}): {MADE_ANEW}") from error
    if not isinstance(params, dict):
        raise ValueError(f"{path} must hold the sections {', '.join(['model', *SECTIONS])}: {MADE_ANEW}")
    return params


def _where(error: Exception) -> str:
    """`line 7: could not find expected ':'`; of merge conflicts, that they are such."""
    mark, what = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    if mark is None:
        return what.splitlines()[0] if what else type(error).__name__
    line = (mark.buffer or "").rstrip("\0").splitlines()[mark.line : mark.line + 1] if mark.buffer else []
    return f"line {mark.line + 1}: {what}{', in ' + repr(line[0][:40]) if line else ''}"


def arguments(stage: str, argv: list[str] | None) -> tuple[str | None, list[str]]:
    """Command line of a stage: a model key, where the stage works on one, then overrides such as benchmark.steps=2."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{stage}", allow_abbrev=False)
    if stage not in STAGES_FOR_ALL:
        parser.add_argument("model", help="a key under `model` in params.yaml, for instance mini-vega")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings for this run only")
    given = parser.parse_args(argv)
    return getattr(given, "model", None), given.overrides


def named_arguments(command: str, about: str, metavar: str, said: str, argv: list[str] | None) -> tuple[str, list[str]]:
    """Command line of a command on one model: its key, and words that the command reads; `about`: its docstring."""
    parser = argparse.ArgumentParser(prog=f"python -m stages.{command}", description=about.splitlines()[0])
    parser.add_argument("model", help="a key under `model` in params.yaml, for instance mini-vega")
    parser.add_argument("words", nargs="*", metavar=metavar, help=said)
    given = parser.parse_args(argv)
    return given.model, given.words


def as_dict(part: Any) -> Any:
    """Plain dictionaries and lists of a section, with the declared fields only."""
    if isinstance(part, Part):
        return {key: as_dict(value) for key, value in vars(part).items()}
    if isinstance(part, dict):
        return {key: as_dict(value) for key, value in part.items()}
    if isinstance(part, list | tuple):
        return [as_dict(value) for value in part]
    return part


def _apply(params: dict[str, Any], override: str, declared: list[str]) -> None:
    import yaml

    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ValueError(f"override {override!r} must look like key=value, for instance benchmark.steps=2")
    *parents, last = key.split(".")
    node: Any = params
    for depth, name in enumerate([*parents, last]):
        if isinstance(node, dict) and depth == len(parents) and parents[-1:] == [OPEN]:
            node.setdefault(name, None)
        if not isinstance(node, dict) or name not in node:
            known = list(node) if isinstance(node, dict) else []
            raise ValueError(checks.unknown(".".join([*parents, last][: depth + 1]), known))
        parent, node = node, node[name]
    if not any(key == entry or key.startswith(entry + ".") for entry in declared):
        raise ValueError(f"{key} has no effect here: this stage reads {', '.join(declared) or 'no settings'}")
    try:
        value = documents.load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"{key}: {text!r} is not YAML") from error
    if key in HOW and isinstance(value, str):
        value = _option(key, value)
    if isinstance(node, dict) and not isinstance(value, dict) and not (value is None and parents):
        inside = ", ".join(f"{key}.{name}" for name in node)
        raise ValueError(f"{key} is a group: set {inside}, or compose another one by `dvc exp run -S {key}={text}`")
    parent[last] = value


def _option(group: str, name: str) -> dict[str, Any]:
    """What conf/ has under this name; only of groups that no other group takes part in, and that hold values alone."""
    import yaml

    known = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    if name not in known:
        raise ValueError(f"{group} must be one of {', '.join(known)}; got {name!r}{nearest(name, known)}")
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text(encoding="utf-8"))


def select(params: dict[str, Any], declared: list[str], model: str | None) -> Settings:
    settings = object.__new__(Settings)
    settings.model_key = model
    for name, section in SECTIONS.items():
        if _reaches(name, declared):
            setattr(settings, name, _build(section, params[name], name, declared))
    if model is not None and _reaches(f"model.{model}", declared):
        settings.model = _build(Model, params["model"][model], f"model.{model}", declared)
    if "model" in declared:
        models = params["model"].items()
        settings.models = {key: _build(Model, value, f"model.{key}", declared) for key, value in models}
    return settings


def _reaches(key: str, declared: list[str]) -> bool:
    """Whether the declared keys hold `key` itself, something under it, or something above it."""
    return any(f"{key}.".startswith(f"{entry}.") or f"{entry}.".startswith(f"{key}.") for entry in declared)


def _build(kind: Any, value: Any, key: str, declared: list[str]) -> Any:
    """An instance of a dataclass with its declared fields; other values as they are (whole numbers made float)."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union) and value is not None:
        kind = next(option for option in typing.get_args(kind) if option is not types.NoneType)
    if typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) is list and dataclasses.is_dataclass(typing.get_args(kind)[0]):
        return [_build(typing.get_args(kind)[0], item, key, declared) for item in value]
    if value is None or not dataclasses.is_dataclass(kind):
        return float(value) if kind is float and value is not None else value
    part = object.__new__(kind)
    for name, hint in typing.get_type_hints(kind, include_extras=True).items():
        if _reaches(f"{key}.{name}", declared):
            setattr(part, name, _build(hint, value[name], f"{key}.{name}", declared))
    return part
