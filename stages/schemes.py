"""A command, not a stage: the quantization schemes of conf/ for one model, measured in turns of one another.

    python -m stages.schemes mini-vega
    python -m stages.schemes mini-vega int8 int8-weights benchmark.prompts=4 quantization.samples=80

Consumes the model's FP16 IR, its calibration set and what its benchmark reads; makes the IRs that are not there yet,
each in a folder of its own, and writes figures, plot, grid and page into reports/schemes/<model>. What DVC made is read
and never written. A scheme that cannot be made or run is a row with the reason.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages import quantize
from stages.files import belonging, layout, manifest, placing
from stages.ir import anatomy
from stages.machine import apart, budget, description, memory, sizes, usage
from stages.measurement import doubts, gallery, provenance, rows, sitting
from stages.measurement import subject as subjects
from stages.measurement.rows import Scheme
from stages.report import frontier, pictures, schemes_page, schemes_plot, schemes_table
from stages.settings import alternatives, config
from stages.settings.alternatives import Alternative
from stages.settings.schema import NEEDS_SAMPLES

if TYPE_CHECKING:
    from stages.settings.schema import Quantization

READS = (
    "model.{model}.title", "model.{model}.family", "model.{model}.role", "model.{model}.base", "model.{model}.licence",
    "model.{model}.sampler", "prompts", "benchmark", "device", "quantization.name",
)  # fmt: skip
TASKS = {"base": ["text-to-image"], "refiner": ["two-stage"]}  # enough to compare schemes by
STORED = {"none": anatomy.FP16, "weights_only": anatomy.INT8_WEIGHTS}  # what the UNet is run as; INT8 by the others


def schemes(settings: Any, chosen: list[Scheme]) -> dict[str, Any]:
    """Make, measure, show; returns what figures.json holds."""
    key, machine = settings.model_key, description.require(layout.MACHINE)
    scorer, random_weights = verified(settings)
    if any(map(takes_data, chosen)):
        belonging.require_calibration(key)
    made = [make(key, scheme) for scheme in chosen]
    precisions = rows.precisions(key, made, settings.device)
    found, runs, reasons = sitting.measure_what_runs(settings, precisions, scorer)
    about = {"machine": machine["id"], "random_weights": random_weights, "clip_model": scorer}
    inputs = {name: manifest.digest(one.folder) for name, one in precisions.items()}
    about |= {"measured": provenance.measured(), "inputs": inputs | {"scorer": manifest.digest(layout.SCORER)}}
    found = about | found
    found |= {"doubts": doubts.doubts(found)}
    table = rows.table(key, made, settings.device, found, reasons)
    shown = {name: value for name, value in found.items() if name not in ("precisions", "quantization")}
    shown |= {"licence": settings.model.licence, "calibration": calibration(key, made)}
    shown |= {"advice": frontier.advice(table), "pareto": frontier.front(table), "rows": table}
    gallery.write_runs(layout.schemes(key) / "images", settings, runs)
    write(layout.schemes(key), shown, found, runs, machine)
    return shown


def survey(model: str, found: list[Alternative]) -> list[Scheme]:
    """Where the IR of each scheme is or will be: artifacts/ir/<model>/<its name>.

    Where that holds an IR of other settings, which DVC may track, it is a folder beside it with the key of these
    settings in its name.
    """
    surveyed = []
    for one in found:
        if one.settings is None:
            surveyed.append(Scheme(one.name, None, reason=one.reason))
            continue
        key, own = quantize.key(model, one.settings), layout.ir(model, one.settings.name)
        places = [own, own.with_name(f"{own.name}-{key[:8]}")]
        there = next((place for place in places if manifest.is_whole(place, key=key)), None)
        surveyed.append(Scheme(one.name, one.settings, there or places[own.exists()], key, made=there is not None))
    return surveyed


def make(model: str, scheme: Scheme) -> Scheme:
    """The scheme with its IR, or with the reason why there is none."""
    if scheme.made or scheme.reason:
        return scheme
    try:
        needed = quantize.need(model, scheme.settings)
        with usage.recorded(f"quantize-{scheme.name}", model, needed, scheme.folder, key=scheme.key):
            apart.run(f"quantizing to {scheme.name}", _quantize, model, scheme.settings, scheme.folder)
    except (ValueError, FileNotFoundError) as error:
        return replace(scheme, reason=f"not made: {error}")
    return replace(scheme, made=True)


def _quantize(model: str, settings: Quantization, folder: Path) -> None:
    """For a process of its own, whose standard output NNCF may fill; whatever fails comes to one line."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    try:
        quantize.quantize(model, settings, place=folder)
    except Exception as error:  # NNCF's have no base in common
        first = next(iter(str(error).strip().splitlines()), "")
        named = "" if isinstance(error, ValueError | FileNotFoundError) else f"{type(error).__name__}: "
        raise ValueError(named + first) from None


def calibration(model: str, made: list[Scheme]) -> dict[str, Any]:
    """The one set that all schemes with data took their samples of."""
    if not any(map(takes_data, made)):
        return {"manifest": None, "samples": None}
    folder = layout.calibration(model)
    recorded = manifest.read(folder, rerun=f"calibrate@{model}")["facts"]["samples"]
    return {"manifest": manifest.digest(folder), "samples": recorded}


def takes_data(scheme: Scheme | Alternative) -> bool:
    return scheme.settings is not None and scheme.settings.scheme in NEEDS_SAMPLES


def verified(settings: Any) -> tuple[dict[str, Any] | None, bool]:
    """Facts of the CLIP model, None without one; whether weights are random. What is read is as its manifest says."""
    key, base = settings.model_key, settings.model.base
    found = {one: manifest.verify(layout.ir(one, layout.FP16), rerun=f"export@{one}") for one in {key, base}}
    for one in found:
        belonging.require_ir(one, layout.FP16)
    return manifest.verify(layout.SCORER, rerun="scorer")["facts"] or None, manifest.has_random_weights(found[key])


def write(target: Path, shown: dict[str, Any], found: dict[str, Any], runs: sitting.Runs, machine: Any) -> None:
    """The page last: whoever finds it finds the figures too."""
    prompts = [run.job.prompt.text for run in next(iter(runs.values()))]
    drawn = schemes_plot.plot(shown)
    grid = schemes_page.grid(shown, prompts, {name: [run.picture for run in mine] for name, mine in runs.items()})
    placing.write_text(target / "record.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    placing.write_text(target / "figures.json", json.dumps(shown, indent=1, ensure_ascii=False) + "\n")
    placing.write_text(target / "figures.csv", schemes_table.as_csv(shown["rows"]))
    (target / "plot.svg").unlink(missing_ok=True)
    if drawn:  # random weights have no fidelity to be drawn
        placing.write_text(target / "plot.svg", drawn)
    pictures.draw(grid).save(target / "grid.png", optimize=True)
    placing.write_text(target / "index.html", schemes_page.html(shown, machine, grid, drawn))


def need(settings: Any, chosen: list[Scheme]) -> budget.Need:
    """Making what is not there yet, as far as memory holds it, then measuring everything."""
    model = settings.model_key
    asked, found = memory.request(settings.model.sampler, settings.device), sizes.of_ir(layout.ir(model, layout.FP16))
    able = [replace(scheme, made=True) for scheme in chosen if scheme.settings]
    stored = [
        STORED.get(one.settings.scheme, anatomy.INT8) for one in able for _ in rows.measured_as(one, settings.device)
    ]
    every = anatomy.FP16, *stored
    much, seconds, _ = subjects.planned(settings, every)
    whole = usage.corrected("benchmark", model, budget.benchmark(found, asked, every, seconds.of(much)))
    for scheme in (one for one in chosen if one.settings and not one.made):
        making = usage.corrected(f"quantize-{scheme.name}", model, quantize.need(model, scheme.settings))
        if making.memory_gb <= description.available_memory_gb():  # else it becomes a row with the reason
            whole += making
    return replace(whole, takes_more=True)


def arguments(argv: list[str] | None) -> tuple[str, list[str], list[str]]:
    """A model, schemes, overrides."""
    said = "files of conf/quantization, all of them without; settings for this run only"
    model, words = config.named_arguments("schemes", __doc__, "scheme | key=value", said, argv)
    return model, [word for word in words if "=" not in word], [word for word in words if "=" in word]


def load(model: str, names: list[str], overrides: list[str]) -> tuple[Any, list[Alternative]]:
    """Settings as the stages have them, and each scheme's own, out of conf/: `quantization.*` changes every scheme."""
    own = [override for override in overrides if override.startswith("quantization.")]
    settings = config.load(READS, model, [override for override in overrides if override not in own])
    settings.model.tasks = TASKS[settings.model.role]
    found = alternatives.alternatives(names, own)
    manifest.read_whole(layout.ir(model, layout.FP16), rerun=f"export@{model}")
    if any(map(takes_data, found)):
        manifest.read_whole(layout.calibration(model), rerun=f"calibrate@{model}")
        belonging.require_calibration(model)
    return settings, found


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, names, overrides = arguments(argv)
        settings, found = load(model, names, overrides)
        chosen = survey(model, found)
        about = {"schemes": [scheme.name for scheme in chosen], "made": [one.name for one in chosen if one.made]}
        with usage.recorded("schemes", model, need(settings, chosen), layout.schemes(model), **about):
            shown = schemes(settings, chosen)
        print(schemes_table.terminal(shown["rows"]))
        busy = " The machine was busy: take the times with care." if shown["noise"]["flagged"] else ""
        print("\n`dvc repro compare` puts them on the page of all models, a row each, and into its viewer.")
        print(f"{layout.schemes(model) / 'index.html'}: {shown['advice']}{busy}")


if __name__ == "__main__":
    main()
