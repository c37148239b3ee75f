"""Stage `compare`: all models on one page.

Consumes reports/benchmark/<model>/ of the selected models and reports/machine.json; produces reports/index.html, the
grids as PNG and the plots as SVG. A model that was not measured gets a row that says so. Measures nothing.
`python -m stages.compare --readme` instead refreshes the README's table and its picture.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from stages.lib import config, grids, manifest, pictures, report, results, summary

READS = ("model", "quantization.name")
REPORTS = Path("reports")
README = Path("README.md")
TABLE = re.compile(r"(<!-- table -->\n).*?(<!-- /?table -->)", re.DOTALL)
CELL, README_CELL = 128, 76  # pixels of one picture in a grid
LARGEST_CELL = 256


def compare(settings: Any) -> list[results.Result]:
    """Write the page, grids and plots of the selected models; returns what they were made of."""
    found = results.read(settings.models, settings.quantization.name)
    shown, drawn = grids.all_grids(found), report.draw_plots(found)
    html = report.page(found, read_machine(), shown, drawn)
    with manifest.whole(REPORTS / "grids") as folder:
        for name, grid in shown.items():
            pictures.draw(grid, cell_size(found)).save(folder / f"{name}.png", optimize=True)
    with manifest.whole(REPORTS / "plots") as folder:
        for name, svg in drawn.items():
            (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    manifest.write_text(REPORTS / "index.html", html)
    return found


def refresh_readme(settings: Any) -> list[results.Result]:
    """Put the table between the README's markers and draw reports/readme/grid.webp, both to be committed."""
    found = results.read(settings.models, settings.quantization.name)
    text = README.read_text(encoding="utf-8")
    if not TABLE.search(text):
        raise ValueError(f"{README} has no lines '<!-- table -->' and '<!-- /table -->' to put the table between")
    table = summary.markdown(found)
    with manifest.whole(REPORTS / "readme") as folder:
        pictures.draw(grids.both_precisions(found), README_CELL).save(folder / "grid.webp", quality=90, method=6)
    manifest.write_text(README, TABLE.sub(lambda match: f"{match[1]}{table}\n{match[2]}", text, count=1))
    return found


def read_machine() -> dict[str, Any]:
    return results.read_json(REPORTS / "machine.json", "machine") or {}


def cell_size(found: list[results.Result]) -> int:
    """Large pictures are shown larger, as far as a grid stays handy."""
    return max([CELL, *(min(LARGEST_CELL, picture.size) for result in found for picture in result.pictures)])


def main(argv: list[str] | None = None) -> None:
    given = list(sys.argv[1:] if argv is None else argv)
    readme = "--readme" in given
    with config.main_guard():
        _, overrides = config.arguments("compare", [word for word in given if word != "--readme"])
        settings = config.load(READS, None, overrides)
        found = (refresh_readme if readme else compare)(settings)
        print(f"{README if readme else REPORTS / 'index.html'}: {summary.headline(found)}")


if __name__ == "__main__":
    main()
