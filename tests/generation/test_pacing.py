"""What a picture is spared, on a tiny pipeline: the rows that its UNet was given, and what comes of it."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stages.generation import drawing, pacing, pipelines, recording, speeding, static
from stages.generation.residency import Room
from stages.ir import runtime, shallow
from stages.settings.schema import EXACT, Speed
from tests.tiny_ir import CPU, part, sampler, tiny_ir

PROMPT = "a red fox"


def speed(**changed: Any) -> Speed:
    return part(Speed, name="one", **{**EXACT, **changed})


def load(model: str = "base", steps: int = 12, guidance: float = 5.0, **changed: Any) -> speeding.Fast:
    pool = speeding.Pool(CPU, Room(100.0))
    return speeding.load(tiny_ir(model), sampler(steps=steps, guidance=guidance), speed(**changed), pool)


def plain(steps: int = 12, guidance: float = 5.0) -> np.ndarray:
    own = sampler(steps=steps, guidance=guidance)
    pipeline = pipelines.load(tiny_ir("base"), "text-to-image", own, CPU)
    return drawing.generate(pipeline, PROMPT, own, 7, output="latent").numpy()


def latents(fast: speeding.Fast) -> tuple[np.ndarray, pacing.Work | None]:
    found, work = fast.draw(PROMPT, 7, output="latent")
    return found.numpy(), work


def test_a_speed_that_spares_nothing_draws_what_the_pipeline_draws() -> None:
    found, work = latents(load())
    assert work is None and np.array_equal(found, plain())


def test_watching_alone_changes_no_bit() -> None:
    found, work = latents(load(guidance_interval=[0.0, 1.0]))
    assert work == pacing.Work(whole_rows=24) and np.array_equal(found, plain())


def test_without_guidance_anywhere_the_prompt_alone_is_evaluated_as_at_guidance_1() -> None:
    fast = load()
    fast.speed.guidance_interval = [0.0, 0.000001]  # nowhere
    found, work = latents(fast)
    assert work == pacing.Work(whole_rows=12)
    np.testing.assert_allclose(found, plain(guidance=1.0), rtol=1e-4, atol=1e-4)


def test_guidance_in_an_interval_gives_two_rows_there_and_one_elsewhere() -> None:
    fast = load(guidance_interval=[0.3, 0.8])
    seen: list[tuple[float, int]] = []

    def watch(request: Any, inputs: dict, options: dict) -> Any:
        seen.append((float(np.asarray(inputs["timestep"]).ravel()[0]), len(inputs["sample"])))
        return request(inputs, **options)

    with recording.answering(fast.pipeline.unet, watch):
        latents(fast)
    assert len(seen) == 12 and {rows for _, rows in seen} == {1, 2}
    assert all(rows == (2 if 300 <= timestep <= 800 else 1) for timestep, rows in seen)


def test_a_forecast_lies_on_the_line_through_the_last_two_predictions() -> None:
    """A UNet whose prediction is linear in the timestep is forecast without any error."""
    slope = np.ones((2, 4, 2, 2), np.float32) * np.array([1.0, 3.0], np.float32)[:, None, None, None]
    asked = []

    def request(inputs: dict, **options: Any) -> Any:
        asked.append(float(inputs["timestep"]))
        return [slope * float(inputs["timestep"]) + 5]

    request.output = lambda number: f"port {number}"
    pipeline = SimpleNamespace(num_timesteps=12, do_classifier_free_guidance=True)
    pipeline.unet = SimpleNamespace(request=request, compile=lambda: None)
    with pacing.paced(pipeline, speed(evaluate_every=3)) as work:
        for timestep in range(990, 990 - 12 * 80, -80):
            given = {"sample": np.zeros((2, 4, 2, 2)), "timestep": np.array(timestep, np.float32)}
            (port, found) = next(iter(pipeline.unet.request(given).to_dict().items()))
            assert port == "port 0"
            np.testing.assert_allclose(found, slope * timestep + 5, rtol=1e-5)
    assert work.whole_rows == 16
    assert asked == [990, 910, 830, 750, 670, 430, 190, 110]


def test_ends_are_never_forecast_and_the_last_prediction_is_the_unets_own() -> None:
    ways = [pacing.step(speed(evaluate_every=2), number, 25, 500).way for number in range(25)]
    assert ways[:4] == [pacing.WHOLE] * 4 and ways[-2:] == [pacing.WHOLE] * 2
    assert [number for number, way in enumerate(ways) if way == pacing.FORECAST] == [5, 7, 9, 11, 13, 15, 17, 19, 21]


def test_what_is_forecast_comes_near_the_exact_picture_at_fewer_evaluations() -> None:
    exact = plain(steps=25)
    found, work = latents(load(steps=25, evaluate_every=3))
    assert work.whole_rows == 26
    assert np.linalg.norm(found - exact) < 0.1 * np.linalg.norm(exact)


def test_inner_features_come_out_beside_the_same_prediction_and_give_it_again() -> None:
    """The outer part, given the inner features of the very same inputs, predicts what the whole UNet does."""
    xml = tiny_ir("base") / "unet/openvino_model.xml"
    fast = load()
    with recording.recording(fast.pipeline, lambda step: step == 3) as inputs:
        latents(fast)
    whole = runtime.read(xml)
    shallow.hand_out(whole)
    expected = runtime.compile(runtime.read(xml), CPU)(inputs[0])[0]
    prediction, features = runtime.compile(whole, CPU)(inputs[0]).to_dict().values()
    outer = shallow.compiled(shallow.outer(runtime.read(xml)), "CPU", runtime.device_config(CPU, False))
    np.testing.assert_allclose(prediction, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(outer(inputs[0], features), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(outer(inputs[0], features + 1), expected)
    assert "encoder_hidden_states" not in outer.names


def test_features_are_used_again_in_every_step_between() -> None:
    found, work = latents(load(deep_every=3))
    assert work == pacing.Work(whole_rows=8, shallow_rows=16)
    exact = plain()
    assert 0 < np.linalg.norm(found - exact) < 0.2 * np.linalg.norm(exact)


def test_guidance_that_begins_on_the_way_evaluates_what_one_row_of_features_cannot_serve() -> None:
    _, work = latents(load(deep_every=12, guidance_interval=[0.0, 0.8]))
    assert work.whole_rows == 1 + 2  # once for one row, again when there are two


def test_a_unet_without_such_a_joint_is_refused() -> None:
    with pytest.raises(ValueError, match="speed.deep_every: this UNet has no up block"):
        shallow.outer(runtime.read(tiny_ir("base") / "vae_decoder/openvino_model.xml"))


def test_models_of_few_steps_keep_sampler_and_evaluations() -> None:
    fast = load(steps=4, guidance=1.0, evaluate_every=2, guidance_interval=[0.2, 0.5])
    assert not fast.spares and fast.sampler.steps == 4


def test_shapes_that_are_fixed_draw_the_same_picture() -> None:
    fast = load(static_shapes=True, guidance_interval=[0.3, 1.0])
    found, _ = latents(fast)
    expected, _ = latents(load(guidance_interval=[0.3, 1.0]))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    again, _ = latents(fast)
    assert np.array_equal(found, again)


def test_every_set_of_shapes_has_a_model_of_its_own() -> None:
    stand_in = static.ByShape(runtime.read(tiny_ir("base") / "vae_decoder/openvino_model.xml"), "CPU", {})
    for side in (4, 6, 4):
        assert stand_in({"latent_sample": np.zeros((1, 4, side, side), np.float32)})[0].shape[2] > side
    assert len(stand_in._compiled) == 2


def test_folders_that_share_a_file_share_its_compiled_part() -> None:
    pool = speeding.Pool(CPU, Room(100.0))
    own = sampler(steps=12)
    first = speeding.load(tiny_ir("base"), own, speed(), pool)
    other = speeding.load(tiny_ir("base"), own, speed(steps=9), pool)
    fixed = speeding.load(tiny_ir("base"), own, speed(static_shapes=True), pool)
    assert first.pipeline.unet is other.pipeline.unet and other.sampler.steps == 9
    assert fixed.pipeline.unet is not first.pipeline.unet
    assert first.pipeline.vae.decoder is other.pipeline.vae_decoder


def test_the_speeds_own_settings_are_left_as_they_are() -> None:
    asked = speed(evaluate_every=2)
    before = copy.copy(vars(asked))
    speeding.load(tiny_ir("base"), sampler(steps=4), asked, speeding.Pool(CPU, Room(100.0)))
    assert vars(asked) == before
