"""What calibrating with a UNet of INT8 weights costs in fidelity, on the miniatures.

Consumes artifacts/ir/<model>/fp16, reports/benchmark of `make repro` and params.yaml; produces
proofs/results/light.json. Stages run in a scratch folder that shares everything but what is recorded anew.

    python -m proofs.light
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from stages.files import placing
from stages.settings import config

RESULTS = Path("proofs/results/light.json")
FIGURES = ("sqnr_db", "psnr_db", "ssim", "clip_score")
SHARED = ("params.yaml", "stages", "conf", "artifacts/scorer", "reports/machine.json")


def measure(root: Path, model: str, precision: str) -> dict[str, Any]:
    """Figures of the model quantized with inputs that a UNet of INT8 weights saw."""
    for stage, override in (("calibrate", ["calibration.unet=int8-weights"]), ("quantize", []), ("benchmark", [])):
        command = [sys.executable, "-m", f"stages.{stage}", model, *override]
        done = subprocess.run(command, cwd=root, text=True, capture_output=True)
        if done.returncode:
            raise ValueError(f"stage {stage} of {model}: {done.stderr.strip().splitlines()[-1]}")
    return figures(root / "reports/benchmark" / model / "record.json", precision)


def figures(path: Path, precision: str) -> dict[str, Any]:
    row = json.loads(path.read_text())["precisions"][precision]
    return {name: row[name] for name in FIGURES}


def prepare(root: Path, models: list[str]) -> None:
    """Links to what is shared; hard ones to IR files, whose folders get new neighbours."""
    for name in SHARED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(Path(name).resolve())
    for model in models:
        shutil.copytree(
            Path("artifacts/ir") / model / "fp16", root / "artifacts/ir" / model / "fp16", copy_function=os.link
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.light", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="all that are selected, if none is named")
    given = parser.parse_args(argv).models
    with config.main_guard():
        settings = config.load(("model", "quantization.name"), None, [])
        models, precision, found = given or list(settings.models), settings.quantization.name, {}
        with tempfile.TemporaryDirectory(dir="artifacts", prefix=".light.partial-") as scratch:
            prepare(Path(scratch), list(settings.models))
            for model in models:
                before = figures(Path("reports/benchmark") / model / "record.json", precision)
                found[model] = {"fp16": before, "int8-weights": measure(Path(scratch), model, precision)}
                print(f"{model}: {found[model]}")
        placing.write_text(RESULTS, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
