"""Extremes beside a model's results are those of what its layers are given, and the results stay what they are."""

from __future__ import annotations

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from stages.ir import extremes, runtime


def model() -> ov.Model:
    """A convolution of what is relu'd, a product of what was put in another order, and a sum that no layer is given."""
    x = ops.parameter([-1, 2, 2, 2], np.float32, name="x")
    x.output(0).set_names({"x"})
    relu = ops.relu(x, name="relu")
    kernel = ops.constant(np.ones((3, 2, 1, 1), np.float32))
    conv = ops.convolution(relu, kernel, [1, 1], [0, 0], [0, 0], [1, 1], name="conv")
    minus = ops.multiply(conv, np.float32(-1), name="minus")
    moved = ops.reshape(ops.transpose(minus, [0, 2, 3, 1], name="turned"), [0, -1, 3], True, name="flat")
    product = ops.matmul(moved, ops.constant(np.eye(3, dtype=np.float32)), False, True, name="product")
    end = ops.add(product, np.float32(7), name="end")
    end.output(0).set_names({"out"})
    found = ov.Model([ops.result(end)], [x], "mine")
    found.set_rt_info("8.0", ["runtime_options", "ACTIVATIONS_SCALE_FACTOR"])
    return found


def run(found: ov.Model, x: np.ndarray) -> dict[str, np.ndarray]:
    answer = ov.Core().compile_model(found, "CPU", runtime.EXACT)({"x": x})
    return {port.get_any_name(): value.copy() for port, value in answer.items()}


def test_every_channel_of_what_layers_are_given_has_its_least_and_greatest_value() -> None:
    x = np.array([[[[1, 2], [3, 4]], [[-5, 0], [6, -1]]], [[[0, 0], [9, 0]], [[1, 1], [1, 1]]]], np.float32)
    found = run(extremes.beside(model()), x)
    ends = {name.removeprefix("channels/"): value.tolist() for name, value in found.items() if extremes.is_own(name)}
    assert ends == {
        "min/relu": [0, 0],
        "max/relu": [9, 6],
        "min/minus": [-10, -10, -10],  # moved only before the product: taken where it has channels
        "max/minus": [-1, -1, -1],
    }


def test_the_models_own_results_and_what_it_says_of_itself_stay() -> None:
    x = np.random.default_rng(0).standard_normal((3, 2, 2, 2)).astype(np.float32)
    beside = extremes.beside(model())
    assert (run(beside, x)["out"] == run(model(), x)["out"]).all()
    assert beside.get_friendly_name() == "mine" and [port.get_any_name() for port in beside.inputs] == ["x"]
    assert beside.get_rt_info(["runtime_options", "ACTIVATIONS_SCALE_FACTOR"]).astype(str) == "8.0"


def test_another_models_operations_are_taken_where_they_are_computed_here_by_their_own_names() -> None:
    x = np.array([[[[1, 2], [3, 4]], [[-5, 0], [6, -1]]]], np.float32)
    found = run(extremes.beside(model(), {"there": "minus", "relu": "relu"}), x)
    ends = {name.removeprefix("channels/"): value.tolist() for name, value in found.items() if extremes.is_own(name)}
    assert ends == {"min/there": [-9] * 3, "max/there": [-1] * 3, "min/relu": [1, 0], "max/relu": [4, 6]}
    assert sorted(extremes.tapped_in([name for name in found if extremes.is_own(name)])) == ["relu", "there"]


def test_what_goes_elsewhere_too_is_taken_where_it_is_moved() -> None:
    """A quantizer cannot stand before a move whose result is read by others than layers."""
    x = ops.parameter([1, 2, 3], np.float32, name="x")
    x.output(0).set_names({"x"})
    turned = ops.transpose(ops.relu(x, name="relu"), [0, 2, 1], name="turned")
    product = ops.matmul(turned, ops.constant(np.eye(2, dtype=np.float32)), False, True)
    model = ov.Model([ops.result(ops.add(product, ops.relu(turned)))], [x])
    assert list(extremes.of_layers(model)) == ["turned"]


def test_rows_taken_one_after_the_other_are_taken_together() -> None:
    x = np.random.default_rng(1).standard_normal((2, 2, 2, 2)).astype(np.float32)
    beside = extremes.beside(model())
    rows = [{name: v for name, v in run(beside, row).items() if extremes.is_own(name)} for row in (x[:1], x[1:])]
    together = {name: value for name, value in run(beside, x).items() if extremes.is_own(name)}
    found = extremes.of_all(rows)
    assert found.keys() == together.keys() and all((found[name] == together[name]).all() for name in found)
