"""Speeds: what a picture is spared, out of conf/speed, each as a whole and setting by setting.

Consumes conf/speed and words of the command line; produces `Speed`s, and the sampler that one of them makes of a
model's own. Nothing here draws.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stages.files import names
from stages.settings import checks, composing, config, documents
from stages.settings.schema import EXACT, FEW_STEPS
from stages.settings.spelling import nearest

if TYPE_CHECKING:
    from stages.settings.schema import Sampler, Speed

GROUP, PLAIN = "speed", "exact"
COMMA = re.compile(r",(?![^\[{]*[\]}])")  # between settings, and not inside of one
FILE = Path(__file__).with_name("speeds.yaml")


@dataclass(frozen=True)
class Way:
    """A speed by the name that tables give it: one of conf/speed, or `exact` with one thing changed."""

    name: str
    speed: Speed


def available(conf: Path = composing.CONF) -> list[str]:
    return sorted(path.stem for path in (conf / GROUP).glob("*.yaml"))


def listed() -> dict[str, str]:
    """Settings that are worth a row of their own, by the name of that row: see speeds.yaml."""
    import yaml

    return yaml.safe_load(FILE.read_text(encoding="utf-8"))["alone"]


def selected(speed: Speed) -> list[Way]:
    """`exact`, and the speed of the settings, unless that spares nothing either."""
    exact = copy.copy(speed)
    vars(exact).update(EXACT, name=PLAIN)
    return [Way(PLAIN, exact), *([Way(speed.name, speed)] if changes(speed) else [])]


def changes(speed: Speed) -> dict[str, object]:
    """What a speed has other than `exact`."""
    return {name: getattr(speed, name) for name, value in EXACT.items() if getattr(speed, name) != value}


def ways(words: list[str], conf: Path = composing.CONF) -> list[Way]:
    """`exact`, then what the words say: a file of conf/speed, or one setting alone such as evaluate_every=3.

    Without words: what speeds.yaml lists, each by itself, then every file. ValueError for an unknown name or setting.
    """
    known = [name for name in available(conf) if name != PLAIN]
    for word in words:
        if "=" not in word and word not in known:
            raise ValueError(
                f"speed {word!r} is not in {conf / GROUP}{nearest(word, known)}; it has {', '.join(known)}"
            )
    plain = composing.composed((GROUP,), [], conf).speed
    found = [Way(PLAIN, plain)]
    asked = dict(zip(words, words, strict=True)) if words else listed() | dict(zip(known, known, strict=True))
    for name, word in asked.items():
        file = word in known
        speed = composing.composed((GROUP,), [f"{GROUP}={word}"], conf).speed if file else _changed(plain, word)
        found.append(Way(name, speed))
    return found


def apart(own: Sampler, ways: list[Way]) -> list[Way]:
    """Those that draw otherwise than the ones before them, with this sampler: few-step models have little to spare."""
    found: dict[str, Way] = {}
    for way in ways:
        found.setdefault(effective(own, way.speed), way)
    return list(found.values())


def sampler(own: Sampler, speed: Speed) -> Sampler:
    """A model's sampler at this speed: fewer steps and the scheduler for them, where it has many to spare."""
    if speed.steps is None or own.steps <= max(FEW_STEPS, speed.steps):
        return own
    found = copy.copy(own)
    found.steps = speed.steps
    if speed.scheduler:
        found.scheduler, found.options = speed.scheduler, dict(speed.options)
    return found


def spares(speed: Speed) -> bool:
    """Whether evaluations are spared within a picture."""
    return bool(speed.guidance_interval or speed.evaluate_every or speed.deep_every)


def within(own: Sampler, speed: Speed) -> Speed:
    """The speed as a model with this sampler is drawn: one that was made for few steps is spared no evaluation."""
    if own.steps > FEW_STEPS:
        return speed
    found = copy.copy(speed)
    found.guidance_interval = found.evaluate_every = found.deep_every = None
    return found


def effective(own: Sampler, speed: Speed) -> str:
    """All that a speed comes to for a model with this sampler, as text: two of one text draw the same."""
    drawn, spared = sampler(own, speed), within(own, speed)
    parts = {name: getattr(spared, name) for name in EXACT if name not in ("scheduler", "options", "steps")}
    if own.guidance <= 1:  # there is one row anyway
        parts |= {"guidance_interval": None}
    return str((drawn.scheduler, drawn.options, drawn.steps, parts))


def _changed(plain: Speed, word: str) -> Speed:
    """`exact` with what a word says, such as `evaluate_every=3` or `steps=12,scheduler=UniPCMultistepScheduler`."""
    import yaml

    values, parts = config.as_dict(plain), [part.partition("=") for part in COMMA.split(word)]
    if twice := names.repeated(name for name, _, _ in parts):
        raise ValueError(f"{GROUP}.{twice} stands twice in {word!r}")
    for name, _, text in parts:
        if name not in EXACT:
            raise ValueError(checks.unknown(f"{GROUP}.{name}", list(EXACT)))
        try:
            values[name] = documents.load(text.replace(":", ": "))
        except yaml.YAMLError as error:
            raise ValueError(f"{GROUP}.{name}: {text!r} is not YAML") from error
    checks.section(GROUP, values)
    return config.select({GROUP: values}, [GROUP], None).speed
