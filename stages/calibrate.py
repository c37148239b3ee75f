"""Stage `calibrate`: what the UNet is given while the model drafts its own prompts, recorded for quantization.

Consumes artifacts/ir/<model>/fp16 (a refiner: its base's too) and prompts; produces artifacts/calibration/<model>, one
shard per prompt, and what the UNet's layers were given with its samples (extremes/), from which ranges come without
evaluating it once more. A few of the float UNet's evaluations tell enough to make one in INT8, which drafts the other
prompts. Scheduler, guidance and size are the model's own, a draft's timesteps some of its own; nothing is decoded.
Where memory is short, the UNet that is recorded has its weights in INT8, and parts are loaded in turn. Killed, it goes
on after its last whole shard, with the same result. With engine=ray the workers of a cluster draft the prompts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stages.calibration import collecting, drafts, shards
from stages.calibration.collecting import Turn
from stages.engines import engine as engines
from stages.engines.engine import LOCAL, Engine
from stages.files import belonging, layout, manifest, placing
from stages.ir import parts, runtime
from stages.machine import budget, memory, sizes, usage
from stages.prompts import sets
from stages.prompts.sets import Prompt
from stages.quantization import drafter, schemes
from stages.settings import config

if TYPE_CHECKING:
    from stages.settings.schema import Settings

READS = ("model.{model}.role", "model.{model}.base", "model.{model}.sampler", "prompts", "calibration", "device")


def calibrate(settings: Settings, root: Path = Path("."), engine: Engine = LOCAL) -> dict:
    """Write artifacts/calibration/<model> and return its manifest, the same one whatever engine drafts the prompts."""
    name = settings.model_key
    runtime.require_device(settings.device.name)
    folders = _folders(settings, root)
    for part, folder in folders.items():
        manifest.verify(folder, rerun=f"export@{name if part == 'ir' else settings.model.base}")
    inputs = {part: manifest.digest(folder) for part, folder in folders.items()}
    count = drafts.prompts(settings.calibration, settings.model)
    chosen = sets.load_prompts(settings.prompts, "calibration", count)
    described = _describe(settings, chosen, _unet(settings, folders))
    target = root / layout.calibration(name)
    with placing.unfinished(target, manifest.key("calibrate", inputs, described)) as kept:
        drawing = _lighter(folders, described["unet"], kept)
        truncated, by = _drafted(settings, folders, drawing, chosen, kept, engine)
        paths = [shards.shard_path(kept, number) for number in range(len(chosen))]
        samples = sum(map(shards.count_samples, paths))
        facts = {"samples": samples, "prompts": len(chosen), "truncated": truncated, "unet": described["unet"]}
        facts |= {"largest_px": round(_asked(settings).size_px), "told": sum(map(shards.count_told, paths))}
        facts |= {"drafter": by}
        with placing.whole(target) as folder:
            for path in [*paths, *filter(Path.is_file, map(shards.beside, paths))]:
                placing.link(path, folder / path.relative_to(kept))
            return manifest.write(folder, stage="calibrate", inputs=inputs, settings=described, facts=facts)


def _drafted(
    settings: Settings,
    folders: dict[str, Path],
    drawing: dict[str, Path],
    chosen: list[Prompt],
    kept: Path,
    engine: Engine,
) -> tuple[int, dict | None]:
    """Shards of all prompts: the first ones by the float UNets in `drawing`, the others by what is made in INT8 of
    `folders` and of those, unless that strays too far. Returns how many prompts are cut short, and about the others."""

    def collect(pipelines: dict[str, Path], turn: Turn) -> int:
        return collecting.collect(settings, pipelines, chosen, kept, memory.room_gb(), engine, turn)

    count = drafts.in_float(settings.calibration, settings.model, settings.device)
    if count == len(chosen):
        return collect(drawing, Turn(range(count))), None
    seen, rest = kept / "seen", range(count, len(chosen))
    collect(drawing, Turn(range(count), seen=seen))
    quick = {part: kept / f"quick-{part}" for part in folders}
    made = {part: drafter.pipeline(folders[part], quick[part], seen / part, settings.device) for part in folders}
    near_db = min(one.near_db for one in made.values())
    if near_db < drafter.NEAR_DB:
        print(f"calibrate {settings.model_key}: in INT8 drafts would keep {near_db} dB only, so all are in float")
        return collect(drawing, Turn(rest)), None
    return collect(quick, Turn(rest, taps=made["ir"].taps)), {"prompts": len(rest), "near_db": near_db}


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        name, overrides = config.arguments("calibrate", argv)
        settings = config.load((*READS, *config.HOW), name, overrides)
        with usage.recorded("calibrate", name, _need(settings), layout.calibration(name), **_shape(settings)):
            facts = calibrate(settings, engine=engines.chosen(settings.engine))["facts"]
        cut = f", {facts['truncated']} prompts longer than the text encoder reads" if facts["truncated"] else ""
        by = facts["drafter"]
        quick = f", {by['prompts']} of them drafted in INT8 ({by['near_db']} dB)" if by else ""
        light = "" if facts["unet"] == memory.FP16 else f", by a UNet with {facts['unet']}"
        print(f"calibrate {name}: {facts['samples']} UNet inputs of {facts['prompts']} prompts{quick}{light}{cut}")


def _need(settings: Settings) -> budget.Need:
    folders = _folders(settings, Path("."))
    found = {part: sizes.of_ir(folder) for part, folder in folders.items()}
    asked, unet = _asked(settings), _unet(settings, folders)
    foretold = drafts.foretold(settings.calibration, settings.model, settings.device)
    return budget.calibrate(found["ir"], asked, unet, foretold, found.get("base"))


def _asked(settings: Settings) -> memory.Request:
    samplers = memory.at_sizes(settings.model.sampler, settings.calibration.sizes)
    return memory.request(memory.largest(samplers), settings.device)


def _shape(settings: Settings) -> dict[str, int]:
    sampler = settings.model.sampler
    prompts = drafts.prompts(settings.calibration, settings.model)
    evaluations = prompts * sum(drafts.evaluations(settings.calibration, settings.model))
    return {"size_px": memory.side_px(sampler), "evaluations": evaluations, "prompts": prompts}


def _folders(settings: Settings, root: Path) -> dict[str, Path]:
    """The model's own IR, and of a refiner its base's."""
    keys = {"ir": settings.model_key} | ({"base": settings.model.base} if settings.model.role == "refiner" else {})
    folders = {part: root / layout.ir(key, layout.FP16) for part, key in keys.items()}
    for part, key in keys.items():
        manifest.read_whole(folders[part], rerun=f"export@{key}")
        belonging.require_ir(key, layout.FP16, root)
        parts.require(folders[part])
        samplers = memory.at_sizes(settings.model.sampler, settings.calibration.sizes)
        parts.require_size(folders[part], samplers[:1])
        parts.require_size(folders[part], samplers[1:], "calibration.sizes")
    return folders


def _unet(settings: Settings, folders: dict[str, Path]) -> str:
    """How the recorded UNet is stored: one choice for base and refiner, by the larger of the two."""
    asked = _asked(settings)
    choices = {
        memory.recording_unet(settings.calibration.unet, sizes.of_ir(folder), asked) for folder in folders.values()
    }
    return memory.INT8_WEIGHTS if memory.INT8_WEIGHTS in choices else memory.FP16


def _lighter(folders: dict[str, Path], unet: str, kept: Path) -> dict[str, Path]:
    """The same pipelines with the UNet that `unet` says; INT8 weights are made once and kept meanwhile."""
    if unet == memory.FP16:
        return folders
    return {part: schemes.light_pipeline(folder, kept / f"light-{part}") for part, folder in folders.items()}


def _describe(settings: Settings, chosen: list[Prompt], unet: str) -> dict:
    """Everything that decides what is recorded, the prompts' texts included; `unet` is what `auto` came to."""
    said = {part: config.as_dict(getattr(settings, part)) for part in ("model", "calibration", "device")}
    return said | {"unet": unet, "prompts": [[prompt.id, prompt.text] for prompt in chosen]}


if __name__ == "__main__":
    main()
