"""Where the time of one UNet step goes: what INT8 makes faster, and what stays as it is.

Consumes artifacts/ir of one model; produces proofs/results/layers.json: milliseconds by kind of operation, in both
precisions, with floats as the plugin computes them by default, at 512 pixels and batch 2.

    python -m proofs.layers synthetic-sdxl
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

from proofs import steps
from stages.files import manifest, placing
from stages.ir import runtime
from stages.machine import description
from stages.settings import config

RESULTS = Path("proofs/results/layers.json")
PRECISIONS = {"int8": "quantize", "fp16": "export"}  # and the stage that makes it
OTHER = "element by element"
KINDS = {  # what the CPU plugin calls its layers
    "linear layers": (
        "FullyConnected",
        "FullyConnectedQuantizedLegacy",
        "FullyConnectedCompressed",
        "LLMMLP",
        "LLMQKV",
    ),
    "convolutions": ("Convolution",),
    "attention": ("Subgraph", "MatMul", "Softmax", "ScaledDotProductAttention"),
    "norms": ("MVN",),
    "moving data": ("Reorder", "Transpose", "Concat", "VariadicSplit", "Split", "Reshape", "Interpolate"),
}


def measure(folder: Path, inputs: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of one step by kind of operation, medians of several steps."""
    import openvino as ov

    xml = folder / "unet/openvino_model.xml"
    compiled = ov.Core().compile_model(xml, "CPU", {"PERFORMANCE_HINT": "LATENCY", "PERF_COUNT": "YES"})
    request, turns = compiled.create_infer_request(), []
    for _ in range(steps.WARMUP + steps.TURNS):
        request.infer(inputs, share_inputs=True)
        turns.append(by_kind((layer.node_type, layer.real_time) for layer in request.get_profiling_info()))
    kept = turns[steps.WARMUP :]
    return {kind: round(statistics.median(turn[kind] for turn in kept), 1) for kind in (*KINDS, OTHER)}


def by_kind(layers: Any) -> dict[str, float]:
    """Milliseconds of (type, timedelta) by kind."""
    kind_of = {name: kind for kind, names in KINDS.items() for name in names}
    found: dict[str, float] = defaultdict(float)
    for name, time in layers:
        found[kind_of.get(name, OTHER)] += time.total_seconds() * 1e3
    return found


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.layers", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    model = parser.parse_args(argv).model
    with config.main_guard():
        for precision, stage in PRECISIONS.items():
            manifest.read(steps.IR / model / precision, rerun=f"{stage}@{model}")
        inputs = steps.random_inputs(runtime.read(steps.IR / model / "fp16/unet/openvino_model.xml"))
        found = {precision: measure(steps.IR / model / precision, inputs) for precision in PRECISIONS}
        about = {"model": model, "machine": description.describe()["cpu"], "milliseconds": found}
        placing.write_text(RESULTS, json.dumps(about, indent=1) + "\n")
        print(f"{model}: {found}")


if __name__ == "__main__":
    main()
