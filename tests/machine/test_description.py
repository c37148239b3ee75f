"""The machine's description: stable, complete, cheap; busyness read from the kernel's counters."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from stages.describe import describe
from stages.machine import description

CPUINFO = """processor\t: 0
cpu family\t: 6
model\t\t: 143
model name\t: Test CPU
stepping\t: 8
bogomips\t: 4600.00
flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8
"""


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "proc"
    (folder / "self").mkdir(parents=True)
    (folder / "cpuinfo").write_text(CPUINFO)
    (folder / "self" / "cgroup").write_text("0::/job/step\n")
    monkeypatch.setattr(description, "PROC", folder)
    monkeypatch.setattr(description, "CGROUP", tmp_path / "cgroup")
    return folder


def limit(folder: Path, maximum: str, used: int, cache: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{maximum}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\ninactive_file {cache}\n")


def test_two_descriptions_are_equal() -> None:
    assert description.describe() == description.describe()


def test_the_id_changes_with_the_machine(proc: Path) -> None:
    before = description.describe()
    (proc / "cpuinfo").write_text(CPUINFO.replace("Test CPU", "Other CPU"))
    after = description.describe()
    assert after["cpu"] == "Other CPU" and after["id"] != before["id"]


def test_the_processor_is_described(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(description, "cores", lambda: 2)
    found = description.describe()
    assert (found["cpu"], found["cpu_stepping"], found["base_ghz"]) == ("Test CPU", "6 143 8", 2.3)
    assert found["instruction_sets"] == ["avx2", "avx512f", "avx512_vnni", "amx_int8"]
    assert found["nominal_gops"] == {"f32": 294.4, "bf16": None, "int8": 9420.8}  # 2 cores x 2.3 GHz x 64 and 2048


def test_runtime_versions_are_named() -> None:
    runtimes = description.describe()["runtimes"]
    assert set(runtimes) == set(description.RUNTIMES) and runtimes["openvino"]


def test_a_system_that_tells_nothing_is_still_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(description, "PROC", tmp_path)
    monkeypatch.setattr(description, "CGROUP", tmp_path)
    found = description.describe()
    assert found["cpu"] and found["base_ghz"] is None and found["instruction_sets"] == []


def test_cores_and_memory_obey_control_groups(proc: Path) -> None:
    cgroup = description.CGROUP
    limit(cgroup / "job" / "step", "max", 0, 0)
    limit(cgroup / "job", "3000000000", 2_000_000_000, 500_000_000)
    (cgroup / "job" / "cpu.max").write_text("100000 100000\n")
    assert description.memory_gb() == 3.0
    assert description.available_memory_gb() == 1.5
    assert description.cores() == 1


def test_memory_obeys_a_control_group_of_version_1(proc: Path) -> None:
    (proc / "self" / "cgroup").write_text("4:memory:/batch/job\n3:cpuset:/\n0::/\n")
    folder = description.CGROUP / "memory" / "batch" / "job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text("8000000000\n")
    (folder / "memory.usage_in_bytes").write_text("7000000000\n")
    (folder / "memory.stat").write_text("rss 5\ntotal_inactive_file 2000000000\ntotal_active_file 4000000000\n")
    assert description.memory_gb() == 8.0
    assert description.available_memory_gb() == 7.0, "page cache gives way"


def test_without_limits_the_whole_machine_counts(proc: Path) -> None:
    import psutil

    assert description.memory_gb() == psutil.virtual_memory().total / 1e9
    assert description.cores() == len(os.sched_getaffinity(0))


def test_the_stage_writes_only_what_differs(tmp_path: Path) -> None:
    output = tmp_path / "reports" / "machine.json"
    found = describe(output)
    assert json.loads(output.read_text()) == found
    os.utime(output, (1, 1))
    describe(output)
    assert output.stat().st_mtime == 1
    output.write_text("{}")
    describe(output)
    assert json.loads(output.read_text()) == found
