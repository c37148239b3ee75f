"""Speeds of one model as a table, with verdicts, and the fastest that passes.

Consumes figures.json of reports/speed/<model> and bounds of the section `speed`; produces rows for the terminal, for
markdown and CSV. Measures nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from stages.report import gates, schemes_table, verdicts, words

Row = dict[str, Any]
HEADS = ("", "UNet rows", "a picture", "speed", "PSNR", "SSIM", "CLIP score", "drop", "verdict")
PAIRS = 3  # pictures that make an interval
NOT_JUDGED, COMPARED = "not judged", "compared with"


def judge(figures: dict[str, Any], bounds: Any) -> None:
    """Write into each row but the second whether it passes: SSIM and CLIP score against the second's pictures."""
    for number, row in enumerate(figures["rows"]):
        row["verdict"], row["reason"] = (COMPARED, "") if number == 1 else _verdict(row, figures, bounds)


def fastest(rows: list[Row]) -> Row | None:
    """Of those that pass; the exact one among them, which always does."""
    able = [row for row in rows[1:] if row["verdict"] in (verdicts.PASSED, COMPARED)]
    return min(able, key=lambda row: row["picture_s"]["median"], default=None)


def chosen(figures: dict[str, Any]) -> Row | None:
    """The fastest that passes, of random weights the fastest; None where no speed does."""
    rows = figures["rows"]
    if figures["random_weights"]:
        return min(rows[1:], key=lambda row: row["picture_s"]["median"])
    best = fastest(rows)
    return None if best is None or best["verdict"] == COMPARED else best


def told(figures: dict[str, Any]) -> str:
    """`Fastest that passes: balanced, 0.12 s a picture, 2.31× (2.25–2.40) exact int8's speed and 2.6× fp16's`"""
    rows, prompts, best = figures["rows"], figures["prompts"], chosen(figures)
    if best and figures["random_weights"]:
        return f"Fastest: {_described(best, rows)}. The weights are random: nothing but time means anything."
    if best is None:
        return f"No speed surely passes on {prompts} prompts: ask for more by benchmark.prompts and benchmark.minutes."
    return f"Fastest that passes: {_described(best, rows)}."


def terminal(figures: dict[str, Any]) -> str:
    return words.table([list(HEADS), *(cells(row) for row in figures["rows"])])


def markdown(figures: dict[str, Any]) -> str:
    lines = [list(HEADS), ["---", *["---:"] * (len(HEADS) - 2), "---"]]
    lines += [cells(row) for row in figures["rows"]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{told(figures)}\n"


def as_csv(rows: list[Row]) -> str:
    """Plain figures as columns; a null is an empty cell."""
    flat = [
        {name: value for name, value in row.items() if not isinstance(value, dict | list)}
        | {"picture_s": row["picture_s"]["median"], **{f"speed_{end}": row["speed"][end] for end in row["speed"]}}
        for row in rows
    ]
    return schemes_table.as_csv(flat)


def cells(row: Row) -> list[str]:
    outer = f" + {words.number(row['outer_rows'])} outer" if row["outer_rows"] else ""
    drop = row["clip_drop_percent"]
    return [
        f"{row['precision']} {row['name']}",
        f"{words.number(row['unet_rows'])}{outer}",
        words.duration(row["picture_s"]["median"]),
        gain(row),
        words.in_db(row["psnr_db"]),
        words.fixed(row["ssim"], 3),
        words.fixed(row["clip_score"], 2),
        words.DASH if drop is None else f"{drop:.2f} %",
        f"{row['verdict']}{': ' if row['reason'] else ''}{row['reason']}",
    ]


def gain(row: Row) -> str:
    """`2.31× (2.25–2.40)`; of one or two pictures without an interval, which would be none."""
    found = row["speed"]
    known = row["picture_s"]["n"] >= PAIRS
    return words.gain(found["ratio"], *((found["low"], found["high"]) if known else (None, None)))


def _described(row: Row, rows: list[Row]) -> str:
    exact, fp16 = rows[1], rows[0]
    against = fp16["picture_s"]["median"] / row["picture_s"]["median"]
    return (
        f"{row['precision']} {row['name']}, {words.duration(row['picture_s']['median'])} a picture, {gain(row)} the "
        f"speed of {exact['precision']} {exact['name']} and {words.times(against)} of {fp16['precision']}"
    )


def _verdict(row: Row, figures: dict[str, Any], bounds: Any) -> tuple[str, str]:
    """Failed where one bound is surely missed, passed where both are surely kept, by intervals over prompts."""
    known = []
    for name, measure, least, bound in (
        ("SSIM", gates.mean_of("ssim"), True, bounds.min_ssim),
        ("CLIP drop", gates.clip_drop, False, bounds.max_clip_drop_percent),
    ):
        if bound is not None:
            with suppress(gates.Lack):  # random weights, or no CLIP: nothing to judge by
                known.append((name, *verdicts.decide(least, bound, measure(row, figures))))
    if not known:
        return NOT_JUDGED, ""
    kinds = {verdict for _, verdict, _ in known}
    kind = next(one for one in (verdicts.FAILED, verdicts.UNDECIDED, verdicts.PASSED) if one in kinds)
    named = [f"{name} {reason}".strip() for name, verdict, reason in known if verdict == kind]
    return kind, "" if kind == verdicts.PASSED else ", ".join(named)
