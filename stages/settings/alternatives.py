"""The quantization schemes of conf/, composed one by one: what there is to choose from for one and the same model.

Consumes conf/quantization and overrides of Hydra's grammar; produces the settings of each scheme, or the reason why
they do not hold together for it. Holds no values and selects nothing: params.yaml does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.settings import composing
from stages.settings.schema import AT_REST, EFFECTS
from stages.settings.spelling import nearest

if TYPE_CHECKING:
    from stages.settings.schema import Quantization

GROUP = "quantization"


@dataclass(frozen=True)
class Alternative:
    """A file of conf/quantization by its name, with its settings or the reason why there are none."""

    name: str
    settings: Quantization | None
    reason: str | None = None


def available(conf: Path = composing.CONF) -> list[str]:
    return sorted(path.stem for path in (conf / GROUP).glob("*.yaml"))


def alternatives(names: list[str], overrides: list[str], conf: Path = composing.CONF) -> list[Alternative]:
    """The named schemes, all of conf/quantization without a name.

    An override such as quantization.samples=8 goes to the schemes that it has an effect in. ValueError for an unknown
    name, and for an override that no scheme takes.
    """
    known = available(conf)
    for name in names:
        if name not in known:
            raise ValueError(
                f"scheme {name!r} is not in {conf / GROUP}{nearest(name, known)}; it has {', '.join(known)}"
            )
    chosen = list(dict.fromkeys(names or known))
    plain = {name: _composed(name, [], conf) for name in chosen}
    suiting = {name: [one for one in overrides if _has_effect(one, plain[name])] for name in chosen}
    for override in overrides:
        _check(override)
        if not any(override in suited for suited in suiting.values()):
            raise ValueError(f"{override.partition('=')[0]} has no effect in {', '.join(chosen)}")
    found = [_composed(name, suiting[name], conf) if suiting[name] else plain[name] for name in chosen]
    if all(one.reason for one in found):
        raise ValueError(found[0].reason)
    return found


def _check(override: str) -> None:
    if not override.startswith(f"{GROUP}."):
        raise ValueError(f"{override}: of a scheme only its {GROUP}.* can be changed")
    if override.startswith((f"{GROUP}.name=", f"{GROUP}.scheme=")):
        raise ValueError(f"{override}: every scheme keeps its own; name schemes to compare fewer of them")


def _has_effect(override: str, plain: Alternative) -> bool:
    """Unknown settings have one: they are refused by name when they are composed."""
    key, *inner = override.partition("=")[0].removeprefix(f"{GROUP}.").split(".")
    if plain.settings is None or key not in AT_REST:
        return True
    return key in EFFECTS[plain.settings.scheme] and not (inner and getattr(plain.settings, key) is None)


def _composed(name: str, overrides: list[str], conf: Path) -> Alternative:
    try:
        settings = composing.composed((GROUP,), [f"{GROUP}={name}", *overrides], conf)
    except ValueError as error:
        return Alternative(name, None, " ".join(str(error).split()))
    return Alternative(name, settings.quantization)
