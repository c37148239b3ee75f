"""Stage `benchmark`: figures and pictures of one model, FP16 and quantized side by side, on this machine.

Consumes both IR folders (for a refiner its base's FP16 one too), evaluation prompts, the CLIP model that scores
pictures and the machine's description; produces in reports/benchmark/<model> pictures, record.json with every figure,
the curve sqnr.csv, and metrics.json with the figures that a person compares. Precisions run in turns; fidelity is
measured against the FP16 IR computed in float32. Where memory is short, parts are loaded in turn, precisions run one
after the other, and one that does not fit at all is left out with the reason. Compares no models: `compare` does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.files import layout, manifest, placing
from stages.ir import anatomy
from stages.machine import budget, description, memory, sizes, usage
from stages.measurement import curve, doubts, gallery, metrics, sitting
from stages.measurement import subject as subjects
from stages.measurement.reference import POINTS
from stages.settings import config

READS = ("model.{model}", "prompts", "benchmark", "device", "quantization.name")


def benchmark(settings: Any) -> dict[str, Any]:
    """Measure one model; returns what record.json holds."""
    from tqdm import tqdm

    key = settings.model_key
    machine = require_machine()
    scorer = manifest.verify(layout.SCORER, rerun="scorer")
    digests, random_weights = verified(settings)
    subject = subjects.subject(settings)
    with tqdm(total=subject.runs() + 1, desc=f"benchmark {key}", unit="run", leave=False, disable=None) as bar:
        subject = subjects.with_first_stage(subject)
        found, runs = sitting.measure(subject, scorer, random_weights, bar.update)
        bar.update()
    about = {"machine": machine["id"], "random_weights": random_weights, "clip_model": scorer["facts"] or None}
    found = about | found | {"inputs": digests}
    found |= {"doubts": doubts.doubts(found)}
    gallery.write(layout.benchmark(key) / "images", subject, runs)
    write(layout.benchmark(key), found)
    return found


def require_machine() -> dict[str, Any]:
    """The description in reports/machine.json, which must be this machine's."""
    if not layout.MACHINE.is_file():
        raise FileNotFoundError(f"{layout.MACHINE} is missing: run 'dvc repro describe' first")
    described, found = json.loads(layout.MACHINE.read_text()), description.describe()
    if described.get("id") != found["id"]:
        raise ValueError(
            f"{layout.MACHINE} describes machine {described.get('id')}, this one is {found['id']}: "
            "run 'dvc repro describe'"
        )
    return found


def verified(settings: Any) -> tuple[dict[str, str], bool]:
    """Digests of all that is read, each folder being what its manifest says; and whether the weights are random."""
    key, model, scheme = settings.model_key, settings.model, settings.quantization.name
    reruns = {layout.FP16: (key, layout.FP16, f"export@{key}"), scheme: (key, scheme, f"quantize@{key}")}
    if model.role == "refiner":
        reruns["base"] = (model.base, layout.FP16, f"export@{model.base}")
    manifests, digests = {}, {}
    for name, (owner, precision, rerun) in reruns.items():
        manifests[name] = manifest.verify(layout.ir(owner, precision), rerun=rerun)
        digests[name] = manifest.digest(layout.ir(owner, precision))
    digests["scorer"] = manifest.digest(layout.SCORER)
    return digests, bool(manifests[layout.FP16]["facts"].get("random_weights"))


def write(target: Path, found: dict[str, Any]) -> None:
    """The short form last: whoever finds it finds the pictures and the record too."""
    placing.write_text(target / "record.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    placing.write_text(target / "sqnr.csv", curve.sqnr_csv(found))
    placing.write_text(target / "metrics.json", json.dumps(metrics.metrics(found), indent=1) + "\n")


def closing_line(found: dict[str, Any]) -> str:
    row = found["precisions"][found["quantization"]]
    step, image = row["speedup_step"], row["speedup_image"]
    busy = "; the machine was busy, take the times with care" if found["noise"]["flagged"] else ""
    fidelity = f"noise prediction {row['sqnr_db']} dB, pictures {row['psnr_db']} dB"
    if found["random_weights"]:
        fidelity = "the weights are random, nothing else means anything"
    doubted = "".join(f"; {doubt}" for doubt in found["doubts"])
    return (
        f"{found['model']} {found['quantization']}: {step['ratio']:.2f}x ({step['low']:.2f} to "
        f"{step['high']:.2f}) the speed of fp16 in a UNet step, {image['ratio']:.2f}x in an image; "
        f"{fidelity}{busy}{doubted}"
    )


def need(settings: Any) -> budget.Need:
    folders = [layout.ir(settings.model_key, name) for name in (layout.FP16, settings.quantization.name)]
    for folder in folders:
        rerun = "export" if folder.name == layout.FP16 else "quantize"
        manifest.read_whole(folder, rerun=f"{rerun}@{settings.model_key}")
    asked = memory.request(settings.model.sampler, settings.device)
    pictures = settings.benchmark.prompts * len(settings.model.tasks) + settings.benchmark.warmup
    points = settings.benchmark.repetitions + POINTS * settings.benchmark.prompts
    stored = tuple(map(anatomy.stored, folders))
    return budget.benchmark(sizes.of_ir(folders[0]), asked, stored, pictures, subjects.steps_of(settings), points)


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, overrides = config.arguments("benchmark", argv)
        settings = config.load(READS, model, overrides)
        facts = {"size_px": memory.side_px(settings.model.sampler), "steps": subjects.steps_of(settings)}
        with usage.recorded("benchmark", model, need(settings), layout.benchmark(model), **facts):
            found = benchmark(settings)
        print(closing_line(found))


if __name__ == "__main__":
    main()
