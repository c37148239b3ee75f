"""A command, not a stage: experiments side by side, a line for each experiment and model, with the figures that matter.

Consumes what `dvc exp run -n NAME` kept (dvc.api.exp_show); prints a table. `dvc exp show` holds all the rest: every
parameter, figure and dependency, hundreds of columns wide. Runs nothing.
"""

from __future__ import annotations

import argparse
import re
from typing import Any

from stages.report import words
from stages.settings import config

COLUMN = re.compile(r"reports/table/(?P<family>[^/]+)/(?P<figure>\w+)\.json:(?P<model>.+)")
FIGURES = ("scheme", "size_mb", "step_ms", "speed_step", "image_s", "sqnr_db", "psnr_db", "clip_score")


def lines(experiments: list[dict[str, Any]], models: list[str]) -> list[list[str]]:
    """Cells under a head: of these models, or of all, one model's experiments under each other."""
    rows = []
    for experiment in experiments:
        name = experiment.get("Experiment") or experiment.get("rev") or ""
        for model, figures in by_model(experiment).items():
            if not models or model in models:
                rows.append([model, str(name), *(words.cell(figures.get(figure)) for figure in FIGURES)])
    order = list(dict.fromkeys(row[0] for row in rows))
    return [["model", "experiment", *FIGURES], *sorted(rows, key=lambda row: order.index(row[0]))]


def by_model(experiment: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for column, value in experiment.items():
        if (part := COLUMN.fullmatch(column)) and value not in (None, "", "-", "!"):
            key = part["model"] if part["family"] == "hub" else f"{part['family']}-{part['model']}"
            found.setdefault(key, {})[part["figure"]] = value
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="model", help="models to show, all without")
    given = parser.parse_args(argv).models
    with config.main_guard():
        import dvc.api

        rows = lines(dvc.api.exp_show(), given)
        if len(rows) == 1:
            raise ValueError("no experiment has figures: `dvc exp run -n NAME` keeps the present ones under a name")
        print(words.table(rows))


if __name__ == "__main__":
    main()
