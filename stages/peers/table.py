"""The peers as a table and a sentence: for the terminal, as CSV.

Consumes figures.json of reports/peers/<model>; produces text. Measures nothing.
"""

from __future__ import annotations

from typing import Any

from stages.peers import figures
from stages.peers.known import QUANTIZED
from stages.report import schemes_table, words

Row = dict[str, Any]
HEADS = ("", "a picture", "int8 takes", "cold", "memory", "PSNR", "SSIM", "CLIP score")
PAIRS = 3  # pictures that make an interval
NAMES = {"int8": "the best INT8 of others", "pytorch": "PyTorch's best", "runtime": "the same IR in openvino.genai"}


def terminal(found: dict[str, Any]) -> str:
    """Columns of one width, a row without figures with its reason, then what each row is."""
    measured = [row for row in found["rows"] if not row["skipped"]]
    head, *told = words.table([list(HEADS), *(cells(row) for row in measured)]).splitlines()
    by_name = dict(zip([row["name"] for row in measured], told, strict=True))
    lines = [by_name.get(row["name"]) or f"{row['name']}  {row['skipped']}" for row in found["rows"]]
    wide = max(len(row["name"]) for row in found["rows"])
    legend = [f"{row['name'].ljust(wide)}  {row['about']}" for row in found["rows"]]
    return "\n".join([head, *lines, "", *legend])


def cells(row: Row) -> list[str]:
    return [
        row["name"],
        words.duration(row["picture_s"]["median"]),
        share(row) if row["name"] != QUANTIZED else words.DASH,
        words.duration(row["cold_s"]),
        words.number(row["memory_gb"], " GB"),
        schemes_table.picture_db(row),
        words.fixed(row["ssim"], 3),
        words.fixed(row["clip_score"], 2),
    ]


def share(row: Row) -> str:
    """`0.87× (0.85–0.90)`: of its time, by our INT8; of one or two pictures without an interval."""
    ratio = row["time_ratio"]
    if ratio is None:
        return words.DASH
    known = row["picture_s"]["n"] >= PAIRS
    return words.gain(ratio["ratio"], *((ratio["low"], ratio["high"]) if known else (None, None)))


def told(found: dict[str, Any]) -> str:
    """`A picture of int8 takes 0.87× (0.85–0.90) the time of the best INT8 of others (optimum-int8, 0.21 s), ...`"""
    mine = next(row for row in found["rows"] if row["name"] == QUANTIZED)
    others = {name: row for name, row in figures.best(found["rows"]).items() if row}
    if not others:
        return f"A picture of {found['quantization']} takes {_time(mine)}; no peer ran."
    parts = [f"{share(row)} the time of {NAMES[name]} ({row['name']}, {_time(row)})" for name, row in others.items()]
    return f"A picture of {found['quantization']} takes {_listed(parts)}. {_nearness(found, mine, others)}"


def as_csv(rows: list[Row]) -> str:
    """Plain figures as columns; a null is an empty cell."""
    flat = []
    for row in rows:
        ratio = row["time_ratio"] or dict.fromkeys(("ratio", "low", "high"))
        picture_s = row["picture_s"] and row["picture_s"]["median"]
        plain = {name: value for name, value in row.items() if name not in ("time_ratio", "per_prompt", "cells")}
        flat.append(plain | {"picture_s": picture_s} | {f"time_{name}": value for name, value in ratio.items()})
    return schemes_table.as_csv(flat)


def _nearness(found: dict[str, Any], mine: Row, others: dict[str, Row]) -> str:
    if found["random_weights"]:
        return "The weights are random: nothing but time and memory means anything."
    known = [row for row in [mine, *others.values()] if row["ssim"] is not None]
    said = [f"{row['name']} {schemes_table.picture_db(row)}, {words.fixed(row['ssim'], 4)}" for row in known]
    return f"PSNR and SSIM against {found['reference']}: {'; '.join(said)}." if said else "No fidelity was measured."


def _time(row: Row) -> str:
    return words.duration(row["picture_s"]["median"])


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
