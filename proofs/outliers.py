"""Outliers for a miniature, which has none, and what INT8 keeps of its noise prediction then.

An exact rewriting of a UNet, the same function with harder ranges. What real SDXL has: a few channels that are many
times as loud as the others before the feed-forward's second layer and before attention's output, and a begin token of
several hundred where other tokens have ten. Factors are powers of two, so that rewritten weights are as exact in 16
bits as before. Consumes what `make repro` left of the miniatures named on the command line; adds to
proofs/results/outliers.json. Of the recorded inputs, those of the last prompts are measured at and never calibrated on.

    python -m proofs.outliers mini-vega mini-sdxl-refiner
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stages.calibration import shards
from stages.files import layout, manifest, placing
from stages.ir import anatomy, runtime
from stages.measurement import fidelity
from stages.quantization import schemes, units
from stages.quantize import for_role
from stages.settings import composing, config

RESULTS = Path("proofs/results/outliers.json")
SCHEMES = {"weights": "int8-weights", "plain": "int8-quick", "search": "int8"}
HELD_OUT = 0.25  # share of the recorded inputs
CHANNELS, LOUD = 0.05, 32.0  # share of the channels, and how many times as loud they get
BEGIN = 64.0  # times the first token's


def measure(model: str) -> dict[str, float]:
    """SQNR in dB by scheme, of a rewritten miniature."""
    recorded, fp16 = layout.calibration(model), layout.ir(model, layout.FP16)
    role = manifest.read(fp16, rerun=f"export@{model}")["settings"]["role"]
    count = manifest.read(recorded, rerun=f"calibrate@{model}")["facts"]["samples"]
    samples = [given(sample) for sample in shards.load_samples(recorded, count)]
    known = samples[: round((1 - HELD_OUT) * len(samples))]
    unseen = samples[len(known) :]
    with tempfile.TemporaryDirectory(dir="artifacts", prefix=".outliers.partial-") as scratch:
        folder = Path(scratch)
        source = folder / "float/unet.xml"
        give(fp16 / "unet/openvino_model.xml", source)
        expected, found = predictions(source, unseen), {}
        for name, scheme in SCHEMES.items():
            settings = for_role(role, composing.composed(("quantization",), [f"quantization={scheme}"]).quantization)
            target = folder / name / "unet.xml"
            schemes.quantize_unet(source, target, settings, known, folder / f"kept-{name}")
            found[name] = fidelity.rounded(fidelity.pooled_sqnr_db(expected, predictions(target, unseen)))
    return found


def predictions(xml: Path, samples: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """Of the noise, floats in float32."""
    compiled = ov.Core().compile_model(xml, "CPU", runtime.EXACT)
    return [np.array(compiled(sample, share_inputs=False)[0]) for sample in samples]


def give(source: Path, target: Path) -> None:
    """Write the UNet `source` (.xml) rewritten as `target`; its inputs become those of `given`."""
    model = runtime.read(source)
    nodes = units.named(model)
    random = np.random.default_rng(0)
    for name, layer in nodes.items():
        if found := re.fullmatch(r"(.*\.ff\.net\.)2(/.*MatMul)", name):
            _louder(nodes, f"{found[1]}0.proj", layer, random)
        if found := re.fullmatch(r"(.*\.attn[12]\.)to_out\.0(/.*MatMul)", name):
            _louder(nodes, f"{found[1]}to_v", layer, random)
    tokens = model.input("encoder_hidden_states").get_partial_shape()[1].get_length()
    quieter = np.ones((1, tokens, 1), np.float32)
    quieter[0, 0] = 1 / BEGIN
    for name, layer in nodes.items():
        if re.fullmatch(r".*\.attn2\.to_[kv]/.*MatMul", name):
            targets = list(layer.output(0).get_target_inputs())
            scaled = ops.multiply(layer.output(0), ops.constant(quieter))
            for one in targets:
                one.replace_source_output(scaled.output(0))
    target.parent.mkdir(parents=True)
    ov.save_model(model, target, compress_to_fp16=True)


def given(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Inputs of the model before, as the rewritten one takes them."""
    text = inputs["encoder_hidden_states"].copy()
    text[:, 0] *= BEGIN
    return inputs | {"encoder_hidden_states": text}


def _louder(nodes: dict[str, ov.Node], before: str, after: ov.Node, random: np.random.Generator) -> None:
    """Rows of the layers named `before...` times LOUD, and the columns of `after` that take them divided by it."""
    width = after.input_value(1).get_shape()[-1]
    chosen = random.choice(width, max(1, round(CHANNELS * width)), replace=False)
    _scale(after.input_value(1).get_node(), chosen, 1 / LOUD, axis=1)
    layer = nodes[next(name for name in nodes if re.fullmatch(re.escape(before) + "/.*MatMul", name))]
    _scale(layer.input_value(1).get_node(), chosen, LOUD, axis=0)
    for reader in (port.get_node() for port in layer.output(0).get_target_inputs()):
        if reader.get_type_name() == "Add":
            _scale(reader.input_value(1).get_node(), chosen, LOUD, axis=-1)


def _scale(node: ov.Node, chosen: np.ndarray, factor: float, axis: int) -> None:
    """Multiply these rows, columns or entries of a constant that may stand behind a conversion."""
    node = anatomy.behind(node, ("Convert",))
    data = node.data.copy()
    index = [slice(None)] * data.ndim
    index[axis] = chosen
    data[tuple(index)] *= data.dtype.type(factor)
    changed = ops.constant(data)
    changed.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(changed.output(0))


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.outliers", description="SQNR of miniatures with outliers.")
    parser.add_argument("models", nargs="+")
    models = parser.parse_args(argv).models
    with config.main_guard():
        found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        for model in models:
            found[model] = measure(model)
            print(f"{model} with outliers: {', '.join(f'{name} {value} dB' for name, value in found[model].items())}")
            placing.write_text(RESULTS, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
