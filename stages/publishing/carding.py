"""The card of a published folder: what the IR's own card says, with the figures and the repository that it lacks.

Consumes what is chosen and the staged folder; produces README.md's text. The figures are the columns of the report, of
FP16 and of the precision that it is compared with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.cards import about, card
from stages.files import layout, records
from stages.publishing.chosen import Chosen
from stages.report import columns, first, grids, results
from stages.report.results import BEFORE, Result


def text(chosen: Chosen, folder: Path, repository: str | None, picture: str | None) -> str:
    """`repository`: on the Hub, None elsewhere; `picture`: a file of the folder, None where no picture was kept."""
    shown = measured(chosen.result) if chosen.is_measured else None
    place = None if repository else layout.published(chosen.model, chosen.precision)
    return card.text(about.of(folder, chosen.made), repo=repository, measured=shown, picture=picture, place=place)


def measured(result: Result) -> card.Measured:
    when = result.record.get("measured") or {}
    return card.Measured(
        rows=rows(result),
        machine=machine(result),
        day=when.get("date") or "on an unknown day",
        commit=when.get("commit") or "of an unknown commit",
        scheme=grids.title(result.after),
        note=note(result),
    )


def rows(result: Result) -> list[tuple[str, str, str]]:
    """`("time, step (ms)", "13.7", "15.6")`: the columns of the report, with their intervals."""
    both = [(result, BEFORE), (result, result.after)]
    return [(head(column), *(told(column, *one) for one in both)) for column in columns.columns([result], both)]


def head(column: columns.Column) -> str:
    return f"{column.group}, {column.head}" + (f" ({column.unit})" if column.unit else "")


def told(column: columns.Column, result: Result, precision: str) -> str:
    cell = column.cell(result, precision)
    beside = ", ".join(cell.small.split("\n"))
    return f"{cell.text} ({beside})" if beside else cell.text


def machine(result: Result) -> str:
    """The processor where this working tree still describes it, else only that there was one."""
    described = records.read(layout.MACHINE, "describe") if layout.MACHINE.is_file() else {}
    own = described if described.get("id") == result.record.get("machine") else {}
    said = [f"{own.get('cpu') or 'One machine'}{first.cores(own)}"]
    if kind := results.floats_in(result.record["precisions"].get(BEFORE)):
        said += [f"floats in {kind}"]
    if steps := result.steps():
        said += [f"{steps} steps"]
    return ", ".join([*said, f"{result.record['width_px']} × {result.record['height_px']} pixels"])


def note(result: Result) -> str:
    """What pictures were compared with, on how many prompts, and what is doubted."""
    prompts = len(result.value(result.after, "per_prompt") or [])
    against = result.record.get("reference")
    said = [f"Fidelity is of {prompts} prompts against {against}."] if prompts and against else []
    if (result.record.get("noise") or {}).get("flagged"):
        said += ["The machine was busy: take the times with care."]
    return " ".join([*said, *(doubt(one) for one in result.record.get("doubts") or [])])


def doubt(said: Any) -> str:
    return f"{str(said).rstrip('.')}."
