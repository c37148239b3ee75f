"""The arithmetic that stands in for quantizers is theirs, and points are of the whole schedule."""

from __future__ import annotations

import numpy as np
import pytest
from openvino import opset13 as ops

from stages.quantization import probing, units
from tests.quantization.test_units import RANDOM, WIDTH, found, linear, run

X = RANDOM.standard_normal((4, 3, WIDTH)).astype(np.float32)


def probe(scale: np.ndarray | None = None) -> probing.Probe:
    model, timestep = linear(True), ops.parameter([-1], np.float32, name="timestep")
    model.inputs[0].get_tensor().set_names({"x"})
    timestep.output(0).set_names({"timestep"})
    model.add_parameters([timestep])
    points = {"x": X, "timestep": np.array([1, 240, 600, 999], np.float32)}
    return probing.Probe(model, found(model), {} if scale is None else {"first": scale}, points)


def test_switched_off_it_is_the_same_weights_without_a_quantizer() -> None:
    model = linear(True)
    nodes = units.named(model)
    units.bypass(nodes, found(model)[0], {})
    np.testing.assert_allclose(probe().reference, run(model, X), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("low", "high"), [(-4.0, 4.0), (0.0, 2.0), (-1.5, 3.0)])
def test_a_range_quantizes_as_openvino_does(low: float, high: float) -> None:
    model = linear(True)
    units.set_range(units.named(model), found(model)[0], low, high)
    rows = probing.row(low, high)[None]
    np.testing.assert_allclose(probe()._predict(rows), run(model, X), rtol=1e-3, atol=1e-3)


def test_a_scale_by_token_is_the_one_that_is_built() -> None:
    model = linear(True)
    units.dynamic(units.named(model), found(model)[0])
    rows = probing.row(-1, 1, dynamic=True)[None]
    np.testing.assert_allclose(probe()._predict(rows), run(model, X), rtol=3e-3, atol=3e-3)


def test_scales_by_channel_quantize_what_is_divided_by_them() -> None:
    scale = np.abs(X).max((0, 1))
    rows = probing.row(-1, 1, smooth=True)[None]
    low, step = rows[0, :2]
    quantized = (np.clip(np.round((X / scale - low) / step), 0, 255) * step + low) * scale
    bypassed = linear(True)
    units.bypass(units.named(bypassed), found(bypassed)[0], {})
    expected = run(bypassed, quantized.astype(np.float32))
    np.testing.assert_allclose(probe(scale)._predict(rows), expected, rtol=2e-3, atol=2e-3)


def test_noise_is_pooled_within_a_quarter_and_quarters_weigh_the_same() -> None:
    reference = np.array([[2.0], [0.0], [10.0]])
    result = np.array([[1.0], [1.0], [10.0]])
    noise = probing.noise_to_signal(reference, result, np.array([0, 0, 3]))
    np.testing.assert_allclose(noise, [2 / 4, 0.0])


def test_points_are_of_every_quarter_ends_included_and_rows_take_turns() -> None:
    samples = [
        {
            "sample": np.full((2, 4, 32, 32), number, np.float32) + np.array([0, 0.5]).reshape(2, 1, 1, 1),
            "timestep": np.float32(time),
            "text_embeds": np.zeros((2, 3), np.float32),
        }
        for number, time in enumerate([*[333] * 24, 999, 1, 500, 260, 740, 20, 240, 760])
    ]
    found, _ = probing.points(samples, 10**15)
    assert sorted(found["timestep"].tolist()) == [1, 240, 260, 500, 740, 760, 999], "two of each, as far as there are"
    assert found["sample"].shape[1:] == (4, probing.SIDE, probing.SIDE)
    halves = found["sample"][:, 0, 0, 0] % 1
    assert set(halves.tolist()) == {0.0, 0.5}


def test_what_ranges_are_judged_by_is_of_prompts_that_they_have_not_seen() -> None:
    samples = [
        {"sample": np.full((2, 4, 8, 8), number, np.float32), "timestep": np.float32(10 * number)}
        for number in range(8)
    ]
    found, known = probing.points(samples, 10**15)
    assert found["sample"][:, 0, 0, 0].tolist() == [6, 6, 7, 7], "few of them: both rows of each"
    assert known == 6
    assert (probing.seen(1), probing.seen(2)) == (0, 1)


def test_small_models_are_asked_at_more_points() -> None:
    limits = probing.WORK, probing.POINTS, probing.MOST_POINTS
    assert probing.how_many(1e12, *limits) == probing.POINTS
    assert probing.how_many(1, *limits) == probing.MOST_POINTS


def test_batches_hold_every_row_of_a_sample_and_one_size_each() -> None:
    samples = [
        {
            "sample": np.full((2, 4, side, side), number, np.float32) + np.array([0, 0.5]).reshape(2, 1, 1, 1),
            "timestep": np.float32(100 * number),
            "text_embeds": np.zeros((2, 3), np.float32),
        }
        for number, side in enumerate([64, 64, 64, 64, 64, 16, 16])
    ]
    found = probing.batches(samples, 1)
    assert [batch["sample"].shape for batch in found] == [(8, 4, 32, 32), (2, 4, 32, 32), (4, 4, 16, 16)]
    values = np.concatenate([batch["sample"][:, 0, 0, 0] for batch in found])
    assert sorted(values.tolist()) == [number + half for number in range(7) for half in (0, 0.5)]
    assert found[0]["timestep"].tolist() == [0, 0, 100, 100, 200, 200, 300, 300]
