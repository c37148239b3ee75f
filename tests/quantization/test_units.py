"""Units of a quantized graph: what belongs together, and what each change does to the numbers."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.machine import description
from stages.quantization import units
from tests.quantization.test_schemes import float_ir, quantize, samples, settings

WIDTH = 8
RANDOM = np.random.default_rng(0)
WEIGHTS = RANDOM.standard_normal((4, WIDTH)).astype(np.float32)


def run(model: ov.Model, x: np.ndarray) -> np.ndarray:
    how = {"INFERENCE_PRECISION_HINT": "f32"}
    if description.sums_overflow():  # as the graph says, then: these weights fill all 8 bits
        how["LP_TRANSFORMS_MODE"] = "NO"
    compiled = ov.Core().compile_model(model, "CPU", how)
    return np.array(compiled([x], share_inputs=False)[0])


def fake_quantize(x: ov.Node, low: float, high: float, name: str) -> ov.Node:
    ends = [ops.constant(np.float32(value)) for value in (low, high, low, high)]
    return ops.fake_quantize(x, *ends, 256, name=name)


def linear(quantized: bool, low: float = -4.0, high: float = 4.0) -> ov.Model:
    """Two matrix products of one input, with INT8 weights as NNCF writes them behind a quantizer, or in float."""
    x = ops.parameter([-1, -1, WIDTH], np.float32, name="x")
    source = fake_quantize(x, low, high, "quantizer") if quantized else x
    step = (np.abs(WEIGHTS).max(1, keepdims=True) / 127).astype(np.float32)
    products = []
    for name in ("first", "second"):
        stored = ops.constant(WEIGHTS)
        if quantized:
            integers = ops.constant(np.round(WEIGHTS / step).astype(np.int8), name=f"{name}/weights")
            stored = ops.multiply(ops.convert(integers, "f32"), ops.constant(step, name=f"{name}/scale"))
        products.append(ops.relu(ops.matmul(source, stored, False, True, name=name)))
    return ov.Model([ops.concat(products, -1)], [x])


def upsampled() -> ov.Model:
    """Quantizer, resizing, quantizer, convolution; and another quantizer that feeds a convolution alone."""
    x = ops.parameter([1, 4, 4, 4], np.float32, name="x")
    first = fake_quantize(x, -1, 1, "before")
    sizes, axes = ops.constant(np.array([8, 8])), ops.constant(np.array([2, 3]))
    larger = ops.interpolate(first, sizes, "nearest", "sizes", axes=axes)
    second = fake_quantize(larger, -1, 1, "after")
    weights = ops.constant(RANDOM.standard_normal((4, 4, 1, 1)).astype(np.float32))
    node = ops.convolution(second, weights, [1, 1], [0, 0], [0, 0], [1, 1], name="up")
    node = ops.convolution(
        fake_quantize(node, -1, 1, "alone"), weights, [1, 1], [0, 0], [0, 0], [1, 1], name="convolution"
    )
    return ov.Model([node], [x])


def found(model: ov.Model) -> list[units.Unit]:
    return units.find(model, {"first": 3, "second": 4, "up": 5, "convolution": 6})


def test_layers_behind_one_quantizer_are_a_unit() -> None:
    (unit,) = found(linear(True))
    assert unit == units.Unit(("quantizer",), ("first", "second"), 7, "MatMul", (), 2, True)


def test_quantizers_on_the_way_to_one_layer_are_a_unit() -> None:
    pair, alone = found(upsampled())
    assert pair == units.Unit(("before", "after"), ("up",), 5, None)
    assert alone == units.Unit(("alone",), ("convolution",), 6, "Convolution", (), 1, True)


def test_what_is_quantized_before_an_enlargement_and_behind_it_is_so_only_behind() -> None:
    model, data = upsampled(), RANDOM.standard_normal((1, 4, 4, 4)).astype(np.float32)
    expected = run(model, data)
    units.once(model)
    unit, _ = found(model)
    assert unit == units.Unit(("after",), ("up",), 5, "Convolution", (), 1, True)
    np.testing.assert_allclose(run(model, data), expected, atol=1e-6)
    assert [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"] == [
        "after",
        "alone",
    ]


def test_what_is_quantized_before_it_is_moved_alone_stays_so() -> None:
    model = moved()
    units.once(model)
    assert "FakeQuantize" in {node.get_type_name() for node in model.get_ordered_ops()}


def test_what_others_take_quantized_stays_so_for_them() -> None:
    model = upsampled()
    model.add_outputs([units.named(model)["before"].output(0)])
    units.once(model)
    assert len([node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]) == 3


def moved() -> ov.Model:
    """A picture that is quantized, then laid out as tokens for a matrix product: SDXL's `proj_in`."""
    x = ops.parameter([-1, WIDTH, 2, 3], np.float32, name="x")
    turned = ops.transpose(fake_quantize(x, -4, 4, "quantizer"), ops.constant(np.array([0, 2, 3, 1])), name="turned")
    tokens = ops.reshape(turned, ops.constant(np.array([0, -1, WIDTH])), True, name="tokens")
    return ov.Model([ops.matmul(tokens, ops.constant(WEIGHTS), False, True, name="first")], [x])


def test_a_quantizer_that_follows_what_moves_its_values_gives_the_same() -> None:
    model, data = moved(), RANDOM.standard_normal((2, WIDTH, 2, 3)).astype(np.float32)
    (unit,) = units.find(model, {})
    assert (unit.direct, unit.path, unit.axis, unit.pointwise) == ("MatMul", ("turned", "tokens"), 1, True)
    expected = run(model, data)
    units.follow(units.named(model), unit)
    model.validate_nodes_and_infer_types()
    np.testing.assert_allclose(run(model, data), expected, atol=1e-5)
    (unit,) = units.find(model, {})
    assert (unit.direct, unit.path, unit.axis) == ("MatMul", (), 2)


def test_a_value_that_others_take_on_its_way_has_no_unit_of_its_own() -> None:
    model = moved()
    node = units.named(model)["turned"]
    model.add_outputs([node.output(0)])
    (unit,) = units.find(model, {})
    assert unit.direct is None


def test_a_bypassed_unit_computes_what_the_float_model_does() -> None:
    model, original = linear(True), linear(False)
    units.bypass(units.named(model), found(model)[0], units.named(original))
    x = RANDOM.standard_normal((2, 3, WIDTH)).astype(np.float32)
    np.testing.assert_array_equal(run(model, x), run(original, x))
    assert "FakeQuantize" not in {node.get_type_name() for node in model.get_ordered_ops()}


def test_another_range_is_the_one_that_values_are_cut_to() -> None:
    model = linear(True)
    units.set_range(units.named(model), found(model)[0], 0.0, 2.55)
    x = np.full((1, 1, WIDTH), 3.0, np.float32)
    np.testing.assert_allclose(run(model, x), run(linear(True, 0.0, 2.55), x), rtol=1e-6)


def test_scales_by_channel_keep_quiet_channels_beside_a_loud_one() -> None:
    x = RANDOM.standard_normal((2, 3, WIDTH)).astype(np.float32)
    x[..., 2] *= 500
    scale = np.abs(x).max((0, 1))
    original = linear(False)
    expected, errors = run(original, x), {}
    for name in ("plain", "smooth"):
        model = linear(True, -np.abs(x).max(), np.abs(x).max())
        if name == "smooth":
            unit, nodes = found(model)[0], units.named(model)
            units.smooth(nodes, unit, scale, units.named(original))
            units.set_range(nodes, unit, -1.0, 1.0)
        errors[name] = np.abs(run(model, x) - expected)[..., :].mean()
    assert errors["smooth"] < errors["plain"] / 2


def test_scaling_by_one_writes_the_weights_that_nncf_does(tmp_path) -> None:
    source = float_ir(tmp_path / "fp16")
    quantize(source, tmp_path / "m.xml", settings("weights_first", overflow_fix="never"), samples())
    model, original = (ov.Core().read_model(path) for path in (tmp_path / "m.xml", source))
    nodes, floats = units.named(model), units.named(original)
    checked = 0
    for unit in (unit for unit in units.find(model, {}) if unit.direct):
        integers, _ = units._decompressed(nodes[unit.layers[0]].input_value(1).get_node())
        before = integers.data.astype(int).copy()
        channels = floats[unit.layers[0]].input_value(1).get_shape()[1]
        units.smooth(nodes, unit, np.ones(channels, np.float32), floats)
        after, _ = units._decompressed(nodes[unit.layers[0]].input_value(1).get_node())
        assert np.abs(after.data.astype(int) - before).max() <= 1
        assert (after.data == before).mean() > 0.99, "those that 16-bit weights round otherwise than 32-bit ones"
        checked += 1
    assert checked


def filled(x: np.ndarray, low: float, high: float, axes) -> tuple[np.ndarray, np.ndarray]:
    """x in relation to a gain with which it fills the range, quantized; and the gain."""
    low, high = units.through_zero(low, high)
    gain = np.maximum(np.maximum(x / high, x / low).max(axes, keepdims=True), units.TINY)
    step = (high - low) / 255
    return np.round((x / gain - low) / step) * step + low, gain


def test_every_token_is_quantized_by_its_own_scale() -> None:
    x = RANDOM.standard_normal((2, 3, WIDTH)).astype(np.float32)
    x[:, 0] *= 800
    x[1, 2] = 0
    model = linear(True)
    units.dynamic(units.named(model), found(model)[0])
    quantized, gain = filled(x, -4.0, 4.0, -1)
    step = np.abs(WEIGHTS).max(1, keepdims=True) / 127
    weights = np.round(WEIGHTS / step) * step
    expected = np.maximum(quantized @ weights.T, 0) * gain
    np.testing.assert_allclose(run(model, x), np.concatenate([expected] * 2, -1), rtol=2e-3, atol=2e-3)


def test_every_picture_is_quantized_by_its_own_scale_for_a_convolution() -> None:
    x = ops.parameter([-1, 4, 6, 6], np.float32, name="x")
    weights = RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32)
    how = [1, 1], [1, 1], [1, 1], [1, 1]
    quantizer = fake_quantize(x, -1, 1, "q")
    model = ov.Model([ops.convolution(quantizer, ops.constant(weights), *how, name="convolution")], [x])
    units.dynamic(units.named(model), found(model)[0])
    data = RANDOM.standard_normal((3, 4, 6, 6)).astype(np.float32) * np.array([1, 500, 0], np.float32).reshape(
        3, 1, 1, 1
    )
    quantized, gain = filled(data, -1.0, 1.0, (1, 2, 3))
    y = ops.parameter([-1, 4, 6, 6], np.float32, name="y")
    plain = ov.Model([ops.convolution(y, ops.constant(weights), *how)], [y])
    expected = run(plain, quantized.astype(np.float32)) * gain
    np.testing.assert_allclose(run(model, data), expected, rtol=2e-3, atol=2e-3)


def test_twice_is_as_good_as_float_activations() -> None:
    x = RANDOM.standard_normal((2, 3, WIDTH)).astype(np.float32)
    exact, plain, model = linear(True, -8.0, 8.0), linear(True, -8.0, 8.0), linear(True, -8.0, 8.0)
    units.bypass(units.named(exact), found(exact)[0], {})
    units.twice(units.named(model), found(model)[0])
    expected = run(exact, x)
    errors = [np.abs(run(one, x) - expected).max() for one in (plain, model)]
    assert errors[1] < errors[0] / 50


def test_a_convolution_is_computed_twice_with_its_own_padding_and_strides() -> None:
    x = ops.parameter([1, 4, 9, 9], np.float32, name="x")
    weights = ops.constant(RANDOM.standard_normal((4, 4, 3, 3)).astype(np.float32))
    how = [2, 2], [1, 1], [1, 1], [1, 1]
    float_model = ov.Model([ops.convolution(x, weights, *how, name="convolution")], [x])
    y = ops.parameter([1, 4, 9, 9], np.float32, name="x")
    model = ov.Model([ops.convolution(fake_quantize(y, -4, 4, "q"), weights, *how, name="convolution")], [y])
    units.twice(units.named(model), found(model)[0])
    data = RANDOM.standard_normal((1, 4, 9, 9)).astype(np.float32)
    np.testing.assert_allclose(run(model, data), run(float_model, data), rtol=1e-2, atol=2e-3)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.0, 2.55, (0.0, 2.55)), (0.5, 2.55, (0.0, 2.55)), (-255.0, -1.0, (-255.0, 0.0)), (-1.0, 254.0, (-1.0, 254.0))],
)
def test_a_range_holds_zero(low: float, high: float, expected: tuple[float, float]) -> None:
    assert units.through_zero(low, high) == pytest.approx(expected)


def test_zero_is_one_of_the_values_of_a_range() -> None:
    low, high = units.through_zero(-1.0, 2.0)
    steps = -low / ((high - low) / 255)
    assert steps == pytest.approx(round(steps)) and low <= -1.0 + 1e-6 and high >= 2.0 - 1e-6
