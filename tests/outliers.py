"""Outliers for a miniature, which has none: an exact rewriting of its UNet, the same function with harder ranges.

What real SDXL has: a few channels that are many times as loud as the others before the feed-forward's second layer and
before attention's output, and a begin token of several hundred where other tokens have ten. Factors are powers of two,
so that rewritten weights are as exact in 16 bits as before.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stages.ir import runtime

CHANNELS, LOUD = 0.05, 32.0  # share of the channels, and how many times as loud they get
BEGIN = 64.0  # times the first token's


def give(source: Path, target: Path) -> None:
    """Write the UNet `source` (.xml) rewritten as `target`; its inputs become those of `given`."""
    model = runtime.read(source)
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
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
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    data = node.data.copy()
    index = [slice(None)] * data.ndim
    index[axis] = chosen
    data[tuple(index)] *= data.dtype.type(factor)
    changed = ops.constant(data)
    changed.set_friendly_name(node.get_friendly_name())
    node.output(0).replace(changed.output(0))
