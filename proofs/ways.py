"""One UNet step at 512 pixels and batch 2 of several IR folders of one model: what a way to quantize costs in time.

Consumes artifacts/ir/<model>/<name> of the names on the command line, the first one being what others are compared
with; adds to proofs/results/ways.json. All take turns, each in a process of its own, as the processor computes by
default, and as one without AMX and bfloat16 would (oneDNN held to AVX512-VNNI, floats in float32).

    python -m proofs.ways synthetic-vega plain int8 int8-attention
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

from proofs import steps
from stages.files import placing
from stages.ir import runtime
from stages.machine import description
from stages.measurement import latency
from stages.settings import config

RESULTS = Path("proofs/results/ways.json")
KINDS = ("openvino", "openvino-vnni")
TURNS = 9


def measure(model: str, names: list[str], kind: str) -> dict[str, list[float]]:
    """Seconds of every turn, by name."""
    inputs = steps.random_inputs(runtime.read(steps.IR / model / "fp16/unet/openvino_model.xml"))
    folders = {name: (kind, steps.IR / model / name) for name in names}
    return steps.in_turns(folders, inputs, TURNS)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.ways", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("names", nargs="+", help="folders of artifacts/ir/<model>, the one to compare with first")
    given = parser.parse_args(argv)
    with config.main_guard(), latency.disturbance(description.load_average()) as noise:
        found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        entry = {kind: measure(given.model, given.names, kind) for kind in KINDS}
        for kind, seconds in entry.items():
            for name, values in seconds.items():
                ratio = latency.speedup(values, seconds[given.names[0]])["ratio"]
                print(
                    f"{given.model} {kind} {name}: {statistics.median(values):.3f} s, {ratio:.3f} of {given.names[0]}"
                )
        found[given.model] = entry
    placing.write_text(RESULTS, json.dumps(found | {"load": noise["load"]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
