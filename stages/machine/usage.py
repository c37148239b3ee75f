"""What stages took on this machine: printed before as what they need, recorded after, and used to foretell better.

Consumes a budget and the stage's run; produces reports/stages/<stage>/<model>.json, one per stage and model, the last
run's. Not part of a stage's result: nothing depends on it but later forecasts.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stages.endings import causes
from stages.files import disk, layout, placing
from stages.machine import apart, budget, description
from stages.machine.budget import Need

REPORTS = layout.REPORTS / "stages"
WATCHER = Path(__file__).with_name("watcher.py")
LIGHTER = {  # settings that take less memory
    "calibrate": "calibration.unet=int8-weights",
    "quantize": "quantization=int8-weights",
    "benchmark": "device.decode=tiles",
}
NEAR = 6  # times as long, or a sixth: another model's run that tells something of this one's


@contextmanager
def recorded(stage: str, model: str, need: Need, folder: Path, **facts: Any) -> Iterator[None]:
    """Say what the block will need, refuse what cannot work, and afterwards record what it took."""
    foretold = corrected(stage, model, need)
    budget.require(foretold, f"{stage} {model}", folder)
    print(f"{stage} {model}: {announcement(foretold)}", file=sys.stderr)
    start = time.perf_counter()
    with _watched(f"{stage} {model}", foretold.memory_gb) as seen:
        yield
    taken = {"seconds": round(time.perf_counter() - start, 1), **seen}
    record = {"machine": description.describe()["id"], "taken": taken, "estimate": asdict(need), "facts": facts}
    placing.write_text(REPORTS / stage / f"{model}.json", json.dumps(record, indent=1) + "\n")


@contextmanager
def _watched(what: str, foretold_gb: float) -> Iterator[dict[str, float]]:
    """Fill the yielded dictionary with peaks of memory; where the block fails for memory, they go with the error."""
    seen: dict[str, float] = {}
    watcher = subprocess.Popen(
        [sys.executable, "-I", str(WATCHER), str(os.getpid()), what, str(foretold_gb)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,  # Ctrl-C is not for it
    )
    try:
        yield seen
    except BaseException as error:
        with suppress(MemoryError, OSError, RuntimeError, ValueError):  # where nothing is left, not even for this
            seen |= _told_by(watcher)
        if isinstance(error, apart.Ended) or causes.lacks_memory(error):
            peak = f", {seen['anonymous_gb']:.1f} GB were seen" if seen.get("anonymous_gb", 0) >= 0.05 else ""
            way = f", {LIGHTER[what.split()[0]]} takes less" if what.split()[0] in LIGHTER else ""
            error.add_note(f"{foretold_gb:.1f} GB were foretold{peak}{way}")
        raise
    seen |= _told_by(watcher)


def _told_by(watcher: subprocess.Popen[str]) -> dict[str, float]:
    said, _ = watcher.communicate("done\n")
    return json.loads(said or "{}")


def taken_s(stage: str, model: str, **facts: Any) -> float | None:
    """Seconds that the last run of the stage took on this machine, if it was recorded with these facts."""
    record = _read(REPORTS / stage / f"{model}.json")
    return record["taken"]["seconds"] if record and facts.items() <= record["facts"].items() else None


def corrected(stage: str, model: str, need: Need) -> Need:
    """The estimate times what an earlier run of the stage took of its own: this model's, else that of the nearest."""
    records = {path.stem: record for path in (REPORTS / stage).glob("*.json") if (record := _read(path))}
    record, own = records.get(model), model in records
    if not own and need.seconds:
        near = [one for one in records.values() if _apart(one, need.seconds) <= math.log(NEAR)]
        record = min(near, key=lambda one: _apart(one, need.seconds), default=None)
    if record is None:
        return need
    taken, estimate = record["taken"], record["estimate"]
    seconds = need.seconds and need.seconds * _within(taken["seconds"] / (estimate["seconds"] or taken["seconds"]))
    if not own or need.takes_more:  # another model's memory tells nothing; nor does that of a run that took all
        return replace(need, seconds=seconds)
    return replace(
        need, seconds=seconds, memory_gb=need.memory_gb * _within(taken["anonymous_gb"] / estimate["memory_gb"])
    )


def announcement(need: Need) -> str:
    """`needs 2.8 GB of memory, 6.9 GB of disk, about 85 s; there are 21.0 and 40.2 GB`"""
    free = disk.free_bytes(Path.cwd() / "artifacts") / 1e9
    seconds = f", about {duration(need.seconds)}" if need.seconds is not None else ""
    return (
        f"needs {need.memory_gb:.1f} GB of memory, {need.disk_gb:.1f} GB of disk{seconds}; "
        f"there are {description.available_memory_gb():.1f} and {free:.1f} GB"
    )


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.4 h`"""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _read(path: Path) -> dict[str, Any] | None:
    """A record of this machine; others' and broken ones say nothing here."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        usable = record["machine"] == description.describe()["id"] and record["taken"]["anonymous_gb"] > 0
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if usable else None


def _apart(record: dict[str, Any], seconds: float) -> float:
    estimated = record["estimate"]["seconds"]
    return abs(math.log(estimated / seconds)) if estimated else math.inf


def _within(ratio: float) -> float:
    """Beyond a factor of four it was another kind of run."""
    return min(4.0, max(0.25, ratio))
