"""A model in stretches gives what it gives in one, and what comes before a change is not computed again."""

from __future__ import annotations

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import runtime
from stages.quantization import stretches
from stages.quantization.stretches import Stretches

LAYERS = 12


def chain() -> tuple[ov.Model, list[ov.Node]]:
    """Products one after the other, each with a factor out of a table; a sum with what the second one gave, as skip
    connections are; shapes that are computed on the way; and weights that two of them share."""
    x = ops.parameter([-1, 4, 6], np.float32, name="x")
    table = ops.parameter([LAYERS], np.float32, name="table")
    for parameter in (x, table):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    random = np.random.default_rng(0)
    shared = ops.convert(ops.constant(random.standard_normal((6, 6)).astype(np.float16) / 3), np.float32)
    node, skip, shape, marks = x, None, None, []
    for number in range(LAYERS):
        own = ops.constant(random.standard_normal((6, 6)).astype(np.float32) / 3)
        weights = shared if number in (1, 9) else own
        factor = ops.gather(table, ops.constant(np.array([number])), ops.constant(0))
        marks.append(factor)
        node = ops.multiply(ops.matmul(node, weights, False, True, name=f"product{number}"), factor)
        if number == 2:
            skip, shape = node, ops.shape_of(node)
            node = ops.reshape(node, ops.constant(np.array([-1, 6])), False)
        if number == 8:
            node = ops.add(ops.reshape(node, shape, False), skip)
    return ov.Model([ops.result(node), ops.result(ops.relu(skip))], [x, table]), marks


def inputs(table: np.ndarray | None = None) -> dict[str, np.ndarray]:
    x = np.random.default_rng(1).standard_normal((2, 4, 6)).astype(np.float32)
    return {"x": x, "table": np.ones(LAYERS, np.float32) if table is None else table}


def whole(given: dict[str, np.ndarray]) -> list[np.ndarray]:
    answer = ov.Core().compile_model(chain()[0], "CPU", runtime.EXACT)(given)
    return [answer[place].copy() for place in range(2)]


@pytest.fixture
def cut() -> Stretches:
    model, marks = chain()
    return Stretches(model, {f"product{number}": 1.0 for number in range(LAYERS)}, marks, runtime.EXACT)


def test_all_stretches_together_are_the_model(cut: Stretches) -> None:
    found = cut.run(inputs())
    for name, expected in zip(cut.outputs, whole(inputs()), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6)
    assert len(cut._stretches) == stretches.COUNT
    assert cut.begins == sorted(cut.begins) and set(cut.begins) == set(range(stretches.COUNT))


@pytest.mark.parametrize("changed", range(LAYERS))
def test_a_change_is_computed_from_its_own_stretch_on_and_from_no_other(cut: Stretches, monkeypatch, changed) -> None:
    known, table = cut.run(inputs()), np.ones(LAYERS, np.float32)
    before = {name: value.copy() for name, value in known.items()}
    table[changed] = 1.5
    runs, run = [], stretches.Stretch.run
    monkeypatch.setattr(stretches.Stretch, "run", lambda self, values: runs.append(self) or run(self, values))
    found = cut.run(inputs(table), cut.begins[changed], known)
    assert len(runs) == stretches.COUNT - cut.begins[changed]
    for name, expected in zip(cut.outputs, whole(inputs(table)), strict=True):
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, atol=1e-6)
    assert all((known[name] == value).all() for name, value in before.items()), "the next question begins with the same"


def test_weights_that_another_model_has_too_stay_its_own() -> None:
    x, y = (ops.parameter([2, 6], np.float32, name=name) for name in "xy")
    for parameter in (x, y):
        parameter.output(0).set_names({parameter.get_friendly_name()})
    shared = ops.convert(ops.constant(np.eye(6, dtype=np.float16)), np.float32)
    other = ov.Model([ops.result(ops.matmul(y, shared, False, True, name="elsewhere"))], [y])
    node = x
    for number in range(4):
        node = ops.matmul(ops.relu(node), shared, False, True, name=f"product{number}")
    cut = Stretches(ov.Model([ops.result(node)], [x]), dict.fromkeys(("product0", "product3"), 1.0), [], {})
    given = np.arange(12, dtype=np.float32).reshape(2, 6)
    assert (cut.run({"x": given})["result/0"] == given).all()
    assert (ov.Core().compile_model(other, "CPU")({"y": given})[0] == given).all()


def test_a_model_of_one_operation_is_one_stretch() -> None:
    x = ops.parameter([2], np.float32, name="x")
    x.output(0).set_names({"x"})
    cut = Stretches(ov.Model([ops.result(ops.relu(x))], [x]), {}, [], runtime.EXACT)
    assert cut.run({"x": np.array([-1, 2], np.float32)})["result/0"].tolist() == [0, 2]
