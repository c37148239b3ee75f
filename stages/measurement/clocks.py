"""Whether the stopwatch runs as fast as the system's own count of time: a slowed one would make everything fast.

Consumes the clock that figures were timed by; produces the seconds of a block by both, for the record. Times nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

UPTIME = Path("/proc/uptime")
SHARE, SLACK_S = 0.02, 0.25  # beyond which two clocks disagree; the slack is for what happens between two readings


def system_seconds(uptime: Path = UPTIME) -> float:
    """Seconds since the system started, to a hundredth, as the kernel writes them into a file: nothing that replaces a
    process's clock functions replaces this. Elsewhere the clock that no time server adjusts, or the calendar's.

    All of them go by the same oscillator: one that is wrong itself is not to be found from inside the machine.
    """
    if uptime.is_file():
        return float(uptime.read_text().split()[0])
    return time.clock_gettime(time.CLOCK_MONOTONIC_RAW) if hasattr(time, "CLOCK_MONOTONIC_RAW") else time.time()


@contextmanager
def compared(
    stopwatch: Callable[[], float], system: Callable[[], float] = system_seconds
) -> Iterator[dict[str, float | bool]]:
    """Seconds that the block took by both clocks, and whether they agree; the dictionary is filled when it ends."""
    found: dict[str, float | bool] = {}
    system_start, start = system(), stopwatch()
    yield found
    seconds, expected = stopwatch() - start, system() - system_start
    found |= {"stopwatch_s": round(seconds, 2), "system_s": round(expected, 2)}
    found["agrees"] = abs(seconds - expected) <= SHARE * expected + SLACK_S


def doubt(found: dict[str, Any] | None) -> str | None:
    """A sentence where the clocks disagreed; None too of a record without them."""
    if not found or found["agrees"]:
        return None
    return (
        f"the stopwatch counted {found['stopwatch_s']:.1f} s where the system counted {found['system_s']:.1f}: no time "
        "or speed of this run is to be trusted (a clock at another pace, or a machine that slept meanwhile)"
    )
