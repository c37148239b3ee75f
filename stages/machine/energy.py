"""Joules that the processor's packages take, where the system lets them be read: Intel's RAPL (AMD's too) on Linux.

Consumes the counters under /sys/class/powercap; produces the joules of a call, or the reason why there are none. A
counter is of the whole package: every core, its caches, the graphics on the same chip, at rest too, and whatever other
processes do meanwhile. Memory, disks, fans and the power supply's losses are not in it. Since Linux 5.10 root alone may
read it (CVE-2020-8694). Estimates nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
PACKAGE = re.compile(r"intel-rapl:\d+")  # its parts are intel-rapl:0:1; intel-rapl-mmio:0 is the same package again


class Unreadable(Exception):
    """Why there is nothing to read."""


@dataclass(frozen=True)
class Package:
    """One processor package's counter: microjoules that go up to `range_uj` and begin again at 0."""

    folder: Path
    name: str
    range_uj: int

    def read_uj(self) -> int:
        return int((self.folder / "energy_uj").read_text())


def packages(root: Path) -> list[Package]:
    """Every package under `root` that has a counter, all of them readable; `Unreadable` says why not."""
    if not root.is_dir():
        raise Unreadable(f"no powercap here ({root}): a virtual machine, or a system without it")
    found = []
    for folder in sorted(path for path in root.iterdir() if PACKAGE.fullmatch(path.name)):
        try:
            name = (folder / "name").read_text().strip()
            if name.startswith("package"):  # not psys, which has the packages in it
                found.append(Package(folder, name, int((folder / "max_energy_range_uj").read_text())))
                found[-1].read_uj()
        except PermissionError as error:
            raise Unreadable(f"{error.filename} may not be read by this user: 'sudo chmod a+r' it") from error
        except (OSError, ValueError) as error:
            raise Unreadable(f"{folder} has no counter ({error})") from error
    if not found:
        raise Unreadable(f"no package of intel-rapl under {root}")
    return found


def joules(measured: Sequence[Package], before: Sequence[int], after: Sequence[int]) -> float:
    """Of all packages between two readings, each beginning anew once at most: at 100 W the usual range of 262 kJ lasts
    43 minutes.

    >>> joules([Package(Path(), "package-0", 9_000_000)], [8_500_000], [500_000])
    1.000001
    """
    pairs = zip(measured, before, after, strict=True)
    return sum((now - then) % (one.range_uj + 1) for one, then, now in pairs) / 1e6


class Meter:
    """Reads the packages around calls; `why` says why it cannot, None where it can."""

    def __init__(self, root: Path | None = None) -> None:
        self.packages: list[Package] = []
        self.why: str | None = None
        try:
            self.packages = packages(root or POWERCAP)
        except Unreadable as error:
            self.why = str(error)

    def about(self) -> dict[str, Any]:
        """For a record: `{"readable": false, "why": "no powercap here ..."}`, or the packages that were read."""
        return {"readable": self.why is None, "why": self.why, "packages": [one.name for one in self.packages]}

    def spent(self, call: Callable[[], Any]) -> tuple[Any, float | None]:
        """What `call` returns and the joules that all packages took meanwhile; None where they cannot be read."""
        if self.why is not None:
            return call(), None
        before = [one.read_uj() for one in self.packages]
        result = call()
        return result, joules(self.packages, before, [one.read_uj() for one in self.packages])

    def each(
        self, call: Callable[[], Any], at_least_s: float, clock: Callable[[], float] = time.perf_counter
    ) -> float | None:
        """Joules of one call, the mean of as many as take `at_least_s`: counters move a thousand times a second, which
        is too coarse for a single short call."""

        def block() -> int:
            count, start = 0, clock()
            while count == 0 or clock() - start < at_least_s:
                call()
                count += 1
            return count

        count, spent = self.spent(block)
        return None if spent is None else spent / count
