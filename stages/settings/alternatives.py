"""The quantization schemes of conf/, composed one by one: what there is to choose from for one and the same model.

Consumes conf/quantization and overrides of Hydra's grammar; produces the settings of each scheme, or the reason why
they do not hold together for it. Holds no values and selects nothing: params.yaml does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.settings import composing
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
    """The named schemes, all of conf/quantization without a name, each with `overrides` such as quantization.samples=8.

    ValueError for an unknown name, and for overrides that no scheme takes.
    """
    known = available(conf)
    for name in names:
        if name not in known:
            raise ValueError(
                f"scheme {name!r} is not in {conf / GROUP}{nearest(name, known)}; it has {', '.join(known)}"
            )
    _check(overrides)
    found = [_composed(name, overrides, conf) for name in dict.fromkeys(names or known)]
    if all(one.reason for one in found):
        raise ValueError(found[0].reason)
    return found


def _check(overrides: list[str]) -> None:
    for override in overrides:
        if not override.startswith(f"{GROUP}."):
            raise ValueError(f"{override}: of a scheme only its {GROUP}.* can be changed")
        if override.startswith((f"{GROUP}.name=", f"{GROUP}.scheme=")):
            raise ValueError(f"{override}: every scheme keeps its own; name schemes to compare fewer of them")


def _composed(name: str, overrides: list[str], conf: Path) -> Alternative:
    try:
        settings = composing.composed((GROUP,), [f"{GROUP}={name}", *overrides], conf)
    except ValueError as error:
        return Alternative(name, None, " ".join(str(error).split()))
    return Alternative(name, settings.quantization)
