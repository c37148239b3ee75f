"""Stage `benchmark`: figures and pictures of one model, FP16 and quantized side by side, on this machine.

Consumes both IR folders (for a refiner its base's FP16 one too), evaluation prompts, the CLIP model that scores
pictures, the judge of prompts, what FID is measured from and the machine's description; produces in
reports/benchmark/<model> pictures, record.json with every figure, the curve sqnr.csv, and metrics.json with the figures
that a person compares. Precisions run in turns; fidelity is measured against the FP16 IR computed in float32, and INT8
is proven by the work that it does. How much is measured is planned to `benchmark.minutes`; what is finished is kept, so
that a killed run goes on with it; with engine=ray a cluster draws what is not timed. Where memory is short, parts are
loaded in turn, precisions run one after the other, and one that does not fit at all is left out with the reason.
Compares no models: `compare` does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from stages.engines import engine as engines
from stages.engines.engine import LOCAL, Engine
from stages.files import belonging, layout, manifest, placing
from stages.files.layout import FP16
from stages.ir import anatomy
from stages.machine import budget, description, memory, sizes, usage
from stages.measurement import ahead, curve, doubts, fid, gallery, metrics, prices, provenance, retrieval, sitting
from stages.measurement import subject as subjects
from stages.measurement.kept import Kept
from stages.settings import config

CODE = ("generation", "ir", "measurement")  # rooms whose changes make what was kept worthless
READS = ("model.{model}", "prompts", "judge", "fid", "benchmark", "device", "quantization.name")


def benchmark(settings: Any, engine: Engine = LOCAL) -> dict[str, Any]:
    """Measure one model; returns what record.json holds. What is timed is drawn here, whatever the engine."""
    from tqdm import tqdm

    key = settings.model_key
    machine = description.require(layout.MACHINE)
    scorer = manifest.verify(layout.SCORER, rerun="scorer")["facts"] or None
    judge = retrieval.load(Path(settings.judge.repo)) if settings.judge.kind != "none" else None
    digests = verified(settings)
    yardstick = fid.yardstick(settings.fid, settings.device, engine)
    subject = subjects.subject(settings)
    with placing.unfinished(layout.unfinished_benchmark(key), kept_key(subject, digests, machine["id"])) as folder:
        subject = replace(subject, kept=Kept(folder))
        with tqdm(total=subject.runs() + 1, desc=f"benchmark {key}", unit="run", leave=False, disable=None) as bar:
            subject = subjects.with_first_stage(subject, engine)
            if engine is not LOCAL:
                ahead.draw(subject, engine)
            found, runs, reference = sitting.measure(subject, scorer, judge, bar.update, engine)
            bar.update()
        main = {name: [run for run in mine if run.job.task == subject.main_task] for name, mine in runs.items()}
        meant = None if subject.random_weights else yardstick
        found |= {"fid": fid.figures(meant, settings.fid, found["precisions"], main, subject.kept)}
        about = {"machine": machine["id"], "random_weights": subject.random_weights, "clip_model": scorer}
        about |= {"judge": {"title": settings.judge.title, "licence": settings.judge.licence} if judge else None}
        found = about | found | {"inputs": digests, "measured": provenance.measured()}
        found |= {"doubts": doubts.doubts(found)}
        gallery.write(layout.benchmark(key) / "images", subject, runs, reference)
        write(layout.benchmark(key), found)
    return found


def kept_key(subject: subjects.Subject, digests: dict[str, str], machine: str) -> str:
    """Of what a killed run left: all that decides its pictures and figures, how much is measured and the code too."""
    code = {room: manifest.code(Path(__file__).parent / room) for room in CODE}
    parts = {
        part: config.as_dict(getattr(subject.settings, part)) for part in ("model", "prompts", "benchmark", "device")
    }
    described = parts | {"extent": asdict(subject.extent), "skipped": sorted(subject.skipped), "machine": machine}
    return manifest.key("benchmark", digests | code, described)


def verified(settings: Any) -> dict[str, str]:
    """Digests of all that is read, each folder being what its manifest says."""
    key, model, scheme = settings.model_key, settings.model, settings.quantization.name
    reruns = {FP16: (key, FP16, f"export@{key}"), scheme: (key, scheme, f"quantize@{key}")}
    if model.role == "refiner":
        reruns["base"] = (model.base, FP16, f"export@{model.base}")
    digests = {}
    for name, (owner, precision, rerun) in reruns.items():
        manifest.verify(layout.ir(owner, precision), rerun=rerun)
        belonging.require_ir(owner, precision)
        digests[name] = manifest.digest(layout.ir(owner, precision))
    digests["scorer"] = manifest.digest(layout.SCORER)
    return digests


def write(target: Path, found: dict[str, Any]) -> None:
    """The short form last: whoever finds it finds the pictures and the record too."""
    placing.write_text(target / "record.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    placing.write_text(target / "sqnr.csv", curve.sqnr_csv(found))
    placing.write_text(target / "metrics.json", json.dumps(metrics.metrics(found), indent=1) + "\n")


def closing_line(found: dict[str, Any]) -> str:
    """What matters of the quantized model in one line; of what was not run, why."""
    name = found["quantization"]
    row, what = found["precisions"][name], f"{found['model']} {name}"
    if row["skipped"]:
        return f"{what}: {row['skipped']}"
    said = [speeds(row) if row["speedup_step"] else f"{FP16}: {found['precisions'][FP16]['skipped']}"]
    said += [f"{100 * row['macs']['share_int8']:.0f} % of a step's work in INT8"]
    if found["random_weights"]:
        said += ["the weights are random, nothing else means anything"]
    elif found["reference"]:
        said += [f"noise prediction {row['sqnr_db']} dB, pictures {row['psnr_db']} dB"]
    said += ["the machine was busy, take the times with care"] if found["noise"]["flagged"] else []
    said += [f"no FID: {found['fid']['why']}"] if (found["fid"] or {}).get("why") else []
    return f"{what}: {'; '.join([*said, *found['doubts']])}"


def speeds(row: dict[str, Any]) -> str:
    step, image = row["speedup_step"], row["speedup_image"]
    interval = f"{step['low']:.2f} to {step['high']:.2f}"
    return f"{step['ratio']:.2f}x ({interval}) the speed of {FP16} in a UNet step, {image['ratio']:.2f}x in an image"


def need(settings: Any) -> budget.Need:
    folders = subjects.whole_folders(settings)
    asked = memory.request(settings.model.sampler, settings.device)
    stored = tuple(map(anatomy.stored, folders))
    much, seconds, _ = subjects.planned(settings, stored)
    found = sizes.of_ir(folders[0])
    whole_gb = prices.kept_gb(settings.model, settings.benchmark, much, found, asked, len(stored))
    there_gb = sum(map(anatomy.size_mb, placing.pieces_of(layout.unfinished_benchmark(settings.model_key)))) / 1e3
    return budget.benchmark(found, asked, stored, seconds.of(much), max(0.0, whole_gb - there_gb))


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, overrides = config.arguments("benchmark", argv)
        settings = config.load((*READS, *config.HOW), model, overrides)
        facts = {"size_px": memory.side_px(settings.model.sampler), "steps": subjects.steps_of(settings)}
        with usage.recorded("benchmark", model, need(settings), layout.benchmark(model), **facts):
            found = benchmark(settings, engines.chosen(settings.engine))
        print(closing_line(found))


if __name__ == "__main__":
    main()
