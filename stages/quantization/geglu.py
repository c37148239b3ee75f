"""GEGLU's projection as two: the same numbers without a copy of its widest tensor.

diffusers computes hidden and gate of a feed-forward in one linear layer and cuts its result in two. Quantized, the cut
stands between the layer and its scales, so that OpenVINO writes the result in 32 bits, copies both halves and scales
each in a pass of its own. As two layers, scales, bias and GELU become part of the matrix products, and SDXL's INT8 step
takes 8 % less. Consumes a quantized model and changes it in place; weights stay where they are in memory. Knows no
scheme.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino as ov

HALVES = ("hidden", "gate")
DECOMPRESSION = ("Convert", "Multiply", "Subtract")  # between stored weights and a matrix product


def split(model: ov.Model) -> int:
    """Replace every `VariadicSplit(MatMul(x, weights) + bias)` before a GELU by two products; returns how many."""
    twin = {node.get_friendly_name(): node for node in model.clone().get_ops()}  # for decompression as marked as here
    found = [node for node in model.get_ordered_ops() if _is_geglu(node)]
    for cut in found:
        add = cut.input_value(0).get_node()
        for number, half in enumerate(HALVES):
            result = _half(add, twin[add.get_friendly_name()], number, half)
            for target in list(cut.output(number).get_target_inputs()):
                target.replace_source_output(result.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


def _is_geglu(node: ov.Node) -> bool:
    """Whether a node cuts a biased product with stored weights into two equal halves, the second one for a GELU."""
    if node.get_type_name() != "VariadicSplit" or len(node.outputs()) != len(HALVES):
        return False
    add = node.input_value(0).get_node()
    product = add.input_value(0).get_node()
    if add.get_type_name() != "Add" or product.get_type_name() != "MatMul":
        return False
    widths = [port.get_partial_shape()[-1] for port in (*node.outputs(), add.output(0))]
    whole = all(width.is_static for width in widths) and widths[0] == widths[1]
    gate = {target.get_node().get_type_name() for target in node.output(1).get_target_inputs()}
    attributes = product.get_attributes()
    turned = attributes["transpose_b"] and not attributes["transpose_a"]
    rows = widths[2].get_length() if whole else 0
    stored = [_constants(product.input_value(1)), _constants(add.input_value(1))]
    return bool(whole and gate == {"Gelu"} and turned and all(one and _fits(one, rows) for one in stored))


def _constants(port: ov.Output) -> list[ov.Node]:
    """The constants that a value is made of; none where it is made of anything else."""
    node = port.get_node()
    if node.get_type_name() == "Constant":
        return [node]
    if node.get_type_name() not in DECOMPRESSION:
        return []
    parts = [_constants(source) for source in node.input_values()]
    return [one for part in parts for one in part] if all(parts) else []


def _fits(constants: list[ov.Node], rows: int) -> bool:
    """Whether each is one value for all rows, or begins with the rows, in elements of whole bytes."""
    shapes = [list(constant.get_output_shape(0)) for constant in constants]
    whole = all(constant.get_element_type().bitwidth >= 8 for constant in constants)
    return whole and all(shape[:1] in ([], [1], [rows]) for shape in shapes) and [rows] in [one[:1] for one in shapes]


def _half(add: ov.Node, twin: ov.Node, number: int, half: str) -> ov.Node:
    """The product and bias of one half; the first takes over the model's own decompression, the second its twin's."""
    from openvino import opset13 as ops

    own = (add, twin)[number]
    product, rows = own.input_value(0).get_node(), own.get_output_partial_shape(0)[-1].get_length()
    shared = add.input_value(0).get_node().input_value(0)
    parts = [_cut(port, rows, number, half) for port in (product.input_value(1), own.input_value(1))]
    result = _named(ops.matmul(shared, parts[0], False, True), product, half)
    return _named(ops.add(result, parts[1]), own, half)


def _cut(port: ov.Output, rows: int, number: int, half: str) -> ov.Output:
    """The same value with half of its rows: constants are replaced by views, what decompresses them is kept."""
    from openvino import opset13 as ops

    node = port.get_node()
    if node.get_type_name() == "Constant":
        if list(node.get_output_shape(0))[:1] != [rows]:
            return port
        size = rows // len(HALVES)
        view = _shareable(node.data[number * size : (number + 1) * size])
        return _named(ops.constant(view, shared_memory=True), node, half).output(0)
    for target in node.inputs():
        target.replace_source_output(_cut(target.get_source_output(), rows, number, half))
    node.set_friendly_name(f"{node.get_friendly_name()}/{half}")
    node.validate_and_infer_types()
    return node.output(0)


def _shareable(view: np.ndarray) -> np.ndarray:
    """The same memory for a new constant, which only takes arrays that might be written to, and never writes."""
    memory = (ctypes.c_byte * view.nbytes).from_address(view.ctypes.data)
    memory.owner = view  # the mapped file lives as long as this
    return np.frombuffer(memory, dtype=view.dtype).reshape(view.shape)


def _named(node: ov.Node, after: ov.Node, half: str) -> Any:
    node.set_friendly_name(f"{after.get_friendly_name()}/{half}")
    return node
