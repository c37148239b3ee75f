"""This machine: what does not change from run to run (for figures to stand next to), and how busy it is just now.

Consumes /proc, /sys and the versions of installed packages; imports nothing heavy. `describe` is stable, so that a
benchmark which depends on it runs again on another machine and not on this one. Limits set by control groups
(containers, batch systems) count as the machine's own. Does not measure speed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from pathlib import Path
from typing import Any

from stages.files import manifest, records

PROC = Path("/proc")
CGROUP = Path("/sys/fs/cgroup")
RUNTIMES = ("openvino", "openvino-tokenizers", "nncf", "optimum-intel", "diffusers", "transformers", "torch", "numpy")
INSTRUCTION_SETS = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
# Operations (a multiply-add is two) per core and cycle at full throughput with two vector units, by the widest
# instruction set present: Intel 64 and IA-32 Architectures Optimization Reference Manual, chapters on AVX-512 and AMX.
OPERATIONS_PER_CYCLE = {
    "f32": (("avx512f", 64), ("avx2", 32)),
    "bf16": (("amx_bf16", 1024), ("avx512_bf16", 128)),
    "int8": (("amx_int8", 2048), ("avx512_vnni", 256), ("avx_vnni", 128), ("avx512f", 85), ("avx2", 42)),
}
GB = 1e9


def describe() -> dict[str, Any]:
    """Processor, cores, memory, instruction sets, runtime versions and an `id` made of them all."""
    machine: dict[str, Any] = {
        "cpu": _cpu_field("model name") or platform.processor() or platform.machine(),
        "cpu_stepping": " ".join(_cpu_field(name) or "?" for name in ("cpu family", "model", "stepping")),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": cores(),
        "base_ghz": base_ghz(),
        "memory_gb": round(memory_gb()),
        "instruction_sets": instruction_sets(),
        "nominal_gops": nominal_gops(),
        "python": ".".join(platform.python_version_tuple()[:2]),
        "runtimes": {name: manifest.version(name) for name in RUNTIMES},
    }
    text = json.dumps(machine, sort_keys=True)
    return {"id": hashlib.sha256(text.encode()).hexdigest()[:12], **machine}


def require(path: Path) -> dict[str, Any]:
    """The description in the file, reports/machine.json, which must be this machine's."""
    described, found = records.read(path, "describe"), describe()
    if described.get("id") != found["id"]:
        raise ValueError(
            f"{path} describes machine {described.get('id')}, this one is {found['id']}: run 'dvc repro describe'"
        )
    return found


def cores() -> int:
    """Cores this process may use: of the scheduler's mask and the control group's quota, the fewer."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [int(quota) / int(period) for quota, period in _cgroup_pairs("cpu.max") if quota != "max"]
    return max(1, min([mask, *(int(quota) for quota in quotas)]))


def base_ghz() -> float | None:
    """The processor's constant counter frequency in GHz (Linux on x86 states twice that as bogomips)."""
    bogomips = _cpu_field("bogomips")
    return round(float(bogomips) / 2000, 1) if bogomips and platform.machine() == "x86_64" else None


def vendor() -> str | None:
    """The processor's, as it names itself: `GenuineIntel`, `AuthenticAMD`."""
    return _cpu_field("vendor_id")


def instruction_sets() -> list[str]:
    flags = set((_cpu_field("flags") or "").split())
    return [name for name in INSTRUCTION_SETS if name in flags]


def nominal_gops() -> dict[str, float | None]:
    """Peak in giga-operations per second by precision, at the base frequency: cores x GHz x operations per cycle."""
    ghz = base_ghz()
    peak: dict[str, float | None] = {}
    for precision, ways in OPERATIONS_PER_CYCLE.items():
        per_cycle = dict(ways).get(widest(precision))
        peak[precision] = round(cores() * ghz * per_cycle, 1) if ghz and per_cycle else None
    return peak


def widest(precision: str) -> str | None:
    """The instruction set that computes in `precision` (f32, bf16, int8) here, None without one."""
    present = instruction_sets()
    return next((name for name, _ in OPERATIONS_PER_CYCLE[precision] if name in present), None)


def sums_overflow() -> bool:
    """Whether products of 8-bit integers are summed in 16 bits here, two by two, where they do not fit: x86 processors
    without VNNI and AMX (OpenVINO's "saturation issue")."""
    present = instruction_sets()
    return platform.machine() in ("x86_64", "AMD64") and not {"avx_vnni", "avx512_vnni", "amx_int8"} & set(present)


def memory_gb() -> float:
    """Memory of this machine in GB (1e9 bytes), or what the control group allows of it."""
    import psutil

    return min([psutil.virtual_memory().total, *(limit for limit, _ in _memory_limits())]) / GB


def available_memory_gb() -> float:
    """GB that can be taken now without swapping; page cache counts as free, a control group's limit as a ceiling."""
    import psutil

    rooms = [limit - used for limit, used in _memory_limits()]
    return max(0.0, min([psutil.virtual_memory().available, *rooms]) / GB)


def used_mb() -> float:
    """Resident memory of this process in MB, mapped files included."""
    import psutil

    return psutil.Process().memory_info().rss / 1e6


def load_average() -> float:
    """Processes ready to run, mean of the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _cpu_field(name: str) -> str | None:
    """A field of the first processor in /proc/cpuinfo."""
    try:
        lines = (PROC / "cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return next(
        (value.strip() for key, _, value in (line.partition(":") for line in lines) if key.strip() == name), None
    )


def _memory_limits() -> list[tuple[int, int]]:
    """(limit, used) in bytes of every control group above this process that sets one.

    Page cache is left out of what is used: it gives way.
    """
    version_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))
    version_2 = ("memory.max", "memory.current", ("inactive_file", "active_file"))
    groups = [(folder, version_1) for folder in _cgroup_folders("memory")]
    limits = []
    for folder, names in groups + [(folder, version_2) for folder in _cgroup_folders()]:
        limit_name, used_name, cache_names = names
        try:
            limit, used = (folder / limit_name).read_text().strip(), int((folder / used_name).read_text())
            found = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue
        if limit != "max" and int(limit) < 2**60:  # version 1 writes "no limit" as a huge number
            limits.append((int(limit), used - sum(int(found.get(name, 0)) for name in cache_names)))
    return limits


def _cgroup_pairs(name: str) -> list[list[str]]:
    pairs = []
    for folder in _cgroup_folders():
        try:
            pairs.append((folder / name).read_text().split())
        except OSError:
            continue
    return [pair for pair in pairs if len(pair) == 2]


def _cgroup_folders(controller: str = "") -> list[Path]:
    """Folders of this process's control group and of all above it, as far as they are visible.

    `controller` names one of version 1, such as memory, which has a tree of its own; version 2 has one for all.
    """
    try:
        lines = (PROC / "self" / "cgroup").read_text().splitlines()
    except OSError:
        lines = []
    paths = [path for _, names, path in (line.split(":", 2) for line in lines) if controller in names.split(",")]
    top = CGROUP / controller
    folder = top / next(iter(paths), "/").strip("/")
    return [folder, *(parent for parent in folder.parents if parent == top or top in parent.parents)]
