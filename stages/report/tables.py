"""Figures as data: one small file per figure with all models side by side, and a machine's figures to be kept.

Consumes results; produces reports/table/<family>/*.json, a row each in `dvc metrics show`, and the files of
reports/reference/<machine>, which belongs in git: the figures that the README shows, never those of whoever runs the
pipeline. Computes nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stages.report.results import Result


def by_figure(found: list[Result]) -> dict[str, dict[str, Any]]:
    """`{"mini/step_ms": {"sdxl": 14.7, "vega": 4.5}}` of the measured models: columns are narrow, and the same in all
    families."""
    figures: dict[str, dict[str, Any]] = {}
    for result in (result for result in found if not result.missing):
        for name, value in result.metrics.items():
            column = result.key.removeprefix(f"{result.family}-")
            figures.setdefault(f"{result.family}/{name}", {})[column] = value
    return figures


def write(folder: Path, found: list[Result]) -> None:
    for name, values in by_figure(found).items():
        file = folder / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_reference(folder: Path, found: list[Result], machine: dict[str, Any]) -> None:
    """The machine's description and every measured model's metrics."""
    files = {"machine": machine} | {result.key: result.metrics for result in found if not result.missing}
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def machine_name(machine: dict[str, Any]) -> str:
    """`intel-xeon-processor-2-cores-8c2f11`: readable, and another one for another machine."""
    words = re.sub(r"\(r\)|\(tm\)|@.*", "", (machine.get("cpu") or "machine").lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {machine.get('cores')} cores {machine['id'][:6]}").strip("-")
