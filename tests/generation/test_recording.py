"""What is recorded while a pipeline draws: copies, of the wanted steps alone."""

from types import SimpleNamespace

import numpy as np
import pytest

from stages.generation import recording
from stages.ir import finite


def fake_pipeline(request) -> SimpleNamespace:
    return SimpleNamespace(unet=SimpleNamespace(request=request, compile=lambda: None))


def test_recorded_inputs_are_copies() -> None:
    def overwrite(inputs: dict, share_inputs: bool) -> str:
        assert share_inputs
        inputs["sample"][:] = -1
        return "noise"

    pipeline = fake_pipeline(overwrite)
    with recording.recording(pipeline, keep=lambda step: True) as samples:
        assert pipeline.unet.request({"sample": np.zeros(2)}, share_inputs=True) == "noise"
    assert samples[0]["sample"].tolist() == [0, 0]


def test_what_was_recorded_survives_copying_calls_of_another_request() -> None:
    """OpenVINO writes a copying request's inputs into the arrays that were shared with the model before."""
    import openvino as ov
    from openvino import opset13 as ops

    parameter = ops.parameter([4], np.float32, name="sample")
    compiled = ov.Core().compile_model(ov.Model([ops.multiply(parameter, np.float32(2))], [parameter]), "CPU")
    pipeline = fake_pipeline(compiled)
    given = np.arange(4, dtype=np.float32)
    with recording.recording(pipeline, keep=lambda step: True) as samples:
        pipeline.unet.request({0: given}, share_inputs=True)
    compiled.create_infer_request().infer({0: np.full(4, 9, dtype=np.float32)})
    assert samples[0][0].tolist() == [0, 1, 2, 3]


def test_only_wanted_steps_are_kept_and_the_request_is_given_back() -> None:
    def request(inputs: dict) -> None: ...

    pipeline = fake_pipeline(request)
    with pytest.raises(RuntimeError), recording.recording(pipeline, keep=lambda step: step in (1, 3)) as samples:
        for step in range(5):
            pipeline.unet.request({"timestep": step})
        raise RuntimeError
    assert [int(sample["timestep"]) for sample in samples] == [1, 3]
    assert pipeline.unet.request is request


def test_extremes_come_with_the_results_of_all_rows_and_none_of_a_step_that_is_not_evaluated() -> None:
    import openvino as ov
    from openvino import opset13 as ops

    from stages.ir import extremes

    x = ops.parameter([-1, 2], np.float32, name="sample")
    x.output(0).set_names({"sample"})
    product = ops.matmul(ops.relu(x, name="relu"), ops.constant(np.eye(2, dtype=np.float32)), False, True)
    product.output(0).set_names({"out"})
    compiled = ov.Core().compile_model(extremes.beside(ov.Model([ops.result(product)], [x])), "CPU")
    pipeline, beside, rows = fake_pipeline(compiled), [], np.array([[1, -2], [-3, 4]], np.float32)
    with recording.recording(pipeline, lambda step: step != 1, last=2, beside=beside) as samples:
        for factor in (1, 2, 3):
            answer = pipeline.unet.request({"sample": factor * rows}, share_inputs=True).to_dict()
            (port,) = answer
            assert port.get_any_name() == "out" and answer[port].tolist() == [[factor, 0], [0, 4 * factor]]
    assert [sample["sample"].tolist() for sample in samples] == [[[1, -2], [-3, 4]], [[3, -6], [-9, 12]]]
    assert [one and {name: value.tolist() for name, value in one.items()} for one in beside] == [
        {"channels/min/relu": [0, 0], "channels/max/relu": [1, 4]},
        None,
    ]


def test_extremes_that_are_no_numbers_are_an_error_at_their_step() -> None:
    class Port:
        def get_any_name(self) -> str:
            return "channels/max/conv"

    pipeline = fake_pipeline(lambda inputs: {Port(): np.array([np.inf])})
    with recording.recording(pipeline, lambda step: True, beside=[]):
        with pytest.raises(finite.NotFinite, match="layers are given at step 0"):
            pipeline.unet.request({"sample": np.zeros((1, 2))})
