"""Rounding for what a layer puts out: less noise there than the nearest integers make, in the same steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import runtime
from stages.quantization import rounding, units

RANDOM = np.random.default_rng(5)
INPUTS, OUTPUTS = 40, 6


def correlated(count: int) -> np.ndarray:
    """Inputs that go together, as neighbours of a picture do."""
    common = RANDOM.standard_normal((count, 3)).astype(np.float32)
    mixing = np.random.default_rng(1).standard_normal((3, INPUTS)).astype(np.float32)
    return common @ mixing + 0.05 * RANDOM.standard_normal((count, INPUTS)).astype(np.float32)


def layer(weights: np.ndarray, shape: list[int]) -> tuple[ov.Model, dict[str, ov.Node]]:
    """A layer with INT8 weights, rounded to the nearest, as NNCF writes them; and the float one's by name."""
    step = (np.abs(weights).max(axis=tuple(range(1, weights.ndim)), keepdims=True) / 127).astype(np.float32)
    x, y = (ops.parameter(shape, np.float32, name="x") for _ in range(2))
    x.output(0).set_names({"x"})
    integers = ops.constant(np.round(weights / step).astype(np.int8), name="integers")
    stored = ops.multiply(ops.convert(integers, "f32"), ops.constant(step, name="step"))
    return ov.Model([_product(x, stored)], [x]), {"layer": _product(y, ops.constant(weights))}


def _product(x: ov.Node, weights: ov.Node) -> ov.Node:
    if len(weights.output(0).get_shape()) == 2:
        return ops.matmul(x, weights, False, True, name="layer")
    return ops.convolution(x, weights, [2, 1], [1, 0], [1, 2], [1, 1], name="layer")


def run(model: ov.Model, x: np.ndarray) -> np.ndarray:
    compiled = ov.Core().compile_model(model, "CPU", runtime.EXACT)
    return np.array(compiled([x], share_inputs=False)[0])


def settled(weights: np.ndarray, shape: list[int], batches: list[dict[str, np.ndarray]], kept: Path) -> ov.Model:
    model, floats = layer(weights, shape)
    rounding.work_out(model, floats, {}, ["layer"], batches, kept)
    rounding.apply(model, kept)
    return model


def test_errors_of_inputs_that_go_together_make_up_for_each_other(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    batches = [{"x": correlated(64)[None]} for _ in range(4)]
    unseen = correlated(200)[None]
    nearest, _ = layer(weights, [-1, -1, INPUTS])
    compensated = settled(weights, [-1, -1, INPUTS], batches, tmp_path)
    expected = unseen @ weights.T
    errors = [float(((run(model, unseen) - expected) ** 2).mean()) for model in (nearest, compensated)]
    assert errors[1] < errors[0] / 4


def test_a_convolution_is_rounded_for_its_own_windows(tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
    smooth = RANDOM.standard_normal((24, 3, 12, 12)).cumsum(-1).cumsum(-2).astype(np.float32)
    shape = [-1, 3, 12, 12]
    _, floats = layer(weights, shape)
    exact = run(ov.Model([floats["layer"]], [floats["layer"].input_value(0).get_node()]), smooth[16:])
    nearest, _ = layer(weights, shape)
    compensated = settled(weights, shape, [{"x": smooth[:16]}], tmp_path)
    errors = [float(((run(model, smooth[16:]) - exact) ** 2).mean()) for model in (nearest, compensated)]
    assert errors[1] < 0.8 * errors[0]


def test_rows_are_what_a_convolution_multiplies_its_weights_with() -> None:
    weights = RANDOM.standard_normal((4, 3, 3, 3)).astype(np.float32)
    x = RANDOM.standard_normal((2, 3, 7, 8)).astype(np.float32)
    _, floats = layer(weights, [2, 3, 7, 8])
    expected = run(ov.Model([floats["layer"]], [floats["layer"].input_value(0).get_node()]), x)
    found = rounding.rows_of(x, floats["layer"]) @ weights.reshape(4, -1).T
    np.testing.assert_allclose(found, expected.transpose(0, 2, 3, 1).reshape(-1, 4), rtol=1e-4, atol=1e-4)


def test_independent_inputs_are_rounded_to_the_nearest() -> None:
    wanted = RANDOM.uniform(-127, 127, (3, 5)).astype(np.float32)
    np.testing.assert_array_equal(rounding.compensated(wanted, np.diag([5.0, 1.0, 2.0, 9.0, 3.0])), np.round(wanted))


def test_two_inputs_that_are_the_same_share_their_errors() -> None:
    """0.4 is rounded to 0, which leaves 0.8 for the other one in its place: 1."""
    found = rounding.compensated(np.array([[0.4, 0.4]], np.float32), np.ones((2, 2)) + 1e-6 * np.eye(2))
    assert sorted(found[0].tolist()) == [0.0, 1.0]


def test_what_would_not_be_better_stays_at_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "compensated", lambda wanted, *_: np.zeros_like(wanted))
    wanted = RANDOM.uniform(-127, 127, (3, 5)).astype(np.float32)
    found = rounding.solve(wanted, np.ones((3, 1), np.float32), [np.eye(5)])
    np.testing.assert_array_equal(found, np.round(wanted))


def test_inputs_that_were_never_seen_do_no_harm() -> None:
    wanted = RANDOM.uniform(-127, 127, (3, 5)).astype(np.float32)
    found = rounding.solve(wanted, np.ones((3, 1), np.float32), [np.zeros((5, 5))])
    np.testing.assert_array_equal(found, np.round(wanted))


def test_a_layer_of_many_inputs_is_rounded_in_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    weights = RANDOM.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    monkeypatch.setattr(rounding, "BLOCK", 16)
    assert [len(part) for part in rounding.blocks(INPUTS)] == [13, 14, 13]
    model = settled(weights, [-1, -1, INPUTS], [{"x": correlated(64)[None]}], tmp_path)
    unseen = correlated(100)[None]
    nearest, _ = layer(weights, [-1, -1, INPUTS])
    errors = [float(((run(one, unseen) - unseen @ weights.T) ** 2).mean()) for one in (nearest, model)]
    assert errors[1] < errors[0]


def test_what_was_worked_out_is_not_worked_out_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = RANDOM.standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    first = settled(weights, [-1, -1, INPUTS], [{"x": correlated(64)[None]}], tmp_path)
    monkeypatch.setattr(rounding, "collect", None)
    again = settled(weights, [-1, -1, INPUTS], [], tmp_path)
    stored = [units.named(model)["integers"].data for model in (first, again)]
    np.testing.assert_array_equal(*stored)


def test_layers_that_take_the_same_values_are_never_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounding, "GROUP", INPUTS**2)
    x, other = (ops.parameter([1, INPUTS], np.float32, name=name) for name in ("x", "other"))
    stored = ops.constant(np.zeros((OUTPUTS, INPUTS), np.float32))
    nodes = {name: ops.matmul(source, stored, False, True, name=name) for name, source in
             (("q", x), ("first", other), ("k", x))}  # fmt: skip
    assert rounding.grouped(list(nodes), nodes) == [["q", "k"], ["first"]]


def test_weights_in_seven_bits_stay_in_them_when_they_are_rounded_for_what_comes_out() -> None:
    wanted = np.random.default_rng(0).uniform(-70, 70, (8, 24)).astype(np.float32)
    moment = np.full((24, 24), 0.9) + 0.1 * np.eye(24)
    found = rounding.solve(wanted, np.ones((8, 1), np.float32), [moment], units.HALF)
    assert (found.min(), found.max()) == (-64, 63)
