"""Stage `describe`: the description of this machine, on which the benchmarks depend.

Consumes nothing; produces reports/machine.json, and touches it only where it differs, so that figures are measured
again on another machine and kept on this one. Runs on every `dvc repro`, and checks all settings. Measures nothing.
"""

from __future__ import annotations

import json
from pathlib import Path

from stages.files import layout, placing
from stages.machine import description
from stages.settings import config

READS: tuple[str, ...] = ()


def describe(output: Path = layout.MACHINE) -> dict:
    """Write the description of this machine to `output` unless it is there already."""
    found = description.describe()
    text = json.dumps(found, indent=2) + "\n"
    if not output.is_file() or output.read_text(encoding="utf-8") != text:
        placing.write_text(output, text)
    return found


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        _, overrides = config.arguments("describe", argv)
        config.load(READS, None, overrides)
        found = describe()
        sets = (
            ", ".join(name for name in found["instruction_sets"] if "amx" in name or "vnni" in name) or "no INT8 sets"
        )
        print(f"machine {found['id']}: {found['cpu']}, {found['cores']} cores, {found['memory_gb']} GB, {sets}")


if __name__ == "__main__":
    main()
