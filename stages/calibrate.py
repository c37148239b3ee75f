"""Stage `calibrate`: what the UNet is given while the model draws its own prompts, recorded for quantization.

Consumes artifacts/ir/<model>/fp16 (a refiner: its base's too) and prompts; produces artifacts/calibration/<model>, one
shard per prompt. Steps, guidance and size are the model's own; nothing is decoded. Killed, it goes on after its last
whole shard, with the same result.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import config, ir, manifest, pipelines, prompts, recorder
from stages.lib.prompts import Prompt

if TYPE_CHECKING:
    from stages.lib.config import Device, Sampler, Settings

READS = ("model.{model}.role", "model.{model}.base", "model.{model}.sampler", "prompts", "calibration", "device")
HIGH_NOISE_FRACTION = 0.8  # where the refiner takes over from its base, as the SDXL paper has it
FIRST_SEED = 1_000_000  # away from the benchmark's: no image is drawn from a noise that was calibrated on


def calibrate(settings: Settings, root: Path = Path(".")) -> dict:
    """Write artifacts/calibration/<model> and return its manifest."""
    model, name = settings.model, settings.model_key
    ir.require_device(settings.device.name)
    folders = {"ir": _ir(root, name)} | ({"base": _ir(root, model.base)} if model.role == "refiner" else {})
    inputs = {part: manifest.digest(folder) for part, folder in folders.items()}
    chosen = prompts.load_prompts(settings.prompts, "calibration", settings.calibration.prompts)
    described = _describe(settings, chosen)
    target = root / "artifacts/calibration" / name
    with manifest.unfinished(target, manifest.key("calibrate", inputs, described)) as shards:
        truncated = _record(settings, folders, chosen, shards)
        paths = [recorder.shard_path(shards, number) for number in range(len(chosen))]
        facts = {"samples": sum(map(recorder.count_samples, paths)), "prompts": len(chosen), "truncated": truncated}
        with manifest.whole(target) as folder:
            for path in paths:
                manifest.link(path, folder / path.name)
            return manifest.write(folder, stage="calibrate", inputs=inputs, settings=described, facts=facts)


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        name, overrides = config.arguments("calibrate", argv)
        facts = calibrate(config.load(READS, name, overrides))["facts"]
        cut = f", {facts['truncated']} prompts longer than the text encoder reads" if facts["truncated"] else ""
        print(f"calibrate {name}: {facts['samples']} UNet inputs of {facts['prompts']} prompts{cut}")


def _ir(root: Path, model: str) -> Path:
    folder = root / "artifacts/ir" / model / "fp16"
    manifest.verify(folder, rerun=f"export@{model}")
    return folder


def _describe(settings: Settings, chosen: list[Prompt]) -> dict:
    """Everything that decides what is recorded, the prompts' texts included."""
    parts = {part: config.as_dict(getattr(settings, part)) for part in ("model", "calibration", "device")}
    return parts | {"prompts": [[prompt.id, prompt.text] for prompt in chosen]}


def _record(settings: Settings, folders: dict[str, Path], chosen: list[Prompt], shards: Path) -> int:
    """Record the prompts that have no shard yet; how many of all prompts the tokenizer cuts short."""
    sampler, device = settings.model.sampler, settings.device
    missing = [number for number in range(len(chosen)) if not recorder.shard_path(shards, number).is_file()]
    starts = _starts(folders["base"], sampler, device, chosen, missing, settings) if "base" in folders else {}
    task = "two-stage" if "base" in folders else "text-to-image"
    pipeline = pipelines.load(folders["ir"], task, sampler, device)
    for number in _with_bar(missing, "calibrate"):
        _record_prompt(pipeline, settings, chosen, number, starts.get(number), shards)
    return prompts.count_truncated(chosen, pipeline.tokenizer_2)


def _record_prompt(
    pipeline: Any, settings: Settings, chosen: list[Prompt], number: int, start: Any, shards: Path
) -> None:
    """One prompt's shard. Inputs of all its steps are held for a moment, then the chosen ones are kept."""
    handed_over = {} if start is None else {"image": start, "denoising_start": HIGH_NOISE_FRACTION}
    with recorder.recording(pipeline, keep=lambda step: True) as samples:
        seed, text = _seed(settings, number), chosen[number].text
        pipelines.generate(pipeline, text, settings.model.sampler, seed, output="latent", **handed_over)
    count, turn = settings.calibration.steps_per_prompt, (number, len(chosen))
    steps = recorder.choose_steps(len(samples), count, *turn, seed=settings.calibration.seed)
    notes = {"prompt": chosen[number].id}
    recorder.save_shard(recorder.shard_path(shards, number), [samples[step] for step in steps], notes)


def _starts(
    base: Path, sampler: Sampler, device: Device, chosen: list[Prompt], missing: list[int], settings: Settings
) -> dict[int, Any]:
    """The base's unfinished latents for every missing prompt; the base is out of memory before the refiner comes in."""
    if not missing:
        return {}
    pipeline, end = pipelines.load(base, "text-to-image", sampler, device), HIGH_NOISE_FRACTION
    return {
        number: pipelines.generate(
            pipeline, chosen[number].text, sampler, _seed(settings, number), output="latent", denoising_end=end
        )
        for number in _with_bar(missing, "base latents")
    }


def _seed(settings: Settings, number: int) -> int:
    return FIRST_SEED * (settings.calibration.seed + 1) + number


def _with_bar(numbers: list[int], what: str) -> Any:
    from tqdm import tqdm

    return tqdm(numbers, desc=what, unit="prompt", disable=None, leave=False)


if __name__ == "__main__":
    main()
