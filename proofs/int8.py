"""What INT8 keeps of the noise prediction and of pictures, scheme by scheme, on every miniature.

Consumes what `make repro` left of the selected models; produces proofs/results/int8.json out of reports/schemes. The
schemes of a model are measured in one sitting, floats in float32 so that bfloat16 hides nothing, at points of prompts
that were never calibrated on, all of the schedule, ends included.

    python -m proofs.int8
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

from proofs.__main__ import RESULTS, int8, markdown
from stages.files import layout, placing
from stages.settings import config

SCHEMES = ("int8-notebook", "int8-hybrid", "int8-quick", "int8", "int8-weights")
EXACT = ("device.inference_precision=f32", "device.dynamic_quantization_group_size=0")
FIGURES = ("sqnr_db", "sqnr_worst_quarter_db", "psnr_db", "ssim", "clip_score", "clip_similarity", "share_macs_int8")


def measure(model: str) -> dict[str, Any]:
    """Figures by row of one model's comparison; ValueError with the last line that it said where it failed."""
    command = [sys.executable, "-m", "stages.schemes", model, *SCHEMES, *EXACT]
    done = subprocess.run(command, text=True, capture_output=True)
    if done.returncode:
        raise ValueError(f"comparing schemes of {model}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    rows = json.loads((layout.schemes(model) / "figures.json").read_text(encoding="utf-8"))["rows"]
    return {row["name"]: {name: row[name] for name in FIGURES} for row in rows if not row["skipped"]}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.int8", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", help="all that are selected, if none is named")
    given = parser.parse_args(argv).models
    with config.main_guard():
        file = RESULTS / "int8.json"
        found = json.loads(file.read_text()) if file.is_file() else {}
        for model in given or list(config.load(("model",), None, []).models):
            found[model] = measure(model)
            placing.write_text(file, json.dumps(found, indent=1) + "\n")
        print(markdown(int8(found)))


if __name__ == "__main__":
    main()
