"""A command, not a stage: our pictures beside other programs', the same prompts, latents and steps, in one sitting.

    python -m stages.peers mini-sdxl                                   # all that is installed
    python -m stages.peers mini-sdxl torch-bf16 genai benchmark.prompts=12 benchmark.minutes=null

Consumes a model's checkpoint, its FP16 and quantized IR, the evaluation prompts, the CLIP model that scores pictures;
makes optimum-intel's own INT8 IRs in artifacts/peers, and writes figures, pictures and a grid into
reports/peers/<model>. A peer that is not installed, does not fit or fails is a row with the reason. Packages of peers
are the extra `peers`; without them the others are compared.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stages.files import belonging, layout, manifest, placing
from stages.machine import budget, description, fitting, memory, usage
from stages.measurement import clip, latency
from stages.measurement import subject as subjects
from stages.measurement.kept import Kept
from stages.peers import figures, known, on_openvino, sitting, table
from stages.peers.known import OWN, QUANTIZED
from stages.peers.work import Work
from stages.prompts import sets
from stages.report import pictures
from stages.report.grids import COLUMNS
from stages.settings import config

READS = (
    "model.{model}.title", "model.{model}.role", "model.{model}.sampler", "prompts", "benchmark.minutes",
    "benchmark.prompts", "benchmark.steps", "benchmark.seed", "device", "quantization.name", "quantization.samples",
)  # fmt: skip
CODE = ("generation", "ir", "measurement", "peers")  # rooms whose changes make what was kept worthless
EXACT = "the FP16 IR in float32"


def peers(settings: Any, names: list[str]) -> dict[str, Any]:
    """Make, draw, compare; returns what figures.json holds."""
    machine, work = description.require(layout.MACHINE), work_of(settings)
    scorer, random = verified(settings)
    prompts = sets.load_prompts(settings.prompts, "evaluation", settings.benchmark.prompts)
    reasons, made_s = make(settings, work, names, random)
    with latency.disturbance(description.load_average()) as noise:
        groups, reference, unfit = draw(settings, work, names, reasons, prompts, random, machine["id"])
    model = clip.load(layout.SCORER) if scorer and not random else None
    rows = figures.rows([OWN, QUANTIZED, *names], groups, reasons | unfit, reference, texts(prompts), model)
    for row in rows:
        row["quantize_s"] = made_s.get(row["name"])
        row["cells"] = [] if row["skipped"] else table.cells(row)
    require_ours(rows)
    sampler = settings.model.sampler
    found = {"model": work.key, "title": settings.model.title, "machine": machine["id"], "random_weights": random}
    found |= {"size_px": [sampler.width, sampler.height], "steps": work.steps, "scheduler": sampler.scheduler}
    found |= {"guidance": sampler.guidance, "floats": memory.floats(settings.device), "threads": work.threads}
    found |= {"quantization": work.quantized, "reference": EXACT if reference and not reference.reason else None}
    found |= {"noise": noise, "packages": versions(), "in_memory": [[seat.name for seat in group] for group in groups]}
    inputs = {name: manifest.digest(layout.ir(work.key, name)) for name in (layout.FP16, work.quantized)}
    found |= {"inputs": inputs | {"scorer": manifest.digest(layout.SCORER)}}
    found |= {"clip_model": scorer, "prompts": texts(prompts), "heads": table.HEADS, "rows": rows}
    found["told"] = table.told(found)
    write(found, groups, reference, [prompt.id for prompt in prompts])
    return found


def work_of(settings: Any) -> Work:
    how = settings.model.sampler, settings.device, settings.quantization.name, subjects.steps_of(settings)
    return Work(settings.model_key, *how)


def texts(prompts: list[sets.Prompt]) -> list[str]:
    return [prompt.text for prompt in prompts]


def verified(settings: Any) -> tuple[dict[str, Any] | None, bool]:
    """Facts of the CLIP model, None without one; whether weights are random. IRs are as their manifests say."""
    key, quantized = settings.model_key, settings.quantization.name
    found = manifest.verify(layout.ir(key, layout.FP16), rerun=f"export@{key}")
    manifest.verify(layout.ir(key, quantized), rerun=f"quantize@{key}")
    belonging.require_ir(key, quantized)
    return manifest.verify(layout.SCORER, rerun="scorer")["facts"] or None, manifest.has_random_weights(found)


def make(settings: Any, work: Work, names: list[str], random: bool) -> tuple[dict[str, str], dict[str, float | None]]:
    """What others draw with: why one is not made, and what making it took.

    As many samples as they take by default; random weights, whose ranges mean nothing, get as many as ours.
    """
    samples = settings.quantization.samples if random else on_openvino.DEFAULT_SAMPLES
    reasons, seconds = {}, {}
    for name in names:
        if known.PEERS[name].make is None:
            continue
        try:
            seconds[name] = known.PEERS[name].make(work, settings.prompts, samples)
        except (ValueError, FileNotFoundError) as error:
            reasons[name] = f"not made: {error}"
    return reasons, seconds


def draw(
    settings: Any,
    work: Work,
    names: list[str],
    reasons: dict[str, str],
    prompts: list[sets.Prompt],
    random: bool,
    machine: str,
) -> tuple[list[sitting.Group], sitting.Seat | None, dict[str, str]]:
    """All pictures; those of a run that was killed are kept. And the reasons of those that do not fit."""
    from tqdm import tqdm

    able = [name for name in [OWN, QUANTIZED, *names] if name not in reasons]
    fit, unfit = sitting.fitted(able, work, fitting.free_gb())
    total = (len(fit) + (not random)) * len(prompts) + len(fit)
    key = kept_key(settings, work, machine)
    with placing.unfinished(layout.unfinished_peers(work.key), key) as folder:
        with tqdm(total=total, desc=f"peers {work.key}", unit="picture", leave=False, disable=None) as bar:
            groups = sitting.sit(fit, work, prompts, settings.benchmark, Kept(folder), bar.update)
            count = max(len(seat.pictures) for group in groups for seat in group)
            how = work, count, prompts, settings.benchmark.seed, Kept(folder), bar.update
            reference = None if random else sitting.references(*how)
    return groups, reference, unfit


def kept_key(settings: Any, work: Work, machine: str) -> str:
    """Of what a killed run left: all that decides its pictures and times, the code too."""
    folders = {name: work.ir(name) for name in (layout.FP16, work.quantized)}
    folders |= {name: layout.peer(work.key, name) for name in known.NAMES}
    inputs = {name: manifest.digest(folder) for name, folder in folders.items() if (folder / manifest.NAME).is_file()}
    inputs |= {room: manifest.code(Path(__file__).parents[1] / room) for room in CODE}
    parts = {part: config.as_dict(getattr(settings, part)) for part in ("prompts", "benchmark", "device")}
    parts |= {"sampler": config.as_dict(work.sampler), "machine": machine, "packages": versions()}
    return manifest.key("peers", inputs, parts)


def versions() -> dict[str, str | None]:
    return {name: manifest.version(name) for name in (*manifest.TOOLS, "openvino-genai", "cyllama")}


def require_ours(rows: list[figures.Row]) -> None:
    """Without our INT8 there is nothing to compare."""
    mine = next(row for row in rows if row["name"] == QUANTIZED)
    if mine["skipped"]:
        raise ValueError(f"{mine['about']} draws nothing: {mine['skipped']}")


def write(found: dict[str, Any], groups: list[sitting.Group], reference: Any, ids: list[str]) -> None:
    """Pictures of everybody, then a grid; the figures last: whoever finds them finds the rest too."""
    from PIL import Image

    target = layout.peers(found["model"])
    shutil.rmtree(target, ignore_errors=True)
    drawn = {seat.name: seat for group in reversed(groups) for seat in group if not seat.reason}
    drawn |= {reference.name: reference} if reference and not reference.reason else {}
    shown = {name: [Image.fromarray(one) for one in seat.pictures] for name, seat in drawn.items()}
    for name, mine in shown.items():
        (target / "images" / name).mkdir(parents=True)
        for prompt, picture in zip(ids, mine, strict=False):
            picture.save(target / "images" / name / f"{prompt}.png")
    pictures.draw(grid(found, shown)).save(target / "grid.png", optimize=True)
    placing.write_text(target / "figures.csv", table.as_csv(found["rows"]))
    placing.write_text(target / "figures.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def grid(found: dict[str, Any], shown: dict[str, list[Any]]) -> pictures.Grid:
    columns = found["prompts"][: min(COLUMNS, max(map(len, shown.values())))]
    said = {known.REFERENCE: ("reference", found["reference"])}
    for row in found["rows"]:
        cells = table.cells(row) if row["name"] in shown else []
        said[row["name"]] = (row["name"], f"{cells[1]}, {cells[5]}" if cells else "")
    rows = [pictures.Row(*said[name], _filled(shown[name], columns)) for name in said if name in shown]
    return pictures.Grid(f"{found['title']} beside its peers", columns, rows)


def _filled(mine: list[Any], columns: list[str]) -> list[Any]:
    """As many as there are columns: a peer may have drawn fewer prompts."""
    return [*mine, *[None] * len(columns)][: len(columns)]


def need(settings: Any, names: list[str]) -> budget.Need:
    """The least that our own pictures take; time depends on what is installed."""
    gb = max(known.gb(name, work_of(settings)) for name in (OWN, QUANTIZED))
    return budget.Need(gb, 0.05, None, takes_more=True)


def arguments(argv: list[str] | None) -> tuple[str, list[str], list[str]]:
    """A model, peers, overrides."""
    said = f"{', '.join(known.NAMES)}, all of them without; settings for this run only"
    model, words = config.named_arguments("peers", __doc__, "peer | key=value", said, argv)
    names = known.chosen([word for word in words if "=" not in word])
    return model, names, [word for word in words if "=" in word]


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        key, names, overrides = arguments(argv)
        settings = config.load(READS, key, overrides)
        if settings.model.role == "refiner":
            raise ValueError("a refiner draws no picture by itself: name its base")
        subjects.whole_folders(settings)
        with usage.recorded("peers", key, need(settings, names), layout.peers(key), peers=names):
            found = peers(settings, names)
        print(table.terminal(found))
        busy = " The machine was busy: take the times with care." if found["noise"]["flagged"] else ""
        print("\n`dvc repro compare` puts them on the page of all models.")
        print(f"{layout.peers(key) / 'grid.png'}: {found['told']}{busy}")


if __name__ == "__main__":
    main()
