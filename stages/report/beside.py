"""What was measured beside the benchmark, for the page: a model's schemes, its pictures by other programs, its speeds.

Consumes figures.json of reports/schemes, reports/peers and reports/speed, and those of a named machine that git holds,
where there are none of one's own; produces sentences, plots and cells. Measures nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stages.files import belonging, layout, records, shape
from stages.report import frontier, scatter, schemes_plot, speed_table
from stages.report.results import Result

COMMANDS = ("schemes", "peers", "speed")
TRUE_SIZE = "synthetic-"  # models that show time and size, whatever is on the page


def schemes(found: list[Result]) -> list[dict[str, Any]]:
    """Advice, why weights alone are not the default, and the plot, wide and narrow, for each model."""
    told = []
    for key, (figures, own) in figures_of("schemes", found).items():
        plot = [schemes_plot.plot(figures, width) for width in (scatter.WIDTH, scatter.NARROW)]
        about = {"title": figures["title"], "advice": figures["advice"], "key": key, "own": own}
        why = frontier.against_weights(figures["rows"])
        told.append(about | {"why": why, "size_px": figures["width_px"], "plots": plot if all(plot) else []})
    return told


def peers(found: list[Result]) -> list[dict[str, Any]]:
    """The closing sentence, heads and rows of each model's table; a row that did not run has its reason."""
    return [
        {"title": figures["title"], "told": figures["told"], "key": key, "own": own, "size_px": figures["size_px"][0],
         "heads": figures["heads"], "rows": figures["rows"]}
        for key, (figures, own) in figures_of("peers", found).items()
    ]  # fmt: skip


def speeds(found: list[Result]) -> list[dict[str, Any]]:
    """The closing sentence and the rows of each model's table; `fastest` is the row that the sentence is about."""
    told = []
    for key, (figures, own) in figures_of("speed", found).items():
        best = speed_table.chosen(figures)
        rows = [{"cells": speed_table.cells(row), "fastest": row is best} for row in figures["rows"]]
        about = {"title": figures["title"], "key": key, "own": own, "size_px": figures["size_px"][0]}
        told.append(about | {"told": speed_table.told(figures), "heads": speed_table.HEADS, "rows": rows})
    return told


def figures_of(command: str, found: list[Result]) -> dict[str, tuple[dict[str, Any], bool]]:
    """Figures by model, those shown first, and whether they are this working tree's own."""
    shown = [result.key for result in found]
    own = {key: path for key, path in own_figures(command).items() if not _is_stale(command, key, path)}
    own = {key: path for key, path in own.items() if _figures(command, key, path)["rows"]}  # at `exact` there are none
    kept = {named(command, path): path for path in sorted(layout.REPORTS.glob(f"reference/{command}-*.json"))}
    keys = [key for key in dict.fromkeys([*own, *kept]) if key in shown or key.startswith(TRUE_SIZE)]
    keys.sort(key=lambda key: shown.index(key) if key in shown else -1)  # what is known at true size first
    return {key: (_figures(command, key, own.get(key) or kept[key]), key in own) for key in keys}


def _figures(command: str, key: str, path: Path) -> shape.Said:
    rerun = f"python -m stages.{command} {key}"
    figures = records.read(path, rerun)
    if not isinstance(figures.get("rows"), list) or not all(isinstance(row, dict) for row in figures["rows"]):
        raise ValueError(f"{path} has no rows of figures: run '{rerun}'")
    return shape.Said(figures, path, rerun)


def _is_stale(command: str, key: str, path: Path) -> bool:
    """Whether figures of a command are of another FP16 IR than lies here, which is said then."""
    rerun = f"python -m stages.{command} {key}"
    sources = {layout.FP16: layout.ir(key, layout.FP16), "scorer": layout.SCORER}
    why = belonging.measured_other(path, records.read(path, rerun).get("inputs"), rerun=rerun, **sources)
    if why:
        print(f"left out: {why}", file=sys.stderr)
    return why is not None


def own_figures(command: str) -> dict[str, Path]:
    """Files of figures by model that the command left in this working tree."""
    return {path.parent.name: path for path in sorted(layout.REPORTS.glob(f"{command}/*/figures.json"))}


def named(command: str, path: Path) -> str:
    return path.stem.removeprefix(f"{command}-")
