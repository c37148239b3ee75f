"""Checks of params.yaml: every key known and present, every value of its type and in its range, the whole consistent.

Consumes the plain dictionaries of params.yaml and raises ValueError with the full key, the value and what is allowed
for the first mistake. Knows the shape from stages.settings.schema; does not read files.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Annotated, Any, Literal

from stages.settings import consistency
from stages.settings.schema import LAYOUT, SECTIONS, Model
from stages.settings.spelling import nearest


def check(params: dict[str, Any], running: str | None = None) -> None:
    """Raise ValueError, with the full key, on the first setting of the whole file that is not allowed.

    `running`: the one model that will be drawn with these settings; all of them without.
    """
    _check_keys("", params, ["layout", "model", *SECTIONS])
    if params["layout"] != LAYOUT:
        raise ValueError(f"layout must be {LAYOUT}, got {params['layout']!r}: these are settings of another version")
    for name, section in SECTIONS.items():
        _check(section, params[name], name)
    if not isinstance(params["model"], dict) or not params["model"]:
        raise ValueError("model must name at least one model, for instance -S 'model=[mini-vega]'")
    for key, model in params["model"].items():
        _check(Model, model, f"model.{key}")
    consistency.check(params, running)


def section(name: str, values: dict[str, Any]) -> None:
    """The same of one section by itself."""
    _check(SECTIONS[name], values, name)
    consistency.section(name, values)


def _check(kind: Any, value: Any, key: str) -> None:
    """Check `value` against an annotation: a dataclass, Literal, Annotated[number, Range], list[...], X | None."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        _check_keys(key, value, list(hints))
        for name, hint in hints.items():
            _check(hint, value[name], f"{key}.{name}")
        return
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is not None:
            _check(next(option for option in inner if option is not types.NoneType), value, key)
    elif origin is Literal:
        if value not in inner:
            raise ValueError(_not_allowed(key, value, list(inner)))
    elif origin is Annotated:
        _check(inner[0], value, key)
        if not inner[1].holds(value):
            raise ValueError(f"{key} must be {inner[1]}, got {value!r}")
    elif origin is dict:
        _check(dict, value, key)
    elif origin is list:
        _check(list, value, key)
        for index, item in enumerate(value):
            _check(inner[0], item, f"{key}[{index}]")
    elif not _is_a(value, kind):
        raise ValueError(f"{key} must be {_NAMES[kind]}, got {value!r}")


_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list",
    dict: "a mapping",
}


def _is_a(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) if kind is float else isinstance(value, kind)


def _check_keys(key: str, value: Any, fields: list[str]) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{key or 'params.yaml'} must hold {', '.join(fields)}, got {value!r}")
    prefix = f"{key}." if key else ""
    for name in value:
        if name not in fields:
            raise ValueError(unknown(f"{prefix}{name}", fields))
    for name in fields:
        if name not in value:
            raise ValueError(f"{prefix}{name} is missing; allowed in {key or 'params.yaml'}: {', '.join(fields)}")


def model_key(models: dict[str, Any], model: str) -> None:
    if model not in models:
        near = nearest(model, models)
        raise ValueError(f"model {model!r} is not selected in params.yaml{near}; selected: {', '.join(models)}")


def unknown(key: str, known: list[str]) -> str:
    return f"{key} is not a setting{nearest(key.rpartition('.')[2], known)}; allowed: {', '.join(known) or 'nothing'}"


def _not_allowed(key: str, value: Any, allowed: list[str]) -> str:
    return f"{key} must be one of {', '.join(allowed)}; got {value!r}{nearest(value, allowed)}"
