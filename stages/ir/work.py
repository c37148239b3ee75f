"""Work layer by layer: the multiply-accumulates of every product in a model, and the kernel that executes it.

Consumes a model, the same model compiled, and the shapes of a request that this has run; produces one `Layer` for each
product of the model (two for attention), in order of execution. What the compiled model does not name is a layer too,
with the kernel NOT_FOUND, so that the sum is anatomy.multiply_accumulates in any case. Measures no time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stages.ir import anatomy, fusing
from stages.ir.anatomy import info

if TYPE_CHECKING:
    import openvino as ov

INT8 = ("i8", "u8")
STORED = (*INT8, "i4", "u4")  # weights that the CPU plugin multiplies with activations it quantizes itself
QK, PV = "attention QK", "attention PV"  # queries with keys; the weights that come of them with values
NOT_FOUND = "not found"
LANES = 16  # 32-bit sums in a vector: activations are quantized by whole vectors


@dataclass(frozen=True)
class Layer:
    """One product: its name in the model, its kind, its multiply-accumulates, and what executes them."""

    name: str
    type: str
    macs: int
    kernel: str
    precision: str  # i8, u8, f32, bf16, f16


def layers(
    model: ov.Model, compiled: ov.CompiledModel, inputs: dict[str, tuple[int, ...]], dynamic_group: int
) -> list[Layer]:
    """Every product of `model` at these input shapes, as `compiled` executed it when it last ran.

    `dynamic_group`: how many channels of activations are quantized at a time while the model runs (see `dynamic`).
    """
    fixed = model.clone()
    fixed.reshape({name: list(shape) for name, shape in inputs.items()})
    floats = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    products, found = fusing.Products(fixed), []
    nodes = sorted(compiled.get_runtime_model().get_ordered_ops(), key=_place)
    left = dict(products.by_name)
    for node, names in zip(nodes, products.by_layer(nodes), strict=True):
        for place, name in enumerate(names):
            found += _executed(left.pop(name), node, place, floats, dynamic_group)
    return found + [layer for product in left.values() for layer in _parts(product, NOT_FOUND, floats)]


def total(found: Iterable[Layer]) -> int:
    return sum(layer.macs for layer in found)


def int8(found: Iterable[Layer]) -> int:
    """Multiply-accumulates of 8-bit integers."""
    return total(layer for layer in found if layer.precision in INT8)


def dynamic(kernel: str, stored: str, channels: int, weight_group: int | None, group: int) -> bool:
    """Whether a fully connected layer multiplies integers although its kernel is named like a float one.

    The CPU plugin quantizes float32 activations by `group` channels while it runs where weights are stored in 8 or 4
    bits, and calls that kernel brgemm_avx512_f32 as well. When it does stands in useDynamicQuantizationImpl of
    OpenVINO's dnnl_fullyconnected_primitive.cpp; 2026.4 asks for as many channels, too.
    """
    fits = group > 0 and group % LANES == 0 and channels >= group
    return fits and kernel == "f32" and stored in STORED and (weight_group is None or weight_group % group == 0)


def _executed(product: Any, node: Any, place: int, floats: str, group: int) -> list[Layer]:
    """The layers of one product, the `place`-th of those that `node` executes."""
    facts = node.get_rt_info()
    kind, kernel, precision = info(facts, "layerType"), info(facts, "primitiveType"), anatomy.kernel_precision(facts)
    assert not kernel.startswith("undef"), "kernels are chosen when a model of dynamic shapes runs: run it first"
    parts = _parts(product, kernel, precision)
    if kind == "Subgraph":
        return _inside(parts, node, place, floats)
    if kind == "MatMul" and len(parts) == 2:
        return [_first(parts[0], fusing.matmul_above(node), floats), parts[1]]
    channels = int(product.get_input_shape(0)[-1])
    if kind == "FullyConnected" and dynamic(
        precision, info(facts, "runtimePrecision"), channels, _weight_group(product), group
    ):
        return [replace(part, kernel=f"{kernel}, dynamic by {group}", precision="i8") for part in parts]
    return parts


def _inside(parts: list[Layer], node: Any, place: int, floats: str) -> list[Layer]:
    """Products of attention inside a Subgraph, which names one kernel for all that it holds.

    A product is in integers where integers enter. Weights that softmax makes never enter; values do so as integers
    only where these weights are quantized inside, since else their product is a float one.
    """
    entering, own = fusing.entering(node), info(node.get_rt_info(), "runtimePrecision")
    first, second = entering[:2], entering[-1:]
    operands = [first, second] if len(parts) == 2 else [first if place == 0 else second]
    floats = floats if own in INT8 else own
    return [
        replace(part, precision=given[0] if given and set(given) <= set(INT8) else floats)
        for part, given in zip(parts, operands, strict=True)
    ]


def _first(scores: Layer, node: Any | None, floats: str) -> Layer:
    """Attention's first product where it was taken apart: executed by `node`."""
    if node is None:
        return replace(scores, kernel=NOT_FOUND, precision=floats)
    facts = node.get_rt_info()
    return replace(scores, kernel=info(facts, "primitiveType"), precision=anatomy.kernel_precision(facts))


def _parts(product: Any, kernel: str, precision: str) -> list[Layer]:
    name, kind = product.get_friendly_name(), product.get_type_name()
    if kind != fusing.ATTENTION:
        return [Layer(name, kind, anatomy.macs(product), kernel, precision)]
    macs = anatomy.attention_macs(product)
    return [Layer(name, part, count, kernel, precision) for part, count in zip((QK, PV), macs, strict=True)]


def _weight_group(product: Any) -> int | None:
    """Input channels that share a scale of compressed weights; None where all of an output channel do.

    Weights in groups are Reshape(Multiply(Convert(constant of (out, groups, group)), scale)).
    """
    node = anatomy.behind(product.input_value(1).get_node(), anatomy.DECOMPRESSION)
    shape = node.get_output_shape(0) if node.get_type_name() == "Constant" else []
    return int(shape[-1]) if len(shape) == 3 else None


def _place(node: Any) -> int:
    place = info(node.get_rt_info(), "execOrder")
    return int(place) if place.lstrip("-").isdigit() else 0
