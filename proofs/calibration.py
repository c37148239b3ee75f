"""What a way to calibrate costs and keeps: UNet evaluations, and INT8's fidelity at prompts never calibrated on.

Consumes artifacts/ir/<model>/fp16 of a trained miniature and ways, each an argument with settings in it; adds to
proofs/results/calibration.json. Every way is calibrated and quantized in a folder of its own; all are judged at whole
drawings of the same evaluation prompts, in float32.

    python -m proofs.calibration mini-vega "" "calibration.evaluations=null calibration.draft_steps=null"
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from stages import calibrate, quantize
from stages.calibration import collecting, drafts, shards
from stages.files import layout, placing
from stages.ir import runtime
from stages.machine import apart, memory
from stages.measurement import curve, fidelity
from stages.prompts import sets
from stages.settings import config

RESULTS = Path("proofs/results/calibration.json")
PROMPTS = 16  # judged at
WHOLE = ["calibration.evaluations=null", "calibration.refiner_evaluations=null", "calibration.draft_steps=null"]
UNET = Path("unet/openvino_model.xml")


def judged_at(model: str, folder: Path) -> list[runtime.Inputs]:
    """UNet inputs on the way of whole drawings of evaluation prompts."""
    how = [*WHOLE, "calibration.steps_per_prompt=8", f"calibration.prompts={PROMPTS}"]
    settings = config.load(calibrate.READS, model, how)
    chosen = sets.load_prompts(settings.prompts, "evaluation", PROMPTS)
    folders = {"ir": layout.ir(model, layout.FP16)}
    folders |= {"base": layout.ir(settings.model.base, layout.FP16)} if settings.model.role == "refiner" else {}
    collecting.collect(settings, folders, chosen, folder, memory.room_gb())
    return [point for path in sorted(folder.glob("*.safetensors")) for point in shards.load_shard(path)]


def predictions(xml: Path, points: list[runtime.Inputs]) -> list[np.ndarray]:
    import openvino as ov

    request = ov.Core().compile_model(runtime.read(xml), "CPU", runtime.EXACT).create_infer_request()
    return [request.infer(point)[0].copy() for point in points]


def measure(model: str, way: list[str], root: Path, points: list[runtime.Inputs]) -> dict[str, Any]:
    """Cost and fidelity of one way; `root`: an empty folder for it."""
    settings = config.load(calibrate.READS, model, [word for word in way if word.startswith("calibration.")])
    of_scheme = [word for word in way if not word.startswith("calibration.")]
    scheme = config.load(quantize.READS, model, of_scheme).quantization
    for key in {model, settings.model.base}:
        (root / layout.ir(key, layout.FP16)).parent.mkdir(parents=True)
        (root / layout.ir(key, layout.FP16)).symlink_to(layout.ir(key, layout.FP16).resolve())
    facts = calibrate.calibrate(settings, root)["facts"]
    quantize.quantize(model, scheme, root)
    both = [predictions(root / layout.ir(model, name) / UNET, points) for name in (layout.FP16, scheme.name)]
    each = sum(drafts.evaluations(settings.calibration, settings.model))
    return {
        "evaluations": facts["prompts"] * each,
        "prompts": facts["prompts"],
        "samples": min(facts["samples"], scheme.samples),
        "sqnr_db": round(fidelity.pooled_sqnr_db(*both), 2),
        "sqnr_by_quarter": curve.sqnr_by_quarter(points, *both),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.calibration", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("ways", nargs="+", metavar="way", help="settings, several in one argument; '' for the default")
    given = parser.parse_args(argv)
    with config.main_guard(), tempfile.TemporaryDirectory() as scratch:
        points = apart.run("recording", judged_at, given.model, Path(scratch))
        for number, way in enumerate(given.ways):
            (root := Path(scratch) / str(number)).mkdir()
            found = apart.run("measuring", measure, given.model, way.split(), root, points)
            known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
            known.setdefault(given.model, {})[way or "default"] = found
            placing.write_text(RESULTS, json.dumps(known, indent=1) + "\n")
            print(f"{given.model} {way or 'default'}: {found}", flush=True)


if __name__ == "__main__":
    main()
