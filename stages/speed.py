"""Stage `speed`: what a model's pictures are spared at the selected speed, measured in turns, judged by exact ones.

    python -m stages.speed mini-sdxl                                   # the speed of params.yaml
    python -m stages.speed mini-sdxl all                               # settings of conf/speed alone, then its files
    python -m stages.speed mini-sdxl balanced evaluate_every=2 steps=12,scheduler=UniPCMultistepScheduler
    python -m stages.speed mini-sdxl all benchmark.prompts=24 speed.min_ssim=0.95

Consumes the model's FP16 and quantized IR, the evaluation prompts, the CLIP model that scores pictures; makes folders
of lighter parts where a speed asks for them, in artifacts/speed, and writes figures, a table and a grid into
reports/speed/<model>. Of `exact` alone, and of a refiner, which draws no picture by itself, it writes that there is
nothing to compare.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from stages.files import belonging, layout, manifest, placing
from stages.files.layout import FP16
from stages.generation import drawing, speeding
from stages.generation.residency import Room
from stages.ir import anatomy, tiny_vae
from stages.machine import budget, description, memory, sizes, usage
from stages.measurement import clip, latency, paces, spared
from stages.measurement import subject as subjects
from stages.measurement.kept import Kept, file_name
from stages.prompts import sets
from stages.quantization import lighter
from stages.report import pictures, speed_table
from stages.report.grids import COLUMNS
from stages.settings import config, schema, speeds
from stages.settings.speeds import PLAIN, Way

CODE = ("generation", "ir", "measurement", "quantization")  # rooms whose changes make what was kept worthless
READS = (
    "model.{model}.title", "model.{model}.role", "model.{model}.sampler", "prompts", "benchmark.minutes",
    "benchmark.prompts", "benchmark.seed", "device", "quantization.name", "speed", "tiny_vae",
)  # fmt: skip
ALL = "all"
SEEN = 4  # prompts of the calibration part whose finished latents a decoder's ranges are taken of


def speed(settings: Any, ways: list[Way]) -> dict[str, Any]:
    """Make, draw, judge; returns what figures.json holds."""
    key, machine = settings.model_key, description.require(layout.MACHINE)
    chosen = sets.load_prompts(settings.prompts, "evaluation", settings.benchmark.prompts)
    scorer, inputs = manifest.verify(layout.SCORER, rerun="scorer")["facts"] or None, verified(settings)
    with latency.disturbance(description.load_average()) as noise:
        drawn, count = draw(settings, ways, chosen, machine["id"])
    random = manifest.has_random_weights(manifest.read(layout.ir(key, FP16), rerun=f"export@{key}"))
    rows = paces.figures(drawn, chosen[:count], clip.load(layout.SCORER) if scorer and not random else None)
    if random:
        paces.forget(rows)
    found = {"model": key, "title": settings.model.title, "machine": machine["id"], "random_weights": random}
    found |= {"size_px": [settings.model.sampler.width, settings.model.sampler.height], "prompts": count}
    found |= {
        "inputs": inputs,
        "floats": memory.floats(settings.device),
        "noise": noise,
        "clip_model": scorer,
        "rows": rows,
    }
    speed_table.judge(found, settings.speed)
    write(found, drawn, [prompt.text for prompt in chosen[:count]])
    return found


def verified(settings: Any) -> dict[str, str]:
    """Digests of all that is read, each folder being what its manifest says, and the quantized IR of the FP16 one."""
    key, digests = settings.model_key, {"scorer": manifest.digest(layout.SCORER)}
    for name, stage in ((FP16, "export"), (settings.quantization.name, "quantize")):
        manifest.verify(layout.ir(key, name), rerun=f"{stage}@{key}")
        belonging.require_ir(key, name)
        digests[name] = manifest.digest(layout.ir(key, name))
    return digests


def draw(settings: Any, ways: list[Way], chosen: list[sets.Prompt], machine: str) -> tuple[list[paces.Drawn], int]:
    """All pictures, and of how many prompts; those of a run that was killed are kept."""
    from tqdm import tqdm

    key, room = settings.model_key, Room(memory.room_gb())
    with placing.unfinished(layout.unfinished_speed(key), kept_key(settings, ways, machine)) as folder:
        drawn = load(settings, ways, speeding.Pool(settings.device, room))
        total = len(drawn) * len(chosen)
        with tqdm(total=total, desc=f"speed {key}", unit="picture", leave=False, disable=None) as bar:
            count = paces.draw(drawn, chosen, settings.benchmark, room.clock, Kept(folder), bar.update)
    return drawn, count


def kept_key(settings: Any, ways: list[Way], machine: str) -> str:
    """Of what a killed run left: all that decides its pictures and times, the code too."""
    names = (FP16, settings.quantization.name)
    inputs = {name: manifest.digest(layout.ir(settings.model_key, name)) for name in names}
    inputs |= {room: manifest.code(Path(__file__).parent / room) for room in CODE}
    parts = {part: config.as_dict(getattr(settings, part)) for part in ("prompts", "benchmark", "device", "tiny_vae")}
    parts |= {"sampler": config.as_dict(settings.model.sampler), "machine": machine}
    return manifest.key("speed", inputs, parts | {"ways": [[way.name, config.as_dict(way.speed)] for way in ways]})


def load(settings: Any, ways: list[Way], pool: speeding.Pool) -> list[paces.Drawn]:
    """FP16 as it is, then every way of the quantized IR, `exact` first, on shared parts."""
    key, own, quantized = settings.model_key, settings.model.sampler, settings.quantization.name
    drawn = [paces.Drawn(PLAIN, FP16, speeding.load(layout.ir(key, FP16), own, ways[0].speed, pool))]
    for way in ways:
        folder = folder_of(settings, way, lambda: finished(settings, drawn[0]))
        drawn.append(paces.Drawn(way.name, quantized, speeding.load(folder, own, way.speed, pool)))
    return drawn


def folder_of(settings: Any, way: Way, latents: lighter.Latents) -> Path:
    """The IR folder that a speed draws with."""
    key, own, quantized = settings.model_key, settings.model.sampler, settings.quantization.name
    source = layout.ir(key, quantized)
    if not lighter.is_asked(way.speed, own):
        return source
    tiny = tiny_vae.tiny_vae(settings.tiny_vae) if way.speed.decoder == "tiny" else None
    target = layout.lighter(key, quantized, file_name(way.name))
    return lighter.lighter(source, target, way.speed, own, latents, tiny)


def finished(settings: Any, first: paces.Drawn) -> list[Any]:
    """Latents as a decoder is given them, of prompts that no picture is judged by."""
    seen = sets.load_prompts(settings.prompts, "calibration", SEEN)
    latents = [first.fast.draw(prompt.text, number, output="latent")[0] for number, prompt in enumerate(seen)]
    return [drawing.unscaled(latent, first.fast.pipeline.vae.config).numpy() for latent in latents]


def write(found: dict[str, Any], drawn: list[paces.Drawn], prompts: list[str]) -> None:
    """The figures last: whoever finds them finds the rest too."""
    target = layout.speed(found["model"])
    rows = [
        pictures.Row(speed_table.cells(row)[0], " ".join(speed_table.cells(row)[2:4]), one.pictures[:COLUMNS])
        for row, one in zip(found["rows"], drawn, strict=True)
    ]
    grid = pictures.Grid(f"{found['title']}, speed by speed", prompts[:COLUMNS], rows)
    target.mkdir(parents=True, exist_ok=True)
    pictures.draw(grid).save(target / "grid.png", optimize=True)
    placing.write_text(target / "table.md", speed_table.markdown(found))
    placing.write_text(target / "figures.csv", speed_table.as_csv(found["rows"]))
    placing.write_text(target / "figures.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def nothing(settings: Any) -> str:
    """Write down why nothing is compared, and say it."""
    refiner = settings.model.role == "refiner"
    why = "a refiner draws no picture by itself" if refiner else f"{settings.speed.name}: nothing is spared"
    target = layout.speed(settings.model_key)
    shutil.rmtree(target, ignore_errors=True)  # figures of another speed
    placing.write_text(
        target / "figures.json", json.dumps({"model": settings.model_key, "rows": [], "why": why}) + "\n"
    )
    return f"{why}; `python -m stages.speed MODEL all` measures what there is to choose"


def _check(settings: Any, ways: list[Way]) -> None:
    """What would fail after minutes only."""
    if any(way.speed.decoder == "tiny" for way in ways) and settings.tiny_vae.kind == "none":
        raise ValueError("speed.decoder is tiny, and tiny_vae.kind is none: choose another file of conf/tiny_vae")


def need(settings: Any, ways: list[Way]) -> budget.Need:
    """Memory of both IRs together; prompts after the first are drawn as far as benchmark.minutes allow."""
    folders, own = subjects.whole_folders(settings), settings.model.sampler
    found, stored = sizes.of_ir(folders[0]), tuple(map(anatomy.stored, folders))
    asked = memory.request(own, settings.device)
    seconds = spared.foretold(own, ways, found, asked, settings.benchmark, stored[-1])
    return budget.benchmark(found, asked, stored, seconds)


def arguments(argv: list[str] | None) -> tuple[str, list[str], list[str]]:
    """A model, words for ways, overrides of the command's own settings."""
    said = "files of conf/speed, one of their settings (deep_every=2), or settings for this run only"
    model, given = config.named_arguments("speed", __doc__, f"speed | {ALL} | key=value", said, argv)
    sections = (*schema.SECTIONS, "model")
    overrides = [word for word in given if "=" in word and word.partition(".")[0] in sections]
    words = [word for word in given if word not in overrides]
    if ALL in words and len(words) > 1:
        raise ValueError(f"{ALL} goes alone, got {' '.join(words)}")
    return model, words, overrides


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        key, words, overrides = arguments(argv)
        settings = config.load(READS, key, overrides)
        ways = speeds.ways([word for word in words if word != ALL]) if words else speeds.selected(settings.speed)
        ways = speeds.apart(settings.model.sampler, ways)
        if len(ways) == 1 or settings.model.role == "refiner":
            print(f"speed {key}: {nothing(settings)}")
            return
        _check(settings, ways)
        with usage.recorded("speed", key, need(settings, ways), layout.speed(key), ways=[way.name for way in ways]):
            found = speed(settings, ways)
        print(speed_table.terminal(found))
        busy = " The machine was busy: take the times with care." if found["noise"]["flagged"] else ""
        print(f"\n{layout.speed(key) / 'table.md'}: {speed_table.told(found)}{busy}")


if __name__ == "__main__":
    main()
