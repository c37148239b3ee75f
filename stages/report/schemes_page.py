"""Schemes of one model on one page: advice, table, plot, and what each of them draws.

Consumes figures.json's contents, pictures by row, the machine's description; produces a grid and HTML that
requests nothing. Reads no files but the templates beside this module, measures nothing.
"""

from __future__ import annotations

from typing import Any

from stages.report import frontier, page, schemes_table, summary, words
from stages.report.grids import COLUMNS
from stages.report.pictures import Grid, Row


def grid(figures: dict[str, Any], prompts: list[str], pictures: dict[str, list[Any]]) -> Grid:
    """A row of pictures per scheme, a column per prompt, the first few; `pictures` by row, in the prompts' order."""
    rows = [
        Row(row["name"], f"{schemes_table.sqnr(row)}, {words.in_mb(row['size_mb'])}", pictures[row["name"]][:COLUMNS])
        for row in figures["rows"]
        if row["name"] in pictures
    ]
    return Grid(f"{figures['title']}, scheme by scheme", prompts[:COLUMNS], rows)


def html(figures: dict[str, Any], machine: dict[str, Any], shown: Grid, drawn: str | None) -> str:
    rows = figures["rows"]
    return (
        page.environment()
        .get_template("schemes.html")
        .render(
            style=page.style(),
            figures=figures,
            machine=machine,
            warnings=warnings(figures),
            columns=schemes_table.COLUMNS,
            lines=[(row, None if row["skipped"] else schemes_table.cells(row)) for row in rows],
            best=frontier.front(rows),
            grid=shown,
            plot=drawn,
            facts=page.machine_facts(machine),
        )
    )


def warnings(figures: dict[str, Any]) -> list[str]:
    """What to know before comparing: a busy machine, short memory, random weights, doubtful pictures."""
    said = list(figures["doubts"])
    if figures["noise"]["flagged"]:
        said.append(f"The machine was busy ({summary.busy(figures['noise'])}): read the times with care")
    if not figures["interleaved"]:
        said.append("Schemes were measured one after the other: memory does not hold all of them")
    if figures["random_weights"]:
        said.append("The weights are random: only times and sizes mean anything")
    elif figures["reference"] != summary.FLOAT32:
        said.append(f"Fidelity is against {figures['reference']}: memory does not hold FP16 in float32")
    return said + [note for scheme in by_scheme(figures["rows"]) if (note := dynamic_is_idle(scheme))]


def by_scheme(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Rows that are one IR on different settings of the device, together."""
    names = dict.fromkeys(row["scheme"] for row in rows if row["dynamic_group"] is not None)
    return [[row for row in rows if row["scheme"] == name] for name in names]


def dynamic_is_idle(rows: list[dict[str, Any]]) -> str | None:
    """A note where settings that should make a difference make none: the plugin quantizes in float32 alone."""
    found = {(row["sqnr_db"], row["psnr_db"], row["ssim"]) for row in rows}
    if len(rows) < 2 or len(found) > 1 or None in next(iter(found)):
        return None
    names = ", ".join(row["name"] for row in rows)
    why = "the plugin quantized no activations in these runs, whatever the group, as where it computes in bfloat16"
    return f"{names} predict the very same: {why}"
