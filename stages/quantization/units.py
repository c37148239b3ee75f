"""Units of a quantized graph: quantizers that stand and fall together, and the layers that they feed.

Consumes a model in which NNCF has placed FakeQuantize operations; produces its units in order of execution, and changes
one in place: another range, scales by channel folded into the weights, scales found at run time, or no quantizer at
all. Knows no layer by name, and decides nothing: stages.quantization.search does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.ir import anatomy

if TYPE_CHECKING:
    import openvino as ov

MOVERS = ("Transpose", "Reshape", "Interpolate", "Concat")  # they move what is quantized, and no more
LAYERS = ("MatMul", "Convolution", "ScaledDotProductAttention")
LEVELS = 256
LOWEST = 128  # of the integers of weights: -128 to 127
HALF = 64  # and where two products with integers to 255 must fit into 16 bits: 2 x 255 x 64 = 32,640
TINY = 1e-6  # the least end of a range, and the least gain: a token of all zeros stays zeros


@dataclass(frozen=True)
class Unit:
    """`direct`: the type of its layers if its one quantizer feeds each of them and nothing else, else None.

    `path`: what moves its values on the way there; `axis`: that of the layers' input channels, where it stands;
    `pointwise`: whether each output is made of the channels of one position.
    """

    quantizers: tuple[str, ...]
    layers: tuple[str, ...]
    macs: int
    direct: str | None
    path: tuple[str, ...] = ()
    axis: int = -1
    pointwise: bool = False

    @property
    def name(self) -> str:
        """Of its first layer: layers keep their names from one run to the next."""
        return self.layers[0] if self.layers else self.quantizers[0]


def find(model: ov.Model, macs: dict[str, int]) -> list[Unit]:
    """The model's units, those that feed one layer together being one; `macs`: multiply-accumulates by layer's name."""
    order = [node for node in model.get_ordered_ops() if node.get_type_name() in (*LAYERS, "FakeQuantize")]
    position = {node.get_friendly_name(): number for number, node in enumerate(order)}
    assert len(position) == len(order), "layers or quantizers of one name cannot be told apart"
    groups: list[tuple[set[str], set[str]]] = []  # quantizers, and the layers and quantizers that these feed
    for node in (node for node in order if node.get_type_name() == "FakeQuantize"):
        reached = {target.get_friendly_name() for target in _fed(node)} | {node.get_friendly_name()}
        mine = [group for group in groups if group[1] & reached]
        groups = [group for group in groups if group not in mine]
        groups.append((_joined(mine, 0, {node.get_friendly_name()}), _joined(mine, 1, reached)))
    nodes = {node.get_friendly_name(): node for node in order}
    units = [_unit(*(sorted(part, key=position.__getitem__) for part in group), nodes, macs) for group in groups]
    return sorted(units, key=lambda unit: position[unit.quantizers[0]])


def range_of(quantizer: ov.Node) -> tuple[float, float]:
    """Its lowest and highest value."""
    low, high = (float(np.ravel(quantizer.input_value(port).get_node().data)[0]) for port in (1, 2))
    return low, high


def bypass(nodes: dict[str, ov.Node], unit: Unit, original: dict[str, ov.Node]) -> None:
    """No quantizer: the layers compute in float, with the weights that they have in `original`."""
    for name in unit.quantizers:
        quantizer = nodes[name]
        for target in list(quantizer.output(0).get_target_inputs()):
            target.replace_source_output(quantizer.input_value(0))
    for name in unit.layers:
        if nodes[name].get_input_size() == 2 and name in original:
            nodes[name].input(1).replace_source_output(original[name].input_value(1))


def set_range(nodes: dict[str, ov.Node], unit: Unit, low: float, high: float) -> None:
    """All values from `low` to `high` in LEVELS steps, zero being one of them."""
    from openvino import opset13 as ops

    low, high = through_zero(low, high)
    for name in unit.quantizers:
        quantizer = nodes[name]
        shape = [1] * quantizer.output(0).get_partial_shape().rank.get_length()
        for port, value in zip((1, 2, 3, 4), (low, high, low, high), strict=True):
            constant = ops.constant(np.full(shape, value, np.float32))
            constant.set_friendly_name(f"{name}/range_{port}")
            quantizer.input(port).replace_source_output(constant.output(0))


def follow(nodes: dict[str, ov.Node], unit: Unit) -> None:
    """Let a quantizer stand right before its layers, behind what moves its values: the same function."""
    if not unit.path:
        return
    quantizer, last = nodes[unit.quantizers[0]], nodes[unit.path[-1]]
    targets = [port for port in last.output(0).get_target_inputs() if port.get_node().get_type_name() != "ShapeOf"]
    for port in list(quantizer.output(0).get_target_inputs()):
        port.replace_source_output(quantizer.input_value(0))
    quantizer.input(0).replace_source_output(last.output(0))
    for target in targets:
        target.replace_source_output(quantizer.output(0))


def once(model: ov.Model) -> None:
    """Quantize no value a second time on its way to a layer, as NNCF does before and behind an enlargement: behind it
    alone, as OpenVINO runs a convolution in float that follows an enlargement of what is quantized."""
    for node in model.get_ordered_ops():
        if node.get_type_name() != "FakeQuantize":
            continue
        before, reader = node.input_value(0).get_node(), node
        while _moves(before):
            before, reader = before.input_value(0).get_node(), before
        alone = [one.get_friendly_name() for one in _readers(before)] == [reader.get_friendly_name()]
        if reader is not node and before.get_type_name() == "FakeQuantize" and alone:
            reader.input(0).replace_source_output(before.input_value(0))


def smooth(nodes: dict[str, ov.Node], unit: Unit, scale: np.ndarray, original: dict[str, ov.Node]) -> None:
    """Divide each channel by its scale before the quantizer, and multiply the weights: the same function.

    Source: Xiao et al., SmoothQuant, ICML 2023, equation 3. The quantizer's range must be set anew.
    """
    from openvino import opset13 as ops

    quantizer = nodes[unit.quantizers[0]]
    source = quantizer.input_value(0)
    factor = along(1 / scale, unit.axis, source.get_partial_shape().rank.get_length())
    divided = ops.multiply(source, ops.constant(factor), name=f"{unit.quantizers[0]}/smoothed")
    quantizer.input(0).replace_source_output(divided.output(0))
    for name in unit.layers:
        _scale_weights(nodes[name], original[name], scale)


def twice(nodes: dict[str, ov.Node], unit: Unit) -> None:
    """Each layer two times in INT8: on what its quantizer gives, and on what that left over, a 256th as wide.

    The quantizer must stand right before its layers. The same weights, activations in 16 bits, and half the work of
    float where float takes four times that of INT8.
    """
    from openvino import opset13 as ops

    quantizer = nodes[unit.quantizers[0]]
    low, high = range_of(quantizer)
    step = (high - low) / (LEVELS - 1)
    ends = [ops.constant(np.float32(value)) for value in through_zero(-step / 2, step / 2)]
    left = ops.subtract(quantizer.input_value(0), quantizer.output(0), name=f"{unit.quantizers[0]}/left")
    fine = ops.fake_quantize(left, *ends, *ends, LEVELS, name=f"{unit.quantizers[0]}/fine")
    for name in unit.layers:
        layer = nodes[name]
        targets = list(layer.output(0).get_target_inputs())
        again = _again(layer, fine)
        again.set_friendly_name(f"{name}/fine")
        both = ops.add(layer.output(0), again.output(0), name=f"{name}/twice")
        for target in targets:
            target.replace_source_output(both.output(0))


def dynamic(nodes: dict[str, ov.Node], unit: Unit) -> None:
    """The range times a gain that is found while the model runs, so that each token fills it, each position of a 1x1
    convolution, each picture before a larger one: nothing is cut off. Products are scaled back.

    The quantizer must stand right before its layers. Source: LLM.int8() (Dettmers et al., NeurIPS 2022), vector-wise
    quantization of the left operand; the range keeps its shape, as behind a SiLU one half of it would be empty.
    """
    from openvino import opset13 as ops

    quantizer = nodes[unit.quantizers[0]]
    source, axis = quantizer.input_value(0), 1 if unit.direct == "Convolution" else -1
    low, high = through_zero(*range_of(quantizer))
    gained = gain(source, ops.constant(np.float32(low)), ops.constant(np.float32(high)), unit, axis)
    gained.set_friendly_name(f"{unit.quantizers[0]}/gain")
    ends = [ops.constant(np.float32(value)) for value in (low, high, low, high)]
    whole = ops.fake_quantize(ops.divide(source, gained), *ends, LEVELS, name=f"{unit.quantizers[0]}/dynamic")
    for name in unit.layers:
        layer = nodes[name]
        targets = list(layer.output(0).get_target_inputs())
        layer.input(0).replace_source_output(whole.output(0))
        scaled = ops.multiply(layer.output(0), gained, name=scaled_back(name))
        for target in targets:
            target.replace_source_output(scaled.output(0))


def scaled_back(layer: str) -> str:
    """The operation behind a `dynamic` layer that gives what the layer itself gave before."""
    return f"{layer}/dynamic"


def gain(value: ov.Output, low: ov.Node, high: ov.Node, unit: Unit, axis: int) -> ov.Node:
    """What the range from `low` (not above zero) to `high` must be multiplied by to hold just all that one scale is
    for; `axis`: that of channels."""
    from openvino import opset13 as ops

    axes = [axis] if unit.pointwise else list(range(1, value.get_partial_shape().rank.get_length()))
    most, least = (reduced(value, ops.constant(np.array(axes)), True) for reduced in (ops.reduce_max, ops.reduce_min))
    over = ops.divide(most, ops.maximum(high, ops.constant(np.float32(TINY))))
    under = ops.divide(least, ops.minimum(low, ops.constant(np.float32(-TINY))))
    return ops.maximum(ops.maximum(over, under), ops.constant(np.float32(TINY)))


def through_zero(low: float, high: float) -> tuple[float, float]:
    """The range, widened and shifted by less than a step, so that zero is one of its LEVELS values: padding is zeros.

    >>> through_zero(-1.0, 254.0), through_zero(3.0, 10.0)
    ((-1.0, 254.0), (0.0, 10.0))
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == 0.0 or high == 0.0:
        return low, high if high > low else low + TINY
    step = (high - low) / (LEVELS - 1)
    below = round(-low / step)
    step = max(-low / max(below, 1), high / max(LEVELS - 1 - below, 1))
    return -step * below, step * (LEVELS - 1 - below)


def named(model: ov.Model) -> dict[str, ov.Node]:
    return {node.get_friendly_name(): node for node in model.get_ops()}


def weights_of(layer: ov.Node, scale: np.ndarray | None = None) -> np.ndarray:
    """A float layer's weights (out, in, ...) in float32, from the constant behind its conversions, times the `scale` of
    each input channel."""
    node = anatomy.behind(layer.input_value(1).get_node(), ("Convert",))
    assert node.get_type_name() == "Constant", f"the weights of {layer.get_friendly_name()} are no constant"
    weights = node.data.astype(np.float32)
    return weights if scale is None else weights * along(scale, 1, weights.ndim)


def nearest(steps: np.ndarray, lowest: int = LOWEST) -> np.ndarray:
    """Weights in steps, rounded to the nearest of the integers from `-lowest`."""
    return np.clip(np.round(steps), -lowest, lowest - 1)


def lowest_of(layer: ov.Node) -> int:
    """LOWEST, or HALF where none of its integers is beyond: full ranges begin at -128 in every row."""
    integers = _decompressed(layer.input_value(1).get_node())[0].data
    return HALF if integers.min(initial=0) >= -HALF and integers.max(initial=0) <= HALF else LOWEST


def halve(model: ov.Model, floats: dict[str, ov.Node]) -> None:
    """All compressed weights in integers from -HALF, in steps twice as wide; `floats`: layers before, by name."""
    for layer in model.get_ops():
        if not compressed(layer):
            continue
        integers, factor = _decompressed(layer.input_value(1).get_node())
        wide = factor.data * factor.data.dtype.type(2)
        weights = weights_of(floats[layer.get_friendly_name()])
        steps = weights.reshape(len(weights), -1) / wide.astype(np.float32).reshape(-1, 1)
        _replace(integers, nearest(steps, HALF).astype(np.int8))
        _replace(factor, wide)


def compressed(layer: ov.Node) -> bool:
    """Whether its weights are integers with a factor for each row."""
    if layer.get_type_name() not in ("MatMul", "Convolution"):
        return False
    node = anatomy.behind(layer.input_value(1).get_node(), ("Convert", "Reshape"))
    if node.get_type_name() != "Multiply":
        return False
    integers, _ = _decompressed(node)
    return integers.get_type_name() == "Constant" and integers.data.dtype == np.int8


def step_of(layer: ov.Node) -> np.ndarray:
    """What one integer of a row of weights stands for, by row."""
    return _decompressed(layer.input_value(1).get_node())[1].data.astype(np.float32).ravel()


def set_integers(layer: ov.Node, values: np.ndarray) -> None:
    """Other integers for the weights, of the same steps."""
    _replace(_decompressed(layer.input_value(1).get_node())[0], values)


def along(values: np.ndarray, axis: int, rank: int) -> np.ndarray:
    """In float32, and in a shape in which they multiply along one axis."""
    shape = [-1 if number == axis % rank else 1 for number in range(rank)]
    return values.reshape(shape).astype(np.float32)


def _scale_weights(layer: ov.Node, before: ov.Node, scale: np.ndarray) -> None:
    """INT8 weights anew out of the float ones times the scale of each input channel; the graph around them stays.

    As NNCF's INT8_SYM: a row's step has the sign that takes its greatest weight to -128, so that no step is wasted.
    """
    weights, lowest = weights_of(before, scale), lowest_of(layer)
    rows = weights.reshape(len(weights), -1)
    greatest = rows[np.arange(len(rows)), np.abs(rows).argmax(1)]
    step = along(np.where(greatest == 0, 1.0, -greatest / lowest), 0, weights.ndim)
    integers, factor = _decompressed(layer.input_value(1).get_node())
    step = step.astype(factor.data.dtype)
    _replace(integers, nearest(weights / step.astype(np.float32), lowest).astype(np.int8))
    _replace(factor, step)


def _replace(old: ov.Node, data: np.ndarray) -> None:
    from openvino import opset13 as ops

    new = ops.constant(data.reshape(old.data.shape))
    new.set_friendly_name(old.get_friendly_name())
    old.output(0).replace(new.output(0))


def _decompressed(node: ov.Node) -> tuple[ov.Node, ov.Node]:
    """The constants of Multiply(Convert(integers), factor), behind conversions and reshapes."""
    node = anatomy.behind(node, ("Convert", "Reshape"))
    assert node.get_type_name() == "Multiply", f"{node.get_friendly_name()} holds no compressed weights"
    integers, factor = (node.input_value(port).get_node() for port in (0, 1))
    return anatomy.behind(integers, ("Convert",)), anatomy.behind(factor, ("Convert",))


def _again(layer: ov.Node, x: ov.Node) -> ov.Node:
    """The same product with the same weights of another value."""
    from openvino import opset13 as ops

    how, weights = layer.get_attributes(), layer.input_value(1)
    if layer.get_type_name() == "MatMul":
        return ops.matmul(x, weights, how["transpose_a"], how["transpose_b"])
    pads = how["pads_begin"], how["pads_end"]
    return ops.convolution(x, weights, how["strides"], *pads, how["dilations"], how["auto_pad"])


def _fed(node: ov.Node) -> list[ov.Node]:
    """Layers and quantizers that a value reaches through what only moves it."""
    found = []
    for target in (port.get_node() for port in node.output(0).get_target_inputs()):
        kind = target.get_type_name()
        found += [target] if kind in (*LAYERS, "FakeQuantize") else _fed(target) if kind in MOVERS else []
    return found


def _joined(groups: list[tuple[set[str], set[str]]], part: int, more: set[str]) -> set[str]:
    return more.union(*(group[part] for group in groups))


def _unit(quantizers: list[str], reached: list[str], nodes: dict[str, Any], macs: dict[str, int]) -> Unit:
    layers = tuple(name for name in reached if nodes[name].get_type_name() != "FakeQuantize")
    kinds, total = {nodes[name].get_type_name() for name in layers}, sum(macs.get(name, 0) for name in layers)
    path = _path(nodes[quantizers[0]], set(layers)) if len(quantizers) == 1 else None
    axis = None if path is None or not layers else _axis(nodes[layers[0]], path)
    if axis is None or len(kinds) > 1 or not kinds <= {"MatMul", "Convolution"}:
        return Unit(tuple(quantizers), layers, total, None)
    names = tuple(node.get_friendly_name() for node in path)
    pointwise = all(_pointwise(nodes[name]) for name in layers)
    return Unit(tuple(quantizers), layers, total, kinds.pop(), names, axis, pointwise)


def _path(node: ov.Node, layers: set[str]) -> list[ov.Node] | None:
    """What moves a value, one after the other, on its way to the layers; None where anything else takes it."""
    path: list[ov.Node] = []
    while True:
        readers = _readers(path[-1] if path else node)
        if {reader.get_friendly_name() for reader in readers} == layers:
            return path
        if len(readers) != 1 or not _moves(readers[0]):
            return None
        path += readers


def _readers(node: ov.Node) -> list[ov.Node]:
    found = [port.get_node() for port in node.output(0).get_target_inputs()]
    return [reader for reader in found if reader.get_type_name() != "ShapeOf"]


def _moves(node: ov.Node) -> bool:
    kind = node.get_type_name()
    return kind in ("Transpose", "Reshape") or kind == "Interpolate" and node.get_attributes()["mode"] == "nearest"


def _axis(layer: ov.Node, path: list[ov.Node]) -> int | None:
    """Where, before all of `path`, the axis is that is the layer's input channels; None if it is none of its own."""
    axis = (
        1 if layer.get_type_name() == "Convolution" else layer.input_value(0).get_partial_shape().rank.get_length() - 1
    )
    for node in reversed(path):
        if node.get_type_name() == "Transpose":
            axis = int(np.ravel(node.input_value(1).get_node().data)[axis])
        elif node.get_type_name() == "Reshape":
            before, after = node.input_value(0).get_partial_shape(), node.output(0).get_partial_shape()
            if axis != len(after) - 1 or before[len(before) - 1] != after[axis]:
                return None
            axis = len(before) - 1
    return axis


def _pointwise(layer: ov.Node) -> bool:
    if layer.get_type_name() == "MatMul":
        return True
    return set(layer.get_attributes()["strides"]) == {1} and set(layer.input_value(1).get_shape()[2:]) == {1}
