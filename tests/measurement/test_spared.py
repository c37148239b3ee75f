"""What comparing speeds takes, foretold: as much of every step as is evaluated, in turns, within the time given."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stages.machine import sizes
from stages.machine.memory import INT8, Request
from stages.measurement import spared
from stages.settings import speeds

OWN = SimpleNamespace(steps=12, guidance=5.0, scheduler="EulerDiscreteScheduler", options={})
ASKED = Request(512, 2, "f32")
FOUND = sizes.of_architecture("vega")


@pytest.fixture(autouse=True)
def whole_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of one second, a decoding of two, nothing for loading."""
    monkeypatch.setattr(spared.speeds_of, "step_s", lambda *_: 1.0)
    monkeypatch.setattr(spared.speeds_of, "decode_s", lambda *_: 2.0)
    monkeypatch.setattr(spared, "costs", lambda: {"load_s": 0})


@pytest.mark.parametrize(
    "words, seconds",
    [
        ("evaluate_every=3", 8 + 2),
        ("deep_every=2", 6 + 6 * spared.SHALLOW + 2),
        ("guidance_interval=[0,0.5]", 6 / 2 + 6 + 2),  # from noise 1000 down in twelfths: 6 of them are above 500
        ("steps=10", 10 + 2),
        ("decoder=tiny", 12 + 2 * 0.03),
    ],
)
def test_a_picture_takes_what_is_evaluated_of_it(words: str, seconds: float) -> None:
    (_, way) = speeds.ways([words])
    assert spared.picture_s(OWN, way.speed, FOUND["unet"], ASKED, INT8) == pytest.approx(seconds)


def test_prompts_after_the_first_are_as_many_as_the_minutes_hold() -> None:
    ways = speeds.ways(["evaluate_every=3"])
    pictures, short, first = 14 + 14 + 10, 3 * (2 + 2), 2 * (2 + 2) + 10
    for minutes, count in ((0.1, 1), (2, 3), (None, 8)):
        how = SimpleNamespace(minutes=minutes, prompts=8)
        taken = spared.foretold(OWN, ways, FOUND, ASKED, how)
        assert taken == pytest.approx(count * pictures + first + (count - 1) * short)
    assert spared.foretold(OWN, ways[:1], FOUND, ASKED, how) == 0
