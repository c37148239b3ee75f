"""What commands beside the pipeline measured, for the page: a model's schemes, and its pictures by other programs.

Consumes figures.json of reports/schemes and reports/peers, and those of a named machine that git holds, where there are
none of one's own; produces sentences, plots and cells. Measures nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.files import layout
from stages.report import frontier, results, scatter, schemes_plot
from stages.report.results import Result

COMMANDS = ("schemes", "peers")
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


def figures_of(command: str, found: list[Result]) -> dict[str, tuple[dict[str, Any], bool]]:
    """Figures by model, those shown first, and whether they are this working tree's own."""
    shown = [result.key for result in found]
    own = own_figures(command)
    kept = {named(command, path): path for path in sorted(layout.REPORTS.glob(f"reference/{command}-*.json"))}
    keys = [key for key in dict.fromkeys([*own, *kept]) if key in shown or key.startswith(TRUE_SIZE)]
    keys.sort(key=lambda key: shown.index(key) if key in shown else -1)  # what is known at true size first
    read = {key: results.read_json(own.get(key) or kept[key], f"python -m stages.{command} {key}") for key in keys}
    return {key: (figures, key in own) for key, figures in read.items()}


def own_figures(command: str) -> dict[str, Path]:
    """Files of figures by model that the command left in this working tree."""
    return {path.parent.name: path for path in sorted(layout.REPORTS.glob(f"{command}/*/figures.json"))}


def named(command: str, path: Path) -> str:
    return path.stem.removeprefix(f"{command}-")
