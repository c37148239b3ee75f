"""kill -9 at a random moment of a random stage, again and again; then the stage once more, undisturbed.

Consumes a project; produces a verdict for each: the same files with the same bytes as a run that nobody disturbed, and
no file more. What two undisturbed runs leave different (times) is compared by name alone.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.soak import project
from tests.soak.judging import RIGHT, STUCK, TRACEBACK, WRONG, Verdict

KILLED = ("download", "export", "calibrate", "quantize", "scorer", "benchmark")
MEASURED = "reports/stages/"  # times and memory, which are now and then the same twice
AGAIN = 0.4  # how often one that was killed is killed once more
LATEST = 1.1  # of an undisturbed run's time
LONGEST_S = 300


@dataclass(frozen=True)
class Undisturbed:
    before: Path  # the project as the stage finds it
    digests: dict[str, str]  # of what is there afterwards, "" of what differs from run to run
    seconds: float


def undisturbed(folder: Path, stage: str, before: Path) -> Undisturbed:
    """Two runs side by side; RuntimeError where one fails."""
    found = []
    for number in range(2):
        place = folder / f"undisturbed-{stage}-{number}" / "project"
        shutil.copytree(before, place, symlinks=True)
        start = time.perf_counter()
        if status := project.run(place, stage):
            raise RuntimeError(f"{stage} ends with {status}: {(place.parent / 'said').read_text()}")
        found.append((digests(place), time.perf_counter() - start, place))
    (one, seconds, _), (other, _, place) = found
    if one.keys() != other.keys():
        raise RuntimeError(f"two runs of {stage} leave other files: {sorted(one.keys() ^ other.keys())}")
    same = {name: digest if other[name] == digest else "" for name, digest in one.items()}
    same |= dict.fromkeys((name for name in same if name.startswith(MEASURED)), "")
    shutil.rmtree(place.parent)
    return Undisturbed(before, same, seconds)


def trial(folder: Path, stage: str, calm: Undisturbed, seed: str) -> Verdict:
    chance = random.Random(seed)
    place = folder / f"killed-{stage}" / "project"
    shutil.rmtree(place.parent, ignore_errors=True)
    shutil.copytree(calm.before, place, symlinks=True)
    moments = []
    while not moments or chance.random() < AGAIN:
        moments.append(round(chance.uniform(0, LATEST * calm.seconds), 3))
        kill_at(place, stage, moments[-1], group=chance.random() < 0.5)
    number = project.forked(project.main, place, stage)
    status = ended(number, LONGEST_S)
    said = f"killed after {moments} of {calm.seconds:.1f} s; "
    if status is None:
        return Verdict(STUCK, f"{said}the run after it does not end in {LONGEST_S} s")
    if status:
        return Verdict(TRACEBACK, f"{said}the run after it ends with {status}: {(place.parent / 'said').read_text()}")
    fault = differences(calm.digests, digests(place))
    return Verdict(WRONG, said + fault) if fault else Verdict(RIGHT, "")


def kill_at(place: Path, stage: str, seconds: float, group: bool) -> None:
    """The stage alone, whose children must end by themselves, or all of them."""
    number = project.forked(project.main, place, stage)
    time.sleep(seconds)
    if os.waitpid(number, os.WNOHANG)[0]:
        return  # it was faster
    (os.killpg if group else os.kill)(number, signal.SIGKILL)
    os.waitpid(number, 0)


def ended(number: int, seconds: float) -> int | None:
    """Exit status, None of a process that has to be killed."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(number, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(number, signal.SIGKILL)
    os.waitpid(number, 0)
    return None


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its name, hidden ones too."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(calm: dict[str, str], found: dict[str, str]) -> str:
    missing, more = sorted(calm.keys() - found.keys()), sorted(found.keys() - calm.keys())
    other = [name for name, digest in calm.items() if digest and name in found and found[name] != digest]
    told = {"missing": missing, "left over": more, "of other bytes": other}
    return "; ".join(f"{what}: {', '.join(names[:5])}" for what, names in told.items() if names)
