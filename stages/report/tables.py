"""Figures as data: one small file per figure with all models side by side, and a machine's figures to be kept.

Consumes results; produces reports/table/<family>/*.json, a row each in `dvc metrics show`, and the files of
reports/reference/<machine>, which belongs in git: the figures that the README shows, never those of whoever runs the
pipeline. Beside them stands what of the record `python -m stages.history` needs for intervals. Computes nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from stages.report.results import BEFORE, Result

# Of a record, what is kept in git: what it was measured with, and of a precision its raw values, to so many digits.
ABOUT = (
    "machine", "measured", "quantization", "width_px", "height_px", "steps", "guidance", "scheduler",
    "scheduler_options", "reference", "pictures_against", "interleaved", "random_weights", "clip_model", "noise",
    "inputs",
)  # fmt: skip
ROW = ("skipped", "unet_size_mb", "peak_rss_mb", "speedup_step", "sqnr_db", "psnr_db", "ssim", "clip_score")
PROMPT = ("id", "text", "sqnr_db", "psnr_db", "ssim", "clip_score")
SECONDS = ("unet_step_s", "image_s")
DIGITS = 4  # that count, of raw seconds
INNERMOST = re.compile(r"[\[{][^\[\]{}]*[\]}]")


def by_figure(found: list[Result]) -> dict[str, dict[str, Any]]:
    """`{"mini/step_ms": {"sdxl": 14.7, "vega": 4.5}}` of the measured models: columns are narrow, and the same in all
    families. What no model of a family has, as FID where it is not asked for, is no row."""
    figures: dict[str, dict[str, Any]] = {}
    for result in (result for result in found if not result.missing):
        for name, value in result.metrics.items():
            column = result.key.removeprefix(f"{result.family}-")
            figures.setdefault(f"{result.family}/{name}", {})[column] = value
    return {name: row for name, row in figures.items() if any(value is not None for value in row.values())}


def write(folder: Path, found: list[Result]) -> None:
    for name, values in by_figure(found).items():
        file = folder / f"{name}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def write_reference(folder: Path, found: list[Result], machine: dict[str, Any]) -> None:
    """The machine's description and every measured model's metrics, with what is kept of its record."""
    (folder / "machine.json").write_text(json.dumps(machine, indent=1) + "\n", encoding="utf-8")
    for result in (result for result in found if not result.missing):
        text = json.dumps(result.metrics | {"record": kept(result.record, result.after)}, indent=1, ensure_ascii=False)
        short = INNERMOST.sub(lambda part: re.sub(r"\s*\n\s*", " ", part[0]), text)  # a list of numbers is one line
        (folder / f"{result.key}.json").write_text(short + "\n", encoding="utf-8")


def kept(record: dict[str, Any], after: str) -> dict[str, Any]:
    """The record in a few kilobytes: FP16's times, and the times and fidelity of the precision beside it."""
    rows = {name: record["precisions"][name] for name in (BEFORE, after) if name in record["precisions"]}
    asked = record.get("settings") or {}
    seed = {name: value for name, value in (asked.get("benchmark") or {}).items() if name == "seed"}
    settings = {"settings": {"benchmark": seed, "device": asked.get("device") or {}}}
    precisions = {name: kept_row(row, with_prompts=name == after) for name, row in rows.items()}
    return chosen(record, ABOUT) | settings | {"precisions": precisions}


def kept_row(row: dict[str, Any], with_prompts: bool) -> dict[str, Any]:
    found = chosen(row, ROW)
    for name in SECONDS:
        entry = row.get(name) or {}
        raw = [float(f"{value:.{DIGITS}g}") for value in entry.get("raw") or []]
        found[name] = {"median": entry.get("median"), "raw": raw}
    prompts = [chosen(entry, PROMPT) for entry in row.get("per_prompt") or []]
    return found | ({"per_prompt": prompts} if with_prompts and prompts else {})


def chosen(entry: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: entry[name] for name in names if name in entry}


def machine_name(machine: dict[str, Any]) -> str:
    """`intel-xeon-processor-2-cores-8c2f11`: readable, and another one for another machine."""
    words = re.sub(r"\(r\)|\(tm\)|@.*", "", (machine.get("cpu") or "machine").lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{words} {machine.get('cores')} cores {machine['id'][:6]}").strip("-")
