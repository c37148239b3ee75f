"""Stage `describe`: the description of this machine, on which the benchmarks depend.

Produces reports/machine.json, and touches it only where it differs, so that figures are measured again on another
machine and kept on this one; and reports/true-size.json, where `make true-size` has left no figures of this machine:
those in git then. Runs on every `dvc repro`, and consumes the prompt file, FID's files and all settings to check
them before anything takes time. Measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from stages.files import layout, manifest, placing, records
from stages.machine import description
from stages.measurement import fid
from stages.prompts import sets
from stages.settings import config

READS = ("prompts", "fid")


def describe(output: Path = layout.MACHINE) -> dict:
    """Write the description of this machine to `output` unless it is there already."""
    found = description.describe()
    text = json.dumps(found, indent=2) + "\n"
    if not output.is_file() or output.read_text(encoding="utf-8") != text:
        placing.write_text(output, text)
    return found


def true_size(machine: str, own: Path = layout.TRUE_SIZE, committed: Path = layout.REFERENCE_TRUE_SIZE) -> None:
    """Leave at `own` what `make true-size` found on this machine; else the committed figures, of whatever machine."""
    if own.is_file() and _machine_of(own) == machine:
        return
    text = committed.read_text(encoding="utf-8") if committed.is_file() else "{}\n"
    if not own.is_file() or own.read_text(encoding="utf-8") != text:
        placing.write_text(own, text)


def _machine_of(path: Path) -> str | None:
    """What is damaged is nobody's, and written anew."""
    try:
        described = records.read(path, "describe").get("machine")
    except ValueError:
        return None
    return described.get("id") if isinstance(described, dict) else None


def beside(seen: Path = layout.BESIDE) -> None:
    """Leave at `seen` digests of the figures of schemes and peers, one's own and those in git, and of speeds those in
    git: no stage makes them, and the page shows them."""
    there: list[Path] = []
    for command in ("schemes", "peers"):
        there += layout.REPORTS.glob(f"{command}/*/figures.json")
    for command in ("schemes", "peers", "speed"):
        there += layout.REPORTS.glob(f"reference/{command}-*.json")
    found = {path.as_posix(): manifest.sha256(path) for path in sorted(there)}
    text = json.dumps(found, indent=1) + "\n"
    if not seen.is_file() or seen.read_text(encoding="utf-8") != text:
        placing.write_text(seen, text)


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        _, overrides = config.arguments("describe", argv)
        settings = config.load(READS, None, overrides)
        sets.check_file(settings.prompts)
        fid.require(settings.fid)
        found = describe()
        true_size(found["id"])
        beside()
        int8 = [name for name in found["instruction_sets"] if "amx" in name or "vnni" in name]
        size = f"{found['cores']} cores, {found['memory_gb']} GB"
        print(f"machine {found['id']}: {found['cpu']}, {size}, {', '.join(int8) or 'no INT8 sets'}")


if __name__ == "__main__":
    main()
