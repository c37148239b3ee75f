"""Which pictures stand side by side in the report: models, precisions, two stages, image to image, few steps.

Consumes results; produces `Grid` records by name, empty ones left out. Everything in one column has the same prompt
and seed, and starts from the same latents where the models' latents have the same shape. Draws nothing itself.
"""

from __future__ import annotations

from stages.files.layout import REFERENCE
from stages.report import pictures, results
from stages.report.pictures import Grid, Row
from stages.report.results import BEFORE, IMAGE_TO_IMAGE, TEXT_TO_IMAGE, TWO_STAGE, TWO_STAGE_SDEDIT, Result
from stages.report.words import in_db

COLUMNS = 8  # more prompts than this are drawn and measured, but not shown
GAIN = 8  # what differences are multiplied by, to be seen at all


def overview(found: list[Result]) -> Grid:
    """One row per model, in the quantized precision."""
    rows = [row(result, main_task(result), result.after, found, label=result.title) for result in found]
    return grid(f"Every model in {title(found[0].after)}", rows, found)


def precisions(result: Result) -> Grid:
    """FP16, INT8 and what differs between them."""
    task, ids = main_task(result), shown([result])
    rows = [row(result, task, name, [result], label=title(name)) for name in (BEFORE, result.after)]
    pairs = zip(rows[0].pictures, rows[1].pictures, strict=True)
    differences = [pictures.difference(one, other, GAIN) if one and other else None for one, other in pairs]
    rows.append(Row("difference", f"times {GAIN}, black: equal", differences[: len(ids)]))
    return grid(f"{result.title}: {title(BEFORE)} and {title(result.after)}", rows, [result])


def worst(result: Result) -> Grid:
    """The prompts whose quantized pictures differ most from the reference's, with what differs."""
    task, texts = main_task(result), results.prompts([result])
    prompts = [entry for entry in result.value(result.after, "worst_prompts") or [] if entry["id"] in texts]
    columns = [f"{entry['text']}: {in_db(entry['psnr_db'])}".replace(" dB", "\u00a0dB") for entry in prompts]
    against = REFERENCE if result.takes(task, REFERENCE) else BEFORE  # which may stand in for it
    pairs = [
        tuple(result.take(task, precision, entry["id"]) for precision in (against, result.after)) for entry in prompts
    ]
    differences = [pictures.difference(one, other, GAIN) if one and other else None for one, other in pairs]
    label = "float32" if against == REFERENCE else title(against)
    shown = {label: [one for one, _ in pairs], title(result.after): [other for _, other in pairs]}
    rows = [Row(label, "", taken) for label, taken in shown.items()] + [Row("difference", f"times {GAIN}", differences)]
    return Grid(f"{result.title}: the worst prompts", columns, rows if any(differences) else [])


def two_stage(result: Result) -> Grid:
    """A refiner's work next to what its base draws alone in as many steps."""
    alone = result.takes(TEXT_TO_IMAGE, BEFORE)[:1]
    rows = [row(result, TEXT_TO_IMAGE, BEFORE, [result], label="base alone", detail=spent(alone))]
    for task, label in ((TWO_STAGE, "base, then refiner"), (TWO_STAGE_SDEDIT, "finished, then refined")):
        for precision in (BEFORE, result.after):
            first = precision == BEFORE
            detail = f"{title(precision)}, {spent(result.takes(task, precision)[:1])}"
            rows.append(row(result, task, precision, [result], label=label if first else "", detail=detail, tall=first))
    return grid(f"Two stages: {result.title}", rows, [result])


def image_to_image(found: list[Result]) -> Grid:
    """What each model started from, and what it made of that."""
    rows = []
    for result in found:
        base = next((other for other in found if other.key == result.base), result)
        rows.append(row(base, TEXT_TO_IMAGE, BEFORE, found, label=result.title, detail="starts from", tall=True))
        rows.append(row(result, IMAGE_TO_IMAGE, result.after, found, label="", detail=f"makes, {title(result.after)}"))
    return grid("Image to image", rows, found)


def few_steps(found: list[Result]) -> Grid:
    """Models made for a handful of steps, under the one that they descend from."""
    quick, first = results.few_step(found), results.largest(found)
    chosen = [result for result in [first, *quick] if result] if quick and first not in quick else []
    rows = [row(result, TEXT_TO_IMAGE, result.after, found, label=result.title) for result in chosen]
    return grid("Few steps", rows, found)


def both_precisions(found: list[Result]) -> Grid:
    """Two rows per model: small enough for the README."""
    rows = [
        row(result, main_task(result), precision, found, label=label, detail=title(precision), tall=bool(label))
        for result in found
        for precision, label in ((BEFORE, result.title), (result.after, ""))
    ]
    return grid("Same prompts, same seeds", rows, found)


def all_grids(found: list[Result]) -> dict[str, Grid]:
    """By file name, in the order of the page; grids without a picture are left out."""
    named = {"overview": overview(found)}
    named |= {f"precisions-{result.key}": precisions(result) for result in found}
    named |= {f"worst-{result.key}": worst(result) for result in found}
    named |= {f"two-stage-{result.key}": two_stage(result) for result in found if result.role == "refiner"}
    named |= {"image-to-image": image_to_image(found), "few-steps": few_steps(found)}
    return {name: grid for name, grid in named.items() if grid.rows}


def row(
    result: Result,
    task: str,
    precision: str,
    columns: list[Result],
    *,
    label: str,
    detail: str = "",
    tall: bool = False,
) -> Row:
    taken = [result.take(task, precision, prompt_id) for prompt_id in shown(columns)]
    return Row(label, detail or effort(result, precision), taken, tall)


def grid(name: str, rows: list[Row], columns: list[Result]) -> Grid:
    texts = results.prompts(columns)
    seen = [row for row in rows if any(row.pictures)]
    return Grid(name, [texts[prompt_id] for prompt_id in shown(columns)], seen)


def shown(columns: list[Result]) -> list[str]:
    return list(results.prompts(columns))[:COLUMNS]


def main_task(result: Result) -> str:
    return TWO_STAGE if result.role == "refiner" else TEXT_TO_IMAGE


def effort(result: Result, precision: str) -> str:
    """`25 steps, 0.81 s`, as far as known."""
    seconds = results.image_time(result, precision)
    steps = f"{result.steps()} steps" if result.steps() else ""
    return ", ".join(part for part in (steps, f"{seconds:.2f} s" if seconds is not None else "") if part)


def spent(taken: list[results.Picture]) -> str:
    return f"{taken[0].executed_steps} steps in all" if taken and taken[0].executed_steps else ""


def title(precision: str) -> str:
    return precision.upper()
