"""Weights in INT8 rounded for what their layer puts out, not each for itself: less noise, at no cost when it runs.

Consumes a quantized graph, the float one it was made of and UNet inputs; produces new integers for layers' weights:
errors of inputs that go together make up for each other. What a layer takes is collected while the quantized model
runs, for a few layers at a time, and kept, so that a killed run goes on. Decides nothing about activations.
Source: Frantar et al., GPTQ, ICLR 2023, algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.files import pieces
from stages.ir import runtime
from stages.quantization import statistics, units

if TYPE_CHECKING:
    import openvino as ov

    from stages.ir.runtime import Inputs

BLOCK = 720  # inputs whose errors make up for each other, at most: 80 channels of a 3 x 3 convolution
LAZY = 32  # inputs after which all that follow are corrected at once
DAMPING = 0.003  # of the mean of the moments' diagonal: against what few samples only seem to show
ROWS = 1024  # positions of one batch at which a layer's inputs are looked at
GROUP = 1 << 27  # moments that are collected at once: half a gigabyte
GROUPS = 4  # after which all other layers stay as they are


def work_out(
    model: ov.Model,
    floats: dict[str, ov.Node],
    scales: dict[str, np.ndarray],
    layers: Iterable[str],
    batches: list[Inputs],
    kept: Path,
) -> None:
    """Leave integers for the weights of the first of `layers` in the folder `kept`, as far as they are not there.

    `floats`: the layers of the float model by name; `scales`: what a layer's input channels were divided by, where they
    were; `batches`: inputs of `model`.
    """
    from tqdm import tqdm

    nodes = units.named(model)
    groups = grouped([name for name in layers if name in floats and units.compressed(nodes[name])], nodes)
    for number, group in enumerate(
        tqdm(groups[:GROUPS], desc="round weights", unit="group", disable=None, leave=False)
    ):
        file = kept / f"{number:03d}.safetensors"
        if pieces.is_there(file):
            continue
        moments, found = collect(model, group, batches), {}
        for name in group:
            weights, step = targets(nodes[name], floats[name], scales.get(name))
            found[name] = solve(weights, step, moments[source(nodes[name])], units.lowest_of(nodes[name]))
        statistics.write(file, found)


def apply(model: ov.Model, kept: Path) -> None:
    """Give the layers of `model` the integers that `work_out` left."""
    nodes = units.named(model)
    for file in sorted(kept.glob("*.safetensors")):
        for name, integers in statistics.read(file).items():
            units.set_integers(nodes[name], integers)


def grouped(layers: list[str], nodes: dict[str, ov.Node]) -> list[list[str]]:
    """Layers of which the moments fit into memory together; those that take the same values are never parted."""
    by_source: dict[tuple, list[str]] = {}
    for name in layers:
        by_source.setdefault(source(nodes[name]), []).append(name)
    groups: list[list[str]] = []
    left = 0
    for mine in by_source.values():
        size = sum(len(block) ** 2 for block in blocks(inputs_of(nodes[mine[0]])))
        if size > left or not groups:
            groups.append([])
            left = GROUP
        groups[-1] += mine
        left -= size
    return groups


def source(layer: ov.Node) -> tuple:
    """What a layer's inputs are: equal for layers that take the same values in the same way."""
    value = layer.input_value(0)
    how = layer.get_attributes() if layer.get_type_name() == "Convolution" else {}
    window = tuple(layer.input_value(1).get_shape()[2:])
    return value.get_node().get_friendly_name(), value.get_index(), window, tuple(map(str, how.values()))


def collect(model: ov.Model, group: list[str], batches: list[Inputs]) -> dict[tuple, list]:
    """By source, for each block of inputs the sum of their products, (n, n)."""
    import openvino as ov

    tapped = model.clone()
    nodes = units.named(tapped)
    wanted = {source(nodes[name]): nodes[name] for name in group}
    own = len(tapped.outputs)
    tapped.add_outputs([node.input_value(0) for node in wanted.values()])
    request = ov.Core().compile_model(tapped, "CPU", runtime.EXACT).create_infer_request()
    found: dict[tuple, list] = {key: [0.0] * len(blocks(inputs_of(node))) for key, node in wanted.items()}
    for batch in batches:
        request.infer(batch)
        for place, (key, node) in enumerate(wanted.items()):
            rows = rows_of(request.get_output_tensor(own + place).data, node)
            for number, block in enumerate(blocks(rows.shape[1])):
                part = rows[:, block.start : block.stop]
                found[key][number] = found[key][number] + part.T @ part
    return found


def rows_of(value: np.ndarray, layer: ov.Node) -> np.ndarray:
    """What the layer multiplies its weights with, (positions, inputs), at ROWS evenly chosen positions at most."""
    if layer.get_type_name() == "MatMul":
        rows = value.reshape(-1, value.shape[-1])
        return rows[_evenly(len(rows))].astype(np.float32)
    how, window = layer.get_attributes(), tuple(layer.input_value(1).get_shape()[2:])
    pads = [(0, 0), (0, 0), *zip(how["pads_begin"], how["pads_end"], strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(value, pads), window, axis=(2, 3))
    windows = windows[:, :, :: how["strides"][0], :: how["strides"][1]]
    sizes = windows.shape[0], *windows.shape[2:4]
    batch, y, x = np.unravel_index(_evenly(math.prod(sizes)), sizes)
    return windows[batch, :, y, x].reshape(len(batch), -1).astype(np.float32)


def _evenly(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, ROWS)).round().astype(int))


def inputs_of(layer: ov.Node) -> int:
    return math.prod(layer.input_value(1).get_shape()[1:])


def blocks(count: int) -> list[range]:
    """Parts of `count` inputs, as equal as can be.

    >>> blocks(5760)
    [range(0, 2880), range(2880, 5760)]
    """
    parts = math.ceil(count / BLOCK)
    ends = [round(count * part / parts) for part in range(parts + 1)]
    return [range(first, last) for first, last in zip(ends, ends[1:], strict=False)]


def targets(layer: ov.Node, before: ov.Node, scale: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Float weights that the layer should have, (out, inputs), and the step of each of its rows, (out, 1)."""
    weights = units.weights_of(before, scale)
    return weights.reshape(len(weights), -1), units.step_of(layer).reshape(-1, 1)


def solve(weights: np.ndarray, step: np.ndarray, moments: list[np.ndarray], lowest: int = units.LOWEST) -> np.ndarray:
    """Integers (out, inputs) in int8, from `-lowest`; a block whose errors would not make up for each other is rounded
    to the nearest.

    `moments`: one matrix for each of `blocks(inputs)`.
    """
    wanted = weights / step
    found = units.nearest(wanted, lowest)
    for block, moment in zip(blocks(wanted.shape[1]), moments, strict=True):
        mine = slice(block.start, block.stop)
        better = compensated(wanted[:, mine], np.asarray(moment, np.float64), lowest)
        if _energy(wanted[:, mine] - better, moment) < _energy(wanted[:, mine] - found[:, mine], moment):
            found[:, mine] = better
    return found.astype(np.int8)


def compensated(wanted: np.ndarray, moment: np.ndarray, lowest: int = units.LOWEST) -> np.ndarray:
    """Integers for weights in steps, (out, n): what rounding one input's adds is taken from those still to come."""
    order = np.argsort(-np.diag(moment), kind="stable")
    moment = moment[np.ix_(order, order)]
    moment = moment + np.eye(len(moment)) * max(DAMPING * float(np.mean(np.diag(moment))), np.finfo(np.float32).tiny)
    upper = np.linalg.cholesky(np.linalg.inv(moment)).T.astype(np.float32)
    left = np.ascontiguousarray(wanted.T[order], np.float32)  # an input's weights lie together: three times as fast
    found = np.empty_like(left)
    for first in range(0, len(order), LAZY):
        last = min(first + LAZY, len(order))
        errors = np.empty((last - first, left.shape[1]), np.float32)
        for place in range(first, last):
            found[place] = units.nearest(left[place], lowest)
            errors[place - first] = (left[place] - found[place]) / upper[place, place]
            left[place + 1 : last] -= np.outer(upper[place, place + 1 : last], errors[place - first])
        left[last:] -= upper[first:last, last:].T @ errors
    return found[np.argsort(order)].T


def _energy(errors: np.ndarray, moment: np.ndarray) -> float:
    """Of what the layer puts out."""
    return float(((errors @ moment) * errors).sum())
