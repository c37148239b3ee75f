"""Latency: what is compared is run in turns (A B A B), so that a busy machine slows all of it alike.

Consumes functions to call; produces statistics that keep their raw values, the interval of a speed-up that the
pairing supports, and how much others disturbed the measurement. Warm-up runs are never counted. Knows no model.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

RESAMPLES = 2000
BUSY, STOLEN = 0.10, 0.05  # shares of processor time taken by others from which on figures are flagged
DIGITS = 7  # of a second: a tenth of a microsecond


def latency(seconds: Sequence[float]) -> dict[str, Any]:
    """`latency([3, 1, 2])` is {"median": 2, "p90": 2.8, "min": 1, "n": 3, "raw": [3, 1, 2]}, in seconds."""
    if not seconds:
        raise ValueError("latency needs at least one measurement")
    return {
        "median": round(float(np.median(seconds)), DIGITS),
        "p90": round(float(np.percentile(seconds, 90)), DIGITS),
        "min": round(float(min(seconds)), DIGITS),
        "n": len(seconds),
        "raw": [round(float(value), DIGITS) for value in seconds],
    }


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    *,
    repetitions: int,
    warmup: int,
    at_least_s: float = 0.0,
    at_most: int = 100,
    prime_below_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each call, measured in turns: the n-th value of one belongs with the n-th value of another.

    Goes on past `repetitions` turns until `at_least_s` seconds are measured or `at_most` turns are done: short calls
    need many turns for a narrow interval. A call that took less than `prime_below_s` in its last warm-up, or where
    there was none when it was first timed, is run untimed before each timed run: in a loop of steps a small model finds
    its own weights in the processor's caches, in turns with another one it would find the other's.
    """
    primed: dict[str, bool] = {}
    for _ in range(warmup):
        for name, call in calls.items():
            primed[name] = stopwatch(call, clock)[1] < prime_below_s
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    turns = 0
    while turns < repetitions or (turns < at_most and sum(map(sum, seconds.values())) < at_least_s):
        for name, call in calls.items():
            if primed.get(name):
                call()
            seconds[name].append(stopwatch(call, clock)[1])
            primed.setdefault(name, seconds[name][0] < prime_below_s)
        turns += 1
    return seconds


def stopwatch(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> tuple[Any, float]:
    """What `call` returns and the seconds that it took."""
    start = clock()
    result = call()
    return result, clock() - start


@contextmanager
def disturbance(load: float, clock: Callable[[], Sequence[float]] | None = None) -> Iterator[dict[str, Any]]:
    """What slowed the block down: shares of all processor time that other processes (`others`) and other guests of
    the host (`steal`) took while it ran, next to the `load` before it; `flagged` where either is too much.

    `clock` gives seconds so far of all processors: (in all, of other processes, stolen).
    """
    clock = clock or processor_seconds
    found: dict[str, Any] = {"load": round(load, 2)}
    before = clock()
    yield found
    total, others, steal = (now - then for now, then in zip(clock(), before, strict=True))
    found["others"] = round(max(0.0, others) / max(total, 1e-9), 3)
    found["steal"] = round(max(0.0, steal) / max(total, 1e-9), 3)
    found["flagged"] = found["others"] > BUSY or found["steal"] > STOLEN


def processor_seconds() -> tuple[float, float, float]:
    """Seconds so far of the processors that this process may use: in all, used by other processes than this one, stolen
    by the host. A rival on one of two is half of them, however many the machine has beside them."""
    import psutil

    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    every = enumerate(psutil.cpu_times(percpu=True))
    mine = [times for number, times in every if allowed is None or number in allowed] or [psutil.cpu_times()]
    total = idle = steal = 0.0
    for times in mine:
        guests = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # counted as user time already
        total += sum(times) - guests
        idle += times.idle + getattr(times, "iowait", 0.0)
        steal += getattr(times, "steal", 0.0)
    return total, total - idle - steal - sum(os.times()[:4]), steal


def speedup(before: Sequence[float], after: Sequence[float], seed: int = 0) -> dict[str, float]:
    """How many times faster `after` is: the median of the pairs' ratios and its 95 % interval.

    The interval is the percentile bootstrap over pairs (Efron and Tibshirani, An Introduction to the Bootstrap, 1993,
    section 13.3), the same for the same values.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"a paired speed-up needs as many values before as after, got {len(before)} and {len(after)}")
    ratios = np.asarray(before, dtype=float) / np.asarray(after, dtype=float)
    picks = np.random.default_rng(seed).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[picks], axis=1), [2.5, 97.5])
    return {"ratio": round(float(np.median(ratios)), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def speedup_apart(before: Sequence[float], after: Sequence[float], seed: int = 0) -> dict[str, float]:
    """The same of runs that could not take turns: the ratio of the medians, its interval wider by both scatters."""
    if not before or not after:
        raise ValueError("a speed-up needs values before and after")
    random = np.random.default_rng(seed)
    medians = [
        np.median(np.asarray(values, dtype=float)[random.integers(len(values), size=(RESAMPLES, len(values)))], axis=1)
        for values in (before, after)
    ]
    low, high = np.percentile(medians[0] / medians[1], [2.5, 97.5])
    ratio = float(np.median(before)) / float(np.median(after))
    return {"ratio": round(ratio, 4), "low": round(float(low), 4), "high": round(float(high), 4)}
