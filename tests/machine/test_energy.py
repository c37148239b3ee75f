"""Energy out of counters that begin anew, of several packages, or the reason why it cannot be read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.machine import energy
from stages.machine.energy import Meter

RANGE_UJ = 9_999_999


def rapl(root: Path, names: dict[str, str], at_uj: int = 0) -> Path:
    """A tree like sysfs's, with a counter in every folder of `names`."""
    for folder, name in names.items():
        (root / folder).mkdir(parents=True)
        (root / folder / "name").write_text(f"{name}\n")
        (root / folder / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (root / folder / "energy_uj").write_text(f"{at_uj}\n")
    return root


def counting_up(by_uj: int) -> Callable[[energy.Package], int]:
    """A counter that goes on by so much from each reading to the next."""
    seen = [0]

    def read(package: energy.Package) -> int:
        seen[0] += by_uj
        return seen[0] % (package.range_uj + 1)

    return read


def taking(root: Path, **counters: int) -> Callable[[], str]:
    """A call that leaves counters at these values; `p0` is the folder intel-rapl:0."""

    def call() -> str:
        for name, value in counters.items():
            (root / name.replace("p", "intel-rapl:") / "energy_uj").write_text(f"{value}\n")
        return "done"

    return call


def test_a_call_takes_what_the_counter_moved(tmp_path: Path) -> None:
    root = rapl(tmp_path, {"intel-rapl:0": "package-0"}, at_uj=1_000_000)
    meter = Meter(root)
    assert meter.about() == {"readable": True, "why": None, "packages": ["package-0"]}
    assert meter.spent(taking(root, p0=3_500_000)) == ("done", 2.5)


def test_a_counter_that_began_anew_meanwhile_is_counted_through(tmp_path: Path) -> None:
    root = rapl(tmp_path, {"intel-rapl:0": "package-0"}, at_uj=RANGE_UJ)
    assert Meter(root).spent(taking(root, p0=0))[1] == 1e-6, "the next count after the last one is 0"
    assert Meter(root).spent(taking(root, p0=RANGE_UJ - 1))[1] == pytest.approx((RANGE_UJ - 1) / 1e6)
    assert Meter(root).spent(taking(root, p0=499_998))[1] == pytest.approx(0.5)


def test_packages_add_up_and_their_parts_and_twins_are_left_out(tmp_path: Path) -> None:
    names = {"intel-rapl:0": "package-0", "intel-rapl:1": "package-1", "intel-rapl:2": "psys"}
    names |= {"intel-rapl:0:0": "core", "intel-rapl-mmio:0": "package-0", "intel-rapl": "control type"}
    root = rapl(tmp_path, names, at_uj=9_000_000)
    meter = Meter(root)
    assert [one.name for one in meter.packages] == ["package-0", "package-1"]
    assert meter.spent(taking(root, p0=9_250_000, p1=500_000))[1] == pytest.approx(0.25 + 1.5)


def test_one_of_many_calls_takes_its_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(energy.Package, "read_uj", counting_up(by_uj=6_000_000))
    now = iter(range(99))
    calls: list[int] = []
    found = Meter(rapl(tmp_path, {"intel-rapl:0": "package-0"})).each(lambda: calls.append(1), 3.0, lambda: next(now))
    assert len(calls) == 3 and found == 2.0
    assert Meter(tmp_path / "nothing").each(lambda: calls.append(1), 0.0) is None and len(calls) == 4


def test_without_powercap_calls_are_made_all_the_same_and_the_reason_is_told(tmp_path: Path) -> None:
    meter = Meter(tmp_path / "powercap")
    assert meter.spent(lambda: 7) == (7, None)
    about = meter.about()
    assert about["readable"] is False and about["packages"] == []
    assert about["why"] == f"no powercap here ({tmp_path}/powercap): a virtual machine, or a system without it"


def test_a_tree_without_packages_or_counters_says_so(tmp_path: Path) -> None:
    root = rapl(tmp_path, {"intel-rapl:0": "psys"})
    assert Meter(root).why == f"no package of intel-rapl under {root}"
    (root / "intel-rapl:0/name").write_text("package-0\n")
    (root / "intel-rapl:0/energy_uj").unlink()
    assert "intel-rapl:0 has no counter (" in Meter(root).why


def test_a_counter_that_root_alone_may_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = rapl(tmp_path, {"intel-rapl:0": "package-0"})
    counter = root / "intel-rapl:0/energy_uj"
    counter.chmod(0o400)
    if os.access(counter, os.R_OK):  # our own file, or we are root: as if it were not

        def refused(_: energy.Package) -> int:
            raise PermissionError(13, "Permission denied", str(counter))

        monkeypatch.setattr(energy.Package, "read_uj", refused)
    assert Meter(root).why == f"{counter} may not be read by this user: 'sudo chmod a+r' it"
    assert Meter(root).spent(lambda: 7) == (7, None)


def test_this_machine_is_read_or_says_why_not() -> None:
    meter = Meter()
    result, spent = meter.spent(lambda: sum(range(10**5)))
    assert result > 0 and (spent is None) is (meter.why is not None)
