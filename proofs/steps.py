"""One UNet step at 512 pixels and batch 2: INT8 against the FP16 IR and against PyTorch in float32.

Consumes artifacts/checkpoints and artifacts/ir of the models named on the command line; produces
proofs/results/steps.json. Each pair takes turns, every model in a process of its own.

    python -m proofs.steps synthetic-sdxl synthetic-ssd-1b synthetic-vega synthetic-sdxl-refiner
"""

from __future__ import annotations

import argparse
import json
import statistics
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from proofs import children
from stages import true_size
from stages.files import manifest, placing
from stages.ir import anatomy, runtime
from stages.machine import description
from stages.measurement import latency, peak
from stages.settings import config

CHECKPOINTS, IR = Path("artifacts/checkpoints"), Path("artifacts/ir")
RESULTS = Path("proofs/results/steps.json")
SIDE, BATCH = 64, 2  # a latent of 512 pixels
TURNS, WARMUP = 5, 2
PAIRS = {  # what is compared with what: (way, folder of the IR)
    "default": (("openvino", "int8"), ("openvino", "fp16")),
    "f32": (("openvino-f32", "int8"), ("openvino-f32", "fp16")),
    "torch": (("openvino", "int8"), ("torch-f32", None)),
}


def measure(model: str) -> dict[str, Any]:
    """Seconds of every turn of every pair, work per step, and what the parts of the comparison are."""
    unet = runtime.read(IR / model / "fp16/unet/openvino_model.xml")
    inputs = random_inputs(unet)
    shapes = {name: value.shape for name, value in inputs.items()}
    found: dict[str, Any] = {"gop": round(2 * anatomy.multiply_accumulates(unet, shapes) / 1e9, 1), "pairs": {}}
    for name, pair in PAIRS.items():
        folders = {
            f"{way} {precision or ''}".strip(): (way, IR / model / precision if precision else CHECKPOINTS / model)
            for way, precision in pair
        }
        found["pairs"][name] = in_turns(folders, inputs, TURNS)
        quick, slow = (statistics.median(seconds) for seconds in found["pairs"][name].values())
        print(f"{model} {name}: {quick:.2f} s against {slow:.2f} s, {slow / quick:.2f} times as fast")
    return found


def in_turns(folders: dict[str, tuple[str, Path]], inputs: children.Inputs, turns: int) -> dict[str, list[float]]:
    """Seconds by name of each (way, folder), measured A B A B, every one in a process of its own."""
    with ExitStack() as stack:
        calls = {name: stack.enter_context(children.step(*one, inputs)) for name, one in folders.items()}
        for _ in range(WARMUP):
            for call in calls.values():
                call()
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(turns):
            for name, call in calls.items():
                seconds[name].append(round(call(), 4))
    return seconds


def random_inputs(unet: Any) -> children.Inputs:
    """Noise of the shapes that classifier-free guidance at 512 pixels gives the UNet."""
    return true_size.random_inputs(unet, true_size.Case(SIDE, BATCH, steps=1))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.steps", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    models = parser.parse_args(argv).models
    with config.main_guard():
        for model in models:
            manifest.read(CHECKPOINTS / model, rerun=f"download@{model}")
            for precision, stage in (("fp16", "export"), ("int8", "quantize")):
                manifest.read(IR / model / precision, rerun=f"{stage}@{model}")
        results: dict[str, Any] = {"machine": description.describe(), "peak_gops": peaks(), "models": {}}
        with latency.disturbance(description.load_average()) as noise:
            for model in models:
                results["models"][model] = measure(model)
        results |= {"load": noise["load"], "steal": noise["steal"]}
        placing.write_text(RESULTS, json.dumps(results, indent=1) + "\n")


def peaks() -> dict[str, float]:
    """Giga-operations per second of large matrix products, by precision, as the plugin computes them."""
    how = {"name": "CPU", "threads": 0, "dynamic_quantization_group_size": -1}
    found = peak.peak_gops(SimpleNamespace(**how, inference_precision="default"))
    exact = peak.peak_gops(SimpleNamespace(**how, inference_precision="f32"))
    return {"default": found["float"], "int8": found["int8"], "f32": exact["float"]}


if __name__ == "__main__":
    main()
