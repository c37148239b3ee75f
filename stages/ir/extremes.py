"""Extremes of what a model's layers are given, computed beside its own results.

Consumes a model in memory; produces the same model with two results more for each tensor of interest: the least and the
greatest value of every channel. They are reduced as soon as the tensor is there, so that memory is that of the model
alone. Knows no quantization: which of them are of use is the reader's business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np

from stages.ir import tracing

if TYPE_CHECKING:
    import openvino as ov

OWN = "channels"  # what the names of our own outputs begin with
LAYERS = ("Convolution", "GroupConvolution", "MatMul", "ScaledDotProductAttention")
MOVING = ("Transpose", "Reshape", "Squeeze", "Unsqueeze")  # the same values in another order
PASSING = (*MOVING, "Interpolate", "Concat", "Slice", "VariadicSplit")  # no other values than those that come in


def name(kind: str, tapped: str) -> str:
    """Of an output: `kind` is min or max, `tapped` the operation whose channels it is of."""
    return f"{OWN}/{kind}/{tapped}"


def is_own(output: str) -> bool:
    return output.startswith(f"{OWN}/")


def of_all(rows: Sequence[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Of several evaluations together, by the same names.

    >>> of_all([{name("max", "conv"): np.array([1, 5])}, {name("max", "conv"): np.array([2, 4])}])
    {'channels/max/conv': array([2, 5])}
    """
    wider = {"min": np.minimum, "max": np.maximum}
    return {output: reduce(wider[output.split("/")[1]], [row[output] for row in rows]) for output in rows[0]}


def tapped_in(found: Collection[str]) -> list[str]:
    """The operations whose extremes these outputs are.

    >>> tapped_in([name("min", "conv/out"), name("max", "conv/out")])
    ['conv/out']
    """
    return list(dict.fromkeys(output.split("/", 2)[2] for output in found))


def beside(model: ov.Model, taps: Mapping[str, str] | None = None) -> ov.Model:
    """The model with extremes of all that its layers are given, which shares its operations with the one given.

    `taps`: those of another model's operations instead, by their names, and what computes the same in this one.
    """
    import openvino as ov

    sources = of_layers(model) if taps is None else _named(model, taps)
    found = ov.Model(early_first(model, [*model.get_results(), *results(sources)]), model.get_parameters())
    found.set_friendly_name(model.get_friendly_name())
    for key, value in model.rt_info.items():
        found.set_rt_info(value, key)
    return found


def of_layers(model: ov.Model) -> dict[str, ov.Output]:
    """What layers are given, by the name of the operation that computes it: where a quantizer may stand.

    Left out is what has no name but a number: the model made of this one counts otherwise (stages.ir.tracing).
    """
    found: dict[str, ov.Output] = {}
    varying: set[str] = set()  # the rest is weights, and what is made of them alone
    for node in model.get_ordered_ops():
        inputs = node.input_values()
        if node.get_type_name() == "Parameter" or any(_name(port) in varying for port in inputs):
            varying.add(node.get_friendly_name())
        if node.get_type_name() in LAYERS:
            for port in inputs:
                _follow(port, varying, found)
    return found


def _named(model: ov.Model, taps: Mapping[str, str]) -> dict[str, ov.Output]:
    nodes = {node.get_friendly_name(): node for node in model.get_ops()}
    return {name: nodes[here].output(0) for name, here in taps.items()}


def _name(port: ov.Output) -> str:
    return port.get_node().get_friendly_name()


def _follow(port: ov.Output, varying: set[str], found: dict[str, ov.Output]) -> None:
    """Take in a value, or what it was before it was moved, where it is given to layers alone."""
    node, name = port.get_node(), _name(port)
    if name not in varying or name in found:
        return
    passed = node.get_type_name() in PASSING and _for_layers_alone(node)
    moved_only = passed and node.get_type_name() in MOVING
    if len(node.outputs()) == 1 and not moved_only and not tracing.COUNTED.fullmatch(name):
        found[name] = port
    if passed:
        for source in node.input_values()[: None if node.get_type_name() == "Concat" else 1]:
            _follow(source, varying, found)


def _for_layers_alone(node: ov.Node) -> bool:
    """Whether all that reads this node's values is a layer, or moves them to layers."""
    readers = [target.get_node() for port in node.outputs() for target in port.get_target_inputs()]
    kinds = [(reader, reader.get_type_name()) for reader in readers if reader.get_type_name() != "ShapeOf"]
    return all(kind in LAYERS or (kind in PASSING and _for_layers_alone(reader)) for reader, kind in kinds)


def results(sources: dict[str, ov.Output]) -> list[ov.Node]:
    """Two results for each tensor, by the name that it goes by: one value per channel (the second axis of pictures,
    the last one of all else). None of what has no channels, or no rank."""
    from openvino import opset13 as ops

    found = []
    for tapped, output in sources.items():
        rank = output.get_partial_shape().rank
        if rank.is_dynamic or rank.get_length() < 2:
            continue
        kept = 1 if rank.get_length() == 4 else rank.get_length() - 1
        others = ops.constant(np.array([axis for axis in range(rank.get_length()) if axis != kept]))
        for kind, reduced in (("min", ops.reduce_min), ("max", ops.reduce_max)):
            extreme = reduced(output, others, False)
            extreme.output(0).set_names({name(kind, tapped)})
            found.append(ops.result(extreme))
    return found


def early_first(model: ov.Model, ends: Iterable[ov.Node]) -> list[ov.Node]:
    """Results in the order in which what they tap is computed: OpenVINO's own, the model's last."""
    position = {node.get_friendly_name(): number for number, node in enumerate(model.get_ordered_ops())}

    def place(result: ov.Node) -> tuple[bool, int]:
        node = tapped(result)
        return (True, 0) if node is None else (False, position[node.get_friendly_name()])

    return sorted(ends, key=place)


def tapped(result: ov.Node) -> ov.Node | None:
    """The operation whose extremes a result gives; None for an output of the model itself."""
    node = result.input_value(0).get_node()
    if not node.get_type_name().startswith("Reduce"):
        return None
    while node.get_type_name().startswith("Reduce") or node.get_type_name() == "Abs":
        node = node.input_value(0).get_node()
    return node
