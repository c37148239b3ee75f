"""Work layer by layer: multiply-accumulates counted by hand, and integers found where integers are multiplied."""

import nncf
import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import anatomy, runtime, work
from stages.machine import description
from tests.ir.test_ir import convolution, device, int8_product, ones

F32 = device(precision="f32", group_size=0)
TOKENS, TEXT = (2, 10, 16), (2, 7, 16)


def network() -> ov.Model:
    """A 1 x 1 convolution from 3 to 16 channels, its positions as tokens, a projection with bias, attention to a text
    and a projection of what it gives."""
    image = named(ops.parameter([-1, 3, -1, -1], np.float32), "image")
    text = named(ops.parameter([-1, -1, 16], np.float32), "text")
    features = call(ops.convolution(image, ops.constant(ones(16, 3, 1, 1)), [1, 1], [0, 0], [0, 0], [1, 1]), "conv")
    rows = ops.transpose(ops.reshape(features, ops.constant([0, 16, -1]), True), ops.constant([0, 2, 1]))
    query = ops.gelu(ops.add(call(linear(rows, 16), "to_q/MatMul"), ops.constant(ones(1, 1, 16))), "erf")
    mixed = call(ops.scaled_dot_product_attention(query, text, text), "attn/ScaledDotProductAttention")
    return ov.Model([call(linear(mixed, 8), "to_out/MatMul")], [image, text])


def linear(node, channels: int):
    return ops.matmul(node, ops.constant(ones(channels, 16)), False, True)


def named(parameter, name: str):
    parameter.output(0).set_names({name})
    return parameter


def call(node, name: str):
    node.set_friendly_name(name)
    return node


def quantizer(node, channels: int = 1):
    """To 256 levels of about -4 to 4: one range, or one per channel of the last axis."""
    low = np.linspace(-4, -3, channels, dtype=np.float32)
    low, high = (low, -low * np.float32(127 / 128)) if channels > 1 else (np.float32(-4), np.float32(4 * 127 / 128))
    return ops.fake_quantize(node, low, high, low, high, 256)


def weights_int8(out: int, channels: int):
    integers = ops.constant((np.arange(out * channels) % 251 - 125).reshape(out, channels).astype(np.int8))
    return ops.multiply(ops.convert(integers, "f32"), ops.constant(np.full((out, 1), 0.01, np.float32)))


def run(model: ov.Model, shapes: dict[str, tuple[int, ...]], how=F32, **properties) -> ov.CompiledModel:
    compiled = ov.Core().compile_model(model, "CPU", runtime.device_config(how, False) | properties)
    compiled({name: np.random.default_rng(0).standard_normal(shape, np.float32) for name, shape in shapes.items()})
    return compiled


def layers_of(model: ov.Model, shapes: dict[str, tuple[int, ...]], group: int = 0, **options) -> list[work.Layer]:
    layers = work.layers(model, run(model, shapes, **options), shapes, group)
    assert work.total(layers) == anatomy.multiply_accumulates(model, shapes)
    return layers


def test_every_product_is_a_layer_with_its_multiply_accumulates() -> None:
    shapes = {"image": (2, 3, 4, 4), "text": (2, 7, 16)}
    assert [(layer.name, layer.type, layer.macs, layer.precision) for layer in layers_of(network(), shapes)] == [
        ("conv", "Convolution", 2 * 16 * 16 * 3, "f32"),
        ("to_q/MatMul", "MatMul", 2 * 16 * 16 * 16, "f32"),
        ("attn/ScaledDotProductAttention", work.QK, 2 * 16 * 7 * 16, "f32"),
        ("attn/ScaledDotProductAttention", work.PV, 2 * 16 * 7 * 16, "f32"),
        ("to_out/MatMul", "MatMul", 2 * 16 * 16 * 8, "f32"),
    ]


def test_the_model_stays_dynamic() -> None:
    model = convolution()
    layers_of(model, {"image": (1, 4, 8, 8)})
    assert model.input(0).partial_shape.is_dynamic


def test_quantized_products_are_in_integers_whatever_they_were_fused_with() -> None:
    tokens = named(ops.parameter([-1, -1, 16], np.float32), "tokens")
    first = call(ops.matmul(quantizer(tokens), weights_int8(32, 16), False, True), "first/MatMul")
    middle = quantizer(ops.gelu(ops.add(first, ops.constant(ones(1, 1, 32))), "erf"))
    second = call(ops.matmul(middle, weights_int8(16, 32), False, True), "second/MatMul")
    model = ov.Model([ops.add(second, ops.add(tokens, ops.constant(ones(1, 1, 16))))], [tokens])
    layers = layers_of(model, {"tokens": TOKENS})
    assert [layer.name for layer in layers] == ["first/MatMul", "second/MatMul"]
    assert {layer.precision for layer in layers} <= set(work.INT8)
    assert work.int8(layers) == 2 * 2 * 10 * 16 * 32
    assert all("8" in layer.kernel for layer in layers), "the kernels' own names say so"


def test_a_quantizer_per_channel_leaves_a_product_in_float_though_its_runtime_precision_says_otherwise() -> None:
    tokens = named(ops.parameter([-1, 16], np.float32), "tokens")
    model = ov.Model([ops.matmul(quantizer(tokens, 16), weights_int8(8, 16), False, True)], [tokens])
    (layer,) = layers_of(model, {"tokens": (5, 16)})
    assert layer.precision == "f32" and work.int8([layer]) == 0


def attention(quantized: str, apart: bool) -> ov.Model:
    """Attention with quantizers on some of q, k, v, and on the weights (p), which takes an attention taken apart."""
    q, k, v = (named(ops.parameter([-1, 2, -1, 16], np.float32), name) for name in "qkv")
    given = [quantizer(node) if name in quantized else node for name, node in zip("qkv", (q, k, v), strict=True)]
    if not apart:
        return ov.Model([ops.scaled_dot_product_attention(*given)], [q, k, v])
    scores = ops.multiply(call(ops.matmul(*given[:2], False, True), "scores"), ops.constant(np.float32(0.25)))
    weights = ops.softmax(scores, 3)
    if "p" in quantized:
        weights = ops.fake_quantize(weights, *map(np.float32, (0, 1, 0, 1)), 256)
    return ov.Model([call(ops.matmul(weights, given[2], False, False), "mix")], [q, k, v])


@pytest.mark.parametrize("snippets", ["ENABLE", "DISABLE"])
@pytest.mark.parametrize(
    ("quantized", "apart", "integers"),
    [
        ("", False, [False, False]),
        ("qk", False, [True, False]),
        ("qkv", False, [True, False]),  # the weights that softmax makes are floats all the same
        ("q", False, [False, False]),
        ("", True, [False, False]),
        ("qk", True, [True, False]),
        ("qkvp", True, [True, True]),
        ("vp", True, [False, True]),
    ],
)
def test_of_attention_each_product_is_judged_by_itself(quantized, apart, integers, snippets) -> None:
    shapes = dict.fromkeys("qkv", (1, 2, 64, 16))
    layers = layers_of(attention(quantized, apart), shapes, SNIPPETS_MODE=snippets)
    assert [layer.macs for layer in layers] == [2 * 64 * 64 * 16] * 2
    assert [layer.precision in work.INT8 for layer in layers] == integers


@pytest.mark.parametrize("channels", [16, 48, 128])
@pytest.mark.parametrize(("mode", "weight_group"), [("INT8_SYM", -1), ("INT8_ASYM", -1), ("INT4_SYM", 16)])
@pytest.mark.parametrize("group", [0, 16, 20, 32, 128])
def test_quantizing_while_running_is_seen_where_outputs_change_with_it(channels, mode, weight_group, group) -> None:
    tokens = named(ops.parameter([-1, -1, channels], np.float32), "tokens")
    values = np.random.default_rng(1).standard_normal((32, channels), np.float32)
    grouped = {"group_size": weight_group, "ratio": 1.0, "all_layers": True} if "INT4" in mode else {}
    model = nncf.compress_weights(
        ov.Model([ops.matmul(tokens, ops.constant(values), False, True)], [tokens]),
        mode=nncf.CompressWeightsMode[mode],
        **grouped,
    )
    shapes = {"tokens": (2, 5, channels)}
    inputs = {"tokens": np.random.default_rng(2).standard_normal(shapes["tokens"], np.float32)}
    exact, compiled = (run(model, shapes, device(precision="f32", group_size=size)) for size in (0, group))
    changed = bool((exact(inputs)[0] != compiled(inputs)[0]).any())
    (layer,) = work.layers(model, compiled, shapes, 0 if description.sums_overflow() else group)
    assert (layer.precision in work.INT8) == changed
    assert ("dynamic" in layer.kernel) == changed


def test_what_the_compiled_model_does_not_name_is_a_layer_that_was_not_found() -> None:
    shapes = {"image": (1, 4, 8, 8)}
    image = named(ops.parameter([-1, 4, -1, -1], np.float32), "image")
    other = ops.convolution(image, ops.constant(ones(5, 4, 1, 1)), [1, 1], [0, 0], [0, 0], [1, 1])
    (layer,) = work.layers(ov.Model([call(other, "elsewhere")], [image]), run(convolution(), shapes), shapes, 0)
    assert layer == work.Layer("elsewhere", "Convolution", 5 * 8 * 8 * 4, work.NOT_FOUND, "f32")


def test_a_model_of_dynamic_shapes_must_have_run() -> None:
    with pytest.raises(AssertionError, match="run it first"):
        work.layers(int8_product(), runtime.compile(int8_product(), F32), {"tokens": (2, 64)}, 0)
