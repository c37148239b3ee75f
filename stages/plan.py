"""A command, not a stage: what the pipeline will need on this machine, before anything is downloaded.

Consumes conf/ (`python -m stages.plan family=hub device=cpu-f32`: what `dvc exp run -S` takes), published sizes, this
machine's description and what stages took here before; prints one table for the selected models. Runs nothing.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from stages.calibration import drafts
from stages.files import layout
from stages.machine import budget, description, fitting, memory, sizes, usage
from stages.machine.budget import Need
from stages.machine.memory import FP16, INT8, INT8_WEIGHTS
from stages.measurement import prices, spared
from stages.quantization import statistics
from stages.report import words
from stages.settings import composing, config, speeds

READS = ("model", "calibration", "quantization", "benchmark", "speed", "device")
DEFAULT = ("family=hub",)
STAGES = ("download", "export", "calibrate", "quantize", "benchmark")
SPEED = "speed"  # a stage that draws nothing at `exact`: told where another one is asked for
PACES = ("quick", "thorough")  # of calibration and benchmark; the settings asked for stand before them


def needs(key: str, settings: Any, known: dict[str, sizes.Sizes]) -> dict[str, Need]:
    """Need by stage of one model; `known`: sizes of all selected models."""
    model, found = settings.models[key], known[key]
    asked = memory.request(model.sampler, settings.device)
    sizes_px = memory.at_sizes(model.sampler, settings.calibration.sizes)
    collected = memory.request(memory.largest(sizes_px), settings.device)
    base = known.get(model.base) if model.role == "refiner" else None
    drawn = [found] if base is None else [base, found]
    choices = {memory.recording_unet(settings.calibration.unet, one, collected) for one in drawn}
    unet = INT8_WEIGHTS if INT8_WEIGHTS in choices else FP16
    ranged = replace(collected, floats=statistics.floats())
    drafting = drafts.foretold(settings.calibration, model, settings.device)
    used = min(settings.quantization.samples, drafting.kept)
    told = drafting.told * used // drafting.kept
    stored = tuple(one for one in (FP16, INT8) if memory.in_turn_gb(found, asked, one) <= fitting.free_gb()) or (INT8,)
    much, seconds, _ = prices.planned(model, settings.benchmark, found, base, asked, stored)
    kept_gb = prices.kept_gb(model, settings.benchmark, much, found, asked, len(stored))
    ways = speeds.apart(model.sampler, speeds.selected(settings.speed)) if base is None else []
    compared = spared.foretold(model.sampler, ways, found, asked, settings.benchmark)
    return {
        "download": budget.download(found, model.source.kind),
        "export": budget.export(found),
        "calibrate": budget.calibrate(found, collected, unet, drafting, base),
        "quantize": budget.quantize(found, ranged, used, settings.quantization, told),
        "benchmark": budget.benchmark(found, asked, stored, seconds.of(much), kept_gb),
        **({SPEED: budget.benchmark(found, asked, stored, compared)} if speeds.changes(settings.speed) else {}),
    }


def foretold(key: str, settings: Any, known: dict[str, sizes.Sizes]) -> dict[str, Need]:
    """`needs`, corrected by what the stages took here before."""
    return {stage: usage.corrected(stage, key, need) for stage, need in needs(key, settings, known).items()}


def at(pace: str) -> list[str]:
    """Overrides that select a pace."""
    return [f"calibration={pace}", f"benchmark={pace}"]


def usable(settings: Any) -> dict[str, sizes.Sizes]:
    """Sizes of the selected models whose UNet's size is known before the download."""
    known = {key: sizes_of(key, model) for key, model in settings.models.items()}
    return {key: found for key, found in known.items() if "unet" in found}


def line(key: str, settings: Any, known: dict[str, sizes.Sizes], paces: dict[str, Any]) -> list[str]:
    """A row of the table; `paces`: settings of the same models at the other paces."""
    found = foretold(key, settings, known)
    all_of_it = sum(list(found.values())[1:], list(found.values())[0])
    times = [usage.duration(need.seconds) if need.seconds is not None else "?" for need in found.values()]
    return [
        key,
        f"{all_of_it.disk_gb:.1f} GB",
        f"{all_of_it.memory_gb:.1f} GB",
        *times,
        whole(found),
        *(whole(foretold(key, other, known)) for other in paces.values()),
    ]


def whole(found: dict[str, Need]) -> str:
    """How long all stages take; `+` for what depends on something outside."""
    seconds = [need.seconds for need in found.values()]
    return usage.duration(sum(one or 0 for one in seconds)) + ("+" if None in seconds else "")


def notes(key: str, settings: Any, known: dict[str, sizes.Sizes]) -> list[str]:
    """What will be done otherwise than on a large machine, or cannot be done."""
    model, found = settings.models[key], known[key]
    asked, said = memory.request(model.sampler, settings.device), []
    whole, free = memory.SHARE * description.memory_gb(), fitting.free_gb()
    for stage, need in foretold(key, settings, known).items():
        if need.memory_gb > description.available_memory_gb():
            said.append(f"{stage} does not fit: it needs {need.memory_gb:.1f} GB")
    if memory.recording_unet(settings.calibration.unet, found, asked) == INT8_WEIGHTS:
        said.append("calibrates with a UNet of INT8 weights")
    fp16, exact = (memory.in_turn_gb(found, request) for request in (asked, replace(asked, floats="f32")))
    if fp16 > free:
        said.append(f"FP16 is not run: it needs {fp16:.1f} GB")
    elif exact > free:
        said.append(f"fidelity against FP16 in {asked.floats}: float32 needs {exact:.1f} GB")
    if fp16 <= free < memory.together_gb(found, asked):
        said.append("FP16's parts are loaded in turn")
    if asked.tiles:
        said.append("pictures are decoded in tiles")
    if memory.decoding_gb(asked) > whole:
        said.append("pictures cannot be decoded")
    return said


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m stages.plan", description=__doc__.splitlines()[0])
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="as in `dvc exp run -S key=value`")
    given = parser.parse_args(argv).overrides
    with config.main_guard():
        settings = composing.composed(READS, [*DEFAULT, *given])
        known = usable(settings)
        has = f"{description.memory_gb():.1f} GB of memory ({description.available_memory_gb():.1f} free)"
        print(f"{description.cores()} cores, {has}, floats in {memory.floats(settings.device)}\n")
        paces = {pace: composing.composed(READS, [*DEFAULT, *given, *at(pace)]) for pace in PACES}
        stages = [*STAGES, *([SPEED] if speeds.changes(settings.speed) else [])]
        heads = ["model", "disk", "memory", *stages, "all", *(f"all, {pace}" for pace in paces)]
        print(words.table([heads, *(line(key, settings, known, paces) for key in known)]))
        said = {key: "; ".join(notes(key, settings, known)) for key in known}
        said |= {key: "sizes are known after the download" for key in settings.models if key not in known}
        print("\n" + "\n".join(f"{key}: {text}" for key, text in said.items() if text))


def sizes_of(key: str, model: Any) -> sizes.Sizes:
    return sizes.of_checkpoint(layout.checkpoint(key)) or sizes.of_source(model.source)


if __name__ == "__main__":
    main()
