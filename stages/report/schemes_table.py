"""Schemes of one model as a table: for the terminal, for the page, as CSV.

Consumes rows of figures.json; produces text and cells that are ready to be set. An unknown figure is an en dash.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from stages.report import words
from stages.report.words import fixed, in_db, in_mb

Row = dict[str, Any]
EQUAL = "equal"  # where decibels would be infinite


@dataclass(frozen=True)
class Column:
    head: str
    meaning: str
    cell: Callable[[Row], str]


COLUMNS = (
    Column("step", "one UNet step, median", lambda row: words.duration(_in_s(row["step_ms"]))),
    Column("speed", "of a step against FP16's, median of the pairs, with the 95 % interval", lambda row: speed(row)),
    Column("UNet", "its weights on disk, 1 MB = 1e6 bytes", lambda row: in_mb(row["size_mb"])),
    Column("SQNR", "predicted noise against the reference's, dB; equal: the same numbers", lambda row: sqnr(row)),
    Column("worst", "SQNR of the worst quarter of the schedule, dB", lambda row: in_db(row["sqnr_worst_quarter_db"])),
    Column("PSNR", "pictures against the reference's, dB, median", lambda row: picture_db(row)),
    Column("SSIM", "pictures against the reference's, 1 is equal, median", lambda row: fixed(row["ssim"], 3)),
    Column("CLIP", "CLIP score: 100 × cosine of picture and prompt, mean", lambda row: fixed(row["clip_score"], 2)),
    Column("INT8", "share of the UNet's multiply-accumulates that INT8 kernels execute", lambda row: share(row)),
    Column("made", "seconds to quantize, where it was recorded", lambda row: words.duration(row["quantize_s"])),
)


def terminal(rows: list[Row]) -> str:
    """Columns of one width each; a scheme without figures is followed by its reason."""
    measured = [row for row in rows if not row["skipped"]]
    lines = words.table([["", *(one.head for one in COLUMNS)], *([row["name"], *cells(row)] for row in measured)])
    head, *told = lines.splitlines()
    by_name = dict(zip([row["name"] for row in measured], told, strict=True))
    return "\n".join([head, *(by_name.get(row["name"]) or f"{row['name']}  {row['skipped']}" for row in rows)])


def cells(row: Row) -> list[str]:
    return [one.cell(row) for one in COLUMNS]


def as_csv(rows: list[Row]) -> str:
    """All keys as columns; a null is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def speed(row: Row) -> str:
    """`1.07× (1.05–1.09)`"""
    return words.gain(*(row[name] for name in ("speed_step", "speed_step_low", "speed_step_high")))


def sqnr(row: Row) -> str:
    return EQUAL if row["equals_reference"] else in_db(row["sqnr_db"])


def picture_db(row: Row) -> str:
    return EQUAL if row["psnr_db"] is None and row["ssim"] is not None else in_db(row["psnr_db"])


def share(row: Row) -> str:
    return words.percent(row["share_macs_int8"], 1)


def _in_s(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
