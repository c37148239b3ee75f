"""Stage `calibrate`: what the UNet is given while the model draws its own prompts, recorded for quantization.

Consumes artifacts/ir/<model>/fp16 (a refiner: its base's too) and prompts; produces artifacts/calibration/<model>, one
shard per prompt. Steps, guidance and size are the model's own; nothing is decoded. Where memory is short, the UNet
that is recorded has its weights in INT8, and parts are loaded in turn. Killed, it goes on after its last whole shard,
with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import budget, config, ir, manifest, pipelines, prompts, recorder, schemes, sizes, usage
from stages.lib.prompts import Prompt
from stages.lib.residency import Room

if TYPE_CHECKING:
    from stages.lib.config import Sampler, Settings

READS = ("model.{model}.role", "model.{model}.base", "model.{model}.sampler", "prompts", "calibration", "device")
HIGH_NOISE_FRACTION = 0.8  # where the refiner takes over from its base, as the SDXL paper has it
FIRST_SEED = 1_000_000  # away from the benchmark's: no image is drawn from a noise that was calibrated on


def calibrate(settings: Settings, root: Path = Path(".")) -> dict:
    """Write artifacts/calibration/<model> and return its manifest."""
    name = settings.model_key
    ir.require_device(settings.device.name)
    folders = _folders(settings, root)
    for part, folder in folders.items():
        manifest.verify(folder, rerun=f"export@{name if part == 'ir' else settings.model.base}")
    inputs = {part: manifest.digest(folder) for part, folder in folders.items()}
    chosen = prompts.load_prompts(settings.prompts, "calibration", settings.calibration.prompts)
    described = _describe(settings, chosen, _unet(settings, folders))
    target = root / "artifacts/calibration" / name
    with manifest.unfinished(target, manifest.key("calibrate", inputs, described)) as kept:
        truncated = _record(settings, _lighter(folders, described["unet"], kept), chosen, kept)
        paths = [recorder.shard_path(kept, number) for number in range(len(chosen))]
        samples = sum(map(recorder.count_samples, paths))
        facts = {"samples": samples, "prompts": len(chosen), "truncated": truncated, "unet": described["unet"]}
        with manifest.whole(target) as folder:
            for path in paths:
                manifest.link(path, folder / path.name)
            return manifest.write(folder, stage="calibrate", inputs=inputs, settings=described, facts=facts)


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        name, overrides = config.arguments("calibrate", argv)
        settings = config.load(READS, name, overrides)
        with usage.recorded("calibrate", name, _need(settings), Path("artifacts/calibration"), **_shape(settings)):
            facts = calibrate(settings)["facts"]
        cut = f", {facts['truncated']} prompts longer than the text encoder reads" if facts["truncated"] else ""
        light = "" if facts["unet"] == budget.FP16 else f", by a UNet with {facts['unet']}"
        print(f"calibrate {name}: {facts['samples']} UNet inputs of {facts['prompts']} prompts{light}{cut}")


def _need(settings: Settings) -> budget.Need:
    folders = _folders(settings, Path("."))
    found = {part: sizes.of_ir(folder) for part, folder in folders.items()}
    asked, unet = budget.request(settings.model.sampler, settings.device), _unet(settings, folders)
    chosen = settings.calibration
    counts = chosen.prompts, settings.model.sampler.steps, chosen.steps_per_prompt
    return budget.calibrate(found["ir"], asked, unet, *counts, base=found.get("base"))


def _shape(settings: Settings) -> dict[str, int]:
    sampler = settings.model.sampler
    return {"size_px": sampler.size, "steps": sampler.steps, "prompts": settings.calibration.prompts}


def _folders(settings: Settings, root: Path) -> dict[str, Path]:
    """The model's own IR, and of a refiner its base's."""
    keys = {"ir": settings.model_key} | ({"base": settings.model.base} if settings.model.role == "refiner" else {})
    for key in keys.values():
        manifest.read(root / "artifacts/ir" / key / "fp16", rerun=f"export@{key}")
    return {part: root / "artifacts/ir" / key / "fp16" for part, key in keys.items()}


def _unet(settings: Settings, folders: dict[str, Path]) -> str:
    """How the recorded UNet is stored: one choice for base and refiner, by the larger of the two."""
    asked = budget.request(settings.model.sampler, settings.device)
    choices = {
        budget.recording_unet(settings.calibration.unet, sizes.of_ir(folder), asked) for folder in folders.values()
    }
    return budget.INT8_WEIGHTS if budget.INT8_WEIGHTS in choices else budget.FP16


def _lighter(folders: dict[str, Path], unet: str, kept: Path) -> dict[str, Path]:
    """The same pipelines with the UNet that `unet` says; INT8 weights are made once and kept meanwhile."""
    if unet == budget.FP16:
        return folders
    return {part: schemes.light_pipeline(folder, kept / f"light-{part}") for part, folder in folders.items()}


def _describe(settings: Settings, chosen: list[Prompt], unet: str) -> dict:
    """Everything that decides what is recorded, the prompts' texts included; `unet` is what `auto` came to."""
    parts = {part: config.as_dict(getattr(settings, part)) for part in ("model", "calibration", "device")}
    return parts | {"unet": unet, "prompts": [[prompt.id, prompt.text] for prompt in chosen]}


def _record(settings: Settings, folders: dict[str, Path], chosen: list[Prompt], shards: Path) -> int:
    """Record the prompts that have no shard yet; how many of all prompts the tokenizer cuts short."""
    sampler, device, room = settings.model.sampler, settings.device, Room(budget.room_gb())
    missing = [number for number in range(len(chosen)) if not recorder.shard_path(shards, number).is_file()]
    starts = _starts(folders["base"], settings, chosen, missing, room) if "base" in folders else {}
    task = "two-stage" if "base" in folders else "text-to-image"
    pipeline = pipelines.load(folders["ir"], task, sampler, device, room=room)
    for number, encoded in _encoded(pipeline, chosen, missing, sampler, "calibrate"):
        samples = _record_prompt(pipeline, settings, encoded, (number, len(chosen)), starts.get(number))
        recorder.save_shard(recorder.shard_path(shards, number), samples, {"prompt": chosen[number].id})
    return prompts.count_truncated(chosen, pipeline.tokenizer_2)


def _record_prompt(
    pipeline: Any, settings: Settings, encoded: pipelines.Encoded, turn: tuple[int, int], start: Any
) -> list[recorder.Sample]:
    """The chosen steps of one prompt, the n-th of so many. Inputs of all its steps are held for a moment."""
    handed_over = {} if start is None else {"image": start, "denoising_start": HIGH_NOISE_FRACTION}
    with recorder.recording(pipeline, keep=lambda step: True) as samples:
        seed = _seed(settings, turn[0])
        pipelines.generate(pipeline, encoded, settings.model.sampler, seed, output="latent", **handed_over)
    count, how = settings.calibration.steps_per_prompt, settings.calibration.seed
    return [samples[step] for step in recorder.choose_steps(len(samples), count, *turn, seed=how)]


def _starts(base: Path, settings: Settings, chosen: list[Prompt], missing: list[int], room: Room) -> dict[int, Any]:
    """The base's unfinished latents for every missing prompt; the base is out of memory before the refiner comes in."""
    if not missing:
        return {}
    sampler = settings.model.sampler
    pipeline = pipelines.load(base, "text-to-image", sampler, settings.device, room=room)
    how: Any = {"output": "latent", "denoising_end": HIGH_NOISE_FRACTION}
    starts = {
        number: pipelines.generate(pipeline, encoded, sampler, _seed(settings, number), **how)
        for number, encoded in _encoded(pipeline, chosen, missing, sampler, "base latents")
    }
    room.clear()
    return starts


def _encoded(
    pipeline: Any, chosen: list[Prompt], missing: list[int], sampler: Sampler, what: str
) -> Iterator[tuple[int, pipelines.Encoded]]:
    """Numbers of the missing prompts with their embeddings, which are all made before the UNet is loaded."""
    encoded = pipelines.encode_ahead(pipeline, [chosen[number].text for number in missing], sampler)
    yield from zip(_with_bar(missing, what), encoded, strict=True)


def _seed(settings: Settings, number: int) -> int:
    return FIRST_SEED * (settings.calibration.seed + 1) + number


def _with_bar(numbers: list[int], what: str) -> Any:
    from tqdm import tqdm

    return tqdm(numbers, desc=what, unit="prompt", disable=None, leave=False)


if __name__ == "__main__":
    main()
