"""Latency statistics by hand and by a fake clock, and a machine that is busy by counters and in truth."""

import json
import os
import subprocess
import sys

import psutil
import pytest

from stages.measurement import latency


class Clock:
    """A clock that stands still but for what the calls under test add to it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def taking(self, *seconds):
        durations = iter(seconds)

        def call():
            self.now += next(durations)

        return call


def test_statistics_keep_their_raw_values():
    assert latency.latency([3.0, 1.0, 2.0]) == {"median": 2.0, "p90": 2.8, "min": 1.0, "n": 3, "raw": [3.0, 1.0, 2.0]}


def test_no_measurement_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        latency.latency([])


def test_warm_up_is_not_counted_and_turns_alternate():
    clock, order = Clock(), []
    calls = {"a": clock.taking(9, 1, 2), "b": clock.taking(9, 3, 4)}
    noted = {name: (lambda name=name, call=call: (order.append(name), call())) for name, call in calls.items()}
    seconds = latency.interleaved(noted, repetitions=2, warmup=1, clock=clock)
    assert seconds == {"a": [1, 2], "b": [3, 4]}
    assert order == ["a", "b"] * 3


def test_a_short_call_runs_once_untimed_before_it_is_timed():
    clock = Clock()
    calls = {"short": clock.taking(0.1, 9, 0.1, 9, 0.1), "long": clock.taking(2, 3, 4)}
    seconds = latency.interleaved(calls, repetitions=2, warmup=1, prime_below_s=1.0, clock=clock)
    assert seconds == {"short": [pytest.approx(0.1)] * 2, "long": [3, 4]}


def test_short_calls_are_repeated_until_enough_is_measured():
    clock = Clock()
    seconds = latency.interleaved(
        {"a": clock.taking(*[0.25] * 20)}, repetitions=2, warmup=0, at_least_s=1.0, clock=clock
    )
    assert len(seconds["a"]) == 4


def test_repetition_ends_at_its_most():
    clock = Clock()
    calls = {"a": clock.taking(*[0.25] * 20)}
    assert len(latency.interleaved(calls, repetitions=2, warmup=0, at_least_s=99, at_most=5, clock=clock)["a"]) == 5


def test_the_stopwatch_returns_the_result_and_the_seconds_of_the_call_alone():
    clock = Clock()
    clock.now = 100.0
    call = clock.taking(2.5)
    assert latency.stopwatch(lambda: (call(), "done")[1], clock) == ("done", 2.5)


def test_a_speedup_is_the_median_ratio_of_the_pairs():
    assert latency.speedup([4, 6, 40], [2, 2, 20]) == {"ratio": 2.0, "low": 2.0, "high": 3.0}


def test_pairing_takes_out_what_slows_both():
    busy = [1, 10, 3, 7, 2, 5, 8, 4]
    assert latency.speedup([2 * s for s in busy], busy) == {"ratio": 2.0, "low": 2.0, "high": 2.0}


def test_the_interval_is_the_same_every_time_and_holds_the_ratio():
    before, after = [1.9, 2.2, 2.0, 2.4, 1.8, 2.1], [1.0, 1.1, 0.9, 1.2, 1.0, 1.0]
    first = latency.speedup(before, after)
    assert first == latency.speedup(before, after)
    assert first["low"] <= first["ratio"] <= first["high"]
    assert first["low"] < first["high"]


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="got 2 and 1"):
        latency.speedup([1, 2], [1])


@pytest.mark.parametrize(
    ("after", "others", "steal", "flagged"),
    [((110, 30, 0), 0.05, 0.0, False), ((110, 32, 0), 0.25, 0.0, True), ((110, 29.5, 1), 0.0, 0.1, True)],
)
def test_a_busy_machine_is_flagged(after, others, steal, flagged):
    readings = iter([(100, 29.5, 0), after])
    with latency.disturbance(0.4, lambda: next(readings)) as found:
        pass
    assert found == {"load": 0.4, "others": others, "steal": steal, "flagged": flagged}


RIVAL = r"""
import json, os, subprocess, sys, time
from stages.measurement import latency
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
loop = "print(flush=True)\nwhile True: pass"
rival = subprocess.Popen([sys.executable, "-c", loop], stdout=subprocess.PIPE)
rival.stdout.readline()
try:
    with latency.disturbance(0.0) as found:
        enough = time.process_time() + 0.5  # seconds of our own, however long they take
        while time.process_time() < enough:
            sum(range(1000))
finally:
    rival.kill()
    rival.wait()
print(json.dumps(found))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to a processor")
def test_a_rival_on_the_same_processor_is_flagged_however_many_others_there_are():
    done = subprocess.run([sys.executable, "-c", RIVAL], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["flagged"] is True
    assert found["others"] > latency.BUSY, "half of the one processor that both may use, were nothing else running"


def test_the_processors_that_count_are_those_that_may_be_used(monkeypatch):
    """By hand: three processors, of which the first and the last are ours."""
    fields = dict.fromkeys(psutil.cpu_times()._fields, 0.0)
    kind = type(psutil.cpu_times())
    processors = [kind(**fields | {"user": user, "idle": idle}) for user, idle in ((30, 70), (100, 0), (20, 80))]
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: processors)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2}, raising=False)
    monkeypatch.setattr(os, "times", lambda: (5.0, 1.0, 2.0, 0.0, 0.0))
    assert latency.processor_seconds() == (200.0, 50.0 - 8.0, 0.0)


def test_other_processes_seconds_are_counted_without_our_own():
    total, others, steal = latency.processor_seconds()
    assert total > 0 and steal >= 0
    assert others < total


def test_a_speed_up_of_runs_apart_is_the_ratio_of_their_medians():
    found = latency.speedup_apart([4.0, 4.0, 8.0], [2.0, 2.0, 2.0, 2.0])
    assert found["ratio"] == 2.0
    assert found["low"] == 2.0 and found["high"] == 4.0, "the scatter of one side alone"
    with pytest.raises(ValueError, match="needs values before and after"):
        latency.speedup_apart([], [1.0])
