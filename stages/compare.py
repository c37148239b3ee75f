"""Stage `compare`: all models on one page.

Consumes reports/benchmark/<model>/ of the selected models and reports/machine.json; produces reports/index.html, the
grids as PNG, the plots as SVG, the figures as one table for `dvc metrics`, and reports/gates.json, a verdict for every
gate. A model that was not measured gets a row that says so. Measures nothing. `python -m stages.compare --readme`
instead refreshes what the README shows: its table, its picture, and these figures under reports/reference.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

from stages.files import layout, placing
from stages.report import beside, comparison, first, grids, page, pictures, results, tables, true_size, verdicts
from stages.report.verdicts import Verdict
from stages.settings import config

READS = ("model", "quantization.name", "quantization.scheme", "gates")
TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- /?table -->)", re.DOTALL)
AT_TRUE_SIZE = re.compile(r"(<!-- true size -->\n).*?(<!-- /?true size -->)", re.DOTALL)
CELL, README_CELL = 128, 76  # pixels of one picture in a grid
LARGEST_CELL = 256


def compare(settings: Any) -> tuple[list[results.Result], list[Verdict]]:
    """Write the page, grids and plots of the selected models; returns what they were made of, and the verdicts."""
    found = results.read(settings.models, settings.quantization.name)
    shown, drawn = grids.all_grids(found), page.draw_plots(found)
    said = verdicts.judge(found, settings)
    schemes = results.read_schemes(settings.models)
    html = page.page(found, read_machine(), shown, drawn, said, true_size.found(), schemes)
    with placing.whole(layout.REPORTS / "grids") as folder:
        for name, grid in shown.items():
            pictures.draw(grid, cell_size(found)).save(folder / f"{name}.png", optimize=True)
    with placing.whole(layout.REPORTS / "plots") as folder:
        for name, (svg, _) in drawn.items():
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    with placing.whole(layout.REPORTS / "table") as folder:
        tables.write(folder, found)
    placing.write_text(layout.REPORTS / "gates.json", verdicts.as_json(said))
    placing.write_text(layout.REPORTS / "index.html", html)
    return found, said


def refresh_readme(settings: Any) -> list[results.Result]:
    """Put the table between the README's markers, draw its picture and keep the figures: all to be committed."""
    found = results.read(settings.models, settings.quantization.name)
    text = layout.README.read_text(encoding="utf-8")
    if not TABLE.search(text):
        raise ValueError(
            f"{layout.README} has no lines '<!-- table -->' and '<!-- /table -->' to put the table between"
        )
    table = comparison.markdown(found)
    with placing.whole(layout.REPORTS / "readme") as folder:
        pictures.draw(grids.both_precisions(found), README_CELL).save(folder / "grid.webp", quality=90, method=6)
    machine = read_machine()
    with placing.whole(layout.REPORTS / "reference" / tables.machine_name(machine)) as folder:
        tables.write_reference(folder, found, machine)
    text = TABLE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text, count=1)
    keep_beside()
    if figures := true_size.found():
        placing.write_text(layout.REFERENCE_TRUE_SIZE, json.dumps(figures, indent=1) + "\n")
        shown = f"{true_size.markdown(figures)}\n\n{true_size.machine(figures)}"
        text = AT_TRUE_SIZE.sub(lambda match: f"{match[1]}{shown}\n{match[2]}", text, count=1)
    placing.write_text(layout.README, text)
    return found


def keep_beside() -> None:
    """What commands beside the pipeline measured here, to be committed."""
    for command in beside.COMMANDS:
        for model, own in beside.own_figures(command).items():
            placing.write_text(layout.reference(command, model), own.read_text(encoding="utf-8"))


def read_machine() -> dict[str, Any]:
    machine = results.read_json(layout.MACHINE, "describe")
    if not machine:
        raise FileNotFoundError(f"{layout.MACHINE} is missing: run 'dvc repro describe' first")
    return machine


def cell_size(found: list[results.Result]) -> int:
    """Large pictures are shown larger, as far as a grid stays handy."""
    return max(
        [
            CELL,
            *(min(LARGEST_CELL, max(picture.width, picture.height)) for result in found for picture in result.pictures),
        ]
    )


def main(argv: list[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    readme = "--readme" in given
    with config.main_guard():
        _, overrides = config.arguments("compare", [word for word in given if word != "--readme"])
        settings = config.load(READS, None, overrides)
        if readme:
            print(f"{layout.README}: {first.sentence(refresh_readme(settings), true_size.found())}")
            return
        found, said = compare(settings)
        print(f"{layout.REPORTS / 'index.html'}: {first.sentence(found, true_size.found())}")
        print(verdicts.line(said))


if __name__ == "__main__":
    main()
