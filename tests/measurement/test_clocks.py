"""A stopwatch at another pace than the system's count is found and doubted in words."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from stages.measurement import clocks, doubts


def compared(stopwatch: list[float], system: list[float]) -> dict:
    one, other = iter(stopwatch), iter(system)
    with clocks.compared(lambda: next(one), lambda: next(other)) as found:
        assert found == {}
    return found


def record(clock: dict | None) -> dict:
    return {"random_weights": True, "precisions": {}, "clock": clock}


def test_clocks_that_agree_are_not_doubted() -> None:
    found = compared([5.0, 65.0], [1000.0, 1060.2])
    assert found == {"stopwatch_s": 60.0, "system_s": 60.2, "agrees": True}
    assert doubts.doubts(record(found)) == doubts.doubts(record(None)) == []


@pytest.mark.parametrize("end", [35.0, 125.0, 63.0])
def test_a_clock_at_half_or_twice_the_pace_or_a_twentieth_off_is_doubted(end: float) -> None:
    found = compared([5.0, end], [1000.0, 1060.0])
    assert found["agrees"] is False
    (said,) = doubts.doubts(record(found))
    assert said.startswith(f"the stopwatch counted {end - 5:.1f} s where the system counted 60.0: no time or speed")


def test_a_short_block_is_allowed_what_happens_between_two_readings() -> None:
    assert compared([0.0, 0.1], [0.0, 0.3])["agrees"] is True
    assert compared([0.0, 1.0], [0.0, 2.0])["agrees"] is False


def test_the_systems_count_goes_up_and_is_not_the_stopwatchs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uptime").write_text("350735.47 234388.90\n")
    assert clocks.system_seconds(tmp_path / "uptime") == 350735.47
    monkeypatch.setattr(time, "perf_counter", lambda: 0.0)
    for uptime in (clocks.UPTIME, tmp_path / "absent"):
        first = clocks.system_seconds(uptime)
        time.sleep(0.05)
        assert clocks.system_seconds(uptime) > first
