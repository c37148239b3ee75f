"""Models saved without their weights being in memory: the bytes are those of OpenVINO's own writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import saving, tracing


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LARGE", 1000)
    monkeypatch.setattr(saving, "PIECE", 300)


def product(*weights: np.ndarray) -> ov.Model:
    """x times every matrix in turn."""
    x = ops.parameter([1, len(weights[0])], ov.Type.f32, name="x")
    y = x
    for number, weight in enumerate(weights):
        constant = ops.constant(weight, name=f"weight {number}")
        y = ops.matmul(y, ops.convert(constant, ov.Type.f32), False, False)
    model = ov.Model([ops.result(y, name="y")], [x])
    tracing.settle_names(model, "product")
    return model


def matrices(count: int, dtype: type) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal((32, 32)).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_the_bytes_are_those_of_openvinos_writer(dtype: type, tmp_path: Path) -> None:
    weights = [*matrices(3, dtype), np.eye(32, dtype=dtype)[:, :4]]  # the last is too small to be set aside
    ov.save_model(product(*weights), tmp_path / "theirs.xml")
    saving.save(product(*weights), tmp_path / "ours.xml")
    for suffix in (".xml", ".bin"):
        ours, theirs = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("ours", "theirs"))
        assert ours == theirs


def test_bytes_are_set_aside_as_they_are(tmp_path: Path) -> None:
    def model() -> ov.Model:
        x = ops.parameter([1, 64], ov.Type.f32, name="x")
        weight = np.arange(64 * 64, dtype=np.int64).astype(np.int8).reshape(64, 64)
        scale = ops.constant(np.full((1, 64), 0.01, np.float16), name='a "scale" <of> weights & co')
        stored = ops.multiply(ops.convert(ops.constant(weight, name="weight"), "f16"), scale)
        made = ov.Model([ops.matmul(x, ops.convert(stored, "f32"), False, False)], [x])
        tracing.settle_names(made, "product")
        return made

    ov.save_model(model(), tmp_path / "theirs.xml")
    saving.save(model(), tmp_path / "ours.xml")
    for suffix in (".xml", ".bin"):
        ours, theirs = ((tmp_path / name).with_suffix(suffix).read_bytes() for name in ("ours", "theirs"))
        assert ours == theirs


def test_large_weights_of_one_name_are_left_to_openvino(tmp_path: Path) -> None:
    weights = matrices(2, np.float16)
    model = product(*weights)
    for operation in model.get_ops():
        if operation.get_friendly_name().startswith("weight"):
            operation.set_friendly_name("weight")
    saving.save(model, tmp_path / "ours.xml")
    x = np.ones((1, 32), np.float32)
    expected = x @ weights[0].astype(np.float32) @ weights[1].astype(np.float32)
    config = {"INFERENCE_PRECISION_HINT": "f32"}
    found = ov.Core().compile_model(tmp_path / "ours.xml", "CPU", config)({"x": x})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_equal_weights_stay_equal(tmp_path: Path) -> None:
    (weight,) = matrices(1, np.float16)
    saving.save(product(weight, weight), tmp_path / "ours.xml")
    read = ov.Core().read_model(tmp_path / "ours.xml")
    found = [op.data for op in read.get_ops() if op.get_type_name() == "Constant" and op.get_byte_size() > 1000]
    assert len(found) == 2 and all((one == weight).all() for one in found)


def test_integers_are_left_to_openvino(tmp_path: Path) -> None:
    x = ops.parameter([1], ov.Type.i64, name="x")
    table = np.arange(500, dtype=np.int64)
    model = ov.Model([ops.gather(ops.constant(table), x, ops.constant(0))], [x])
    saving.save(model, tmp_path / "ours.xml")
    assert ov.Core().compile_model(tmp_path / "ours.xml", "CPU")({"x": np.array([321])})[0] == [321]
