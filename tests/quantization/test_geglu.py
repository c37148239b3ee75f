"""GEGLU's projection as two layers: equal numbers, the same memory, and nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import anatomy, runtime
from stages.quantization import geglu, schemes
from tests.quantization.test_schemes import quantize, settings
from tests.tiny_ir import tiny_ir

WIDTH, INNER = 8, 16
HALVES = (INNER, INNER)
X = np.random.default_rng(1).standard_normal((2, 3, WIDTH), dtype=np.float32)


def feed_forward(
    lengths: tuple[int, ...] = (INNER, INNER),
    activation: str = "gelu",
    turned: bool = True,
    stored: ov.Type = ov.Type.i8,
) -> ov.Model:
    """What diffusers' FeedForward is after its weights were compressed: integers, a scale for each row, a bias."""
    random, rows = np.random.default_rng(0), sum(lengths)
    x = ops.parameter([-1, -1, WIDTH], np.float32, name="x")
    shape = (rows, WIDTH) if turned else (WIDTH, rows)
    integers = ops.constant(random.integers(-7, 7, shape), stored, name="weight")
    scale = ops.constant(random.random((rows, 1) if turned else (1, rows), dtype=np.float32) / 8, name="scale")
    product = ops.matmul(x, ops.multiply(ops.convert(integers, "f32"), scale), False, turned, name="product")
    added = ops.add(product, ops.constant(random.random(rows, dtype=np.float32), name="bias"), name="sum")
    parts = ops.variadic_split(added, -1, list(lengths))
    activate = getattr(ops, activation)
    gate = activate(parts.output(1), "erf") if activation == "gelu" else activate(parts.output(1))
    halves = lengths[0] == lengths[1]
    outputs = [ops.multiply(parts.output(0), gate).output(0)] if halves else [parts.output(0), gate.output(0)]
    return ov.Model([*outputs, *parts.outputs()[2:]], [x])


def run(model: ov.Model, inputs: dict[str, np.ndarray]) -> np.ndarray:
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled(inputs)[0]


def kinds(model: ov.Model) -> list[str]:
    return [node.get_type_name() for node in model.get_ops()]


def test_two_layers_compute_what_one_did() -> None:
    model = feed_forward()
    before = run(model, {"x": X})
    assert geglu.split(model) == 1
    assert "VariadicSplit" not in kinds(model) and kinds(model).count("MatMul") == 2
    np.testing.assert_array_equal(run(model, {"x": X}), before)


def test_weights_stay_where_they_are_in_memory() -> None:
    model = feed_forward()
    weight = next(node for node in model.get_ops() if node.get_friendly_name() == "weight")
    start = weight.data.ctypes.data
    geglu.split(model)
    halves = {node.get_friendly_name(): node.data for node in model.get_ops() if node.get_type_name() == "Constant"}
    assert halves["weight/hidden"].ctypes.data == start
    assert halves["weight/gate"].ctypes.data == start + INNER * WIDTH
    assert halves["scale/gate"].shape == (INNER, 1) and halves["bias/hidden"].shape == (INNER,)


@pytest.mark.parametrize(
    "other",
    [
        {"lengths": (INNER, INNER, INNER)},
        {"lengths": (INNER, INNER + 1)},
        {"activation": "relu"},
        {"turned": False},
        {"stored": ov.Type.i4},
    ],
    ids=str,
)
def test_anything_else_is_left_alone(other: dict) -> None:
    model = feed_forward(**other)
    before = kinds(model)
    assert geglu.split(model) == 0
    assert kinds(model) == before


def test_a_quantized_unet_predicts_the_same_and_keeps_its_size_and_marks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_ir("base") / "unet/openvino_model.xml"
    inputs = {port.any_name: noise(port.get_partial_shape()) for port in runtime.read(source).inputs}
    how = settings("weights_first", samples=1, ignored_patterns=[], ignored_types=["ScaledDotProductAttention"])
    quantize(source, tmp_path / "two/m.xml", how, [inputs])
    with monkeypatch.context() as patched:
        patched.setattr(schemes.geglu, "split", lambda model: 0)
        quantize(source, tmp_path / "one/m.xml", how, [inputs])
    one, two = (runtime.read(tmp_path / name / "m.xml") for name in ("one", "two"))
    cuts = kinds(one).count("VariadicSplit")
    assert cuts and kinds(two).count("VariadicSplit") == 0
    assert kinds(two).count("MatMul") == kinds(one).count("MatMul") + cuts
    assert anatomy.weights_mb(tmp_path / "two/m.xml") == pytest.approx(
        anatomy.weights_mb(tmp_path / "one/m.xml"), rel=0.01
    )
    assert unmarked(two) == unmarked(one)
    np.testing.assert_array_equal(run(two, inputs), run(one, inputs))


def noise(shape: ov.PartialShape) -> np.ndarray:
    """One timestep, and a batch of two of everything else; eight of what may be any number."""
    sides = [side.get_length() if side.is_static else 8 for side in shape]
    return np.random.default_rng(2).standard_normal([2, *sides[1:]] if len(sides) > 1 else 1).astype(np.float32)


def unmarked(model: ov.Model) -> int:
    """Conversions of constants that are not marked as decompression: OpenVINO would compute them when it loads."""
    converts = [node for node in model.get_ops() if node.get_type_name() == "Convert"]
    return sum("decompression_0" not in node.get_rt_info() for node in converts)
