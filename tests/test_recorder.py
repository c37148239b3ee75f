"""The recorder keeps copies, spreads steps evenly, and writes shards that are whole."""

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import SafetensorError

from stages.lib import recorder


def fake_pipeline(request) -> SimpleNamespace:
    return SimpleNamespace(unet=SimpleNamespace(request=request, compile=lambda: None))


def test_recorded_inputs_are_copies() -> None:
    def overwrite(inputs: dict, share_inputs: bool) -> str:
        assert share_inputs
        inputs["sample"][:] = -1
        return "noise"

    pipeline = fake_pipeline(overwrite)
    with recorder.recording(pipeline, keep=lambda step: True) as samples:
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
    with recorder.recording(pipeline, keep=lambda step: True) as samples:
        pipeline.unet.request({0: given}, share_inputs=True)
    compiled.create_infer_request().infer({0: np.full(4, 9, dtype=np.float32)})
    assert samples[0][0].tolist() == [0, 1, 2, 3]


def test_only_wanted_steps_are_kept_and_the_request_is_given_back() -> None:
    def request(inputs: dict) -> None: ...

    pipeline = fake_pipeline(request)
    with pytest.raises(RuntimeError), recorder.recording(pipeline, keep=lambda step: step in (1, 3)) as samples:
        for step in range(5):
            pipeline.unet.request({"timestep": step})
        raise RuntimeError
    assert [int(sample["timestep"]) for sample in samples] == [1, 3]
    assert pipeline.unet.request is request


def test_prompts_together_use_every_step_equally_often() -> None:
    used = Counter(step for turn in range(50) for step in recorder.choose_steps(25, 4, turn, 50))
    assert sorted(used) == list(range(25))
    assert max(used.values()) - min(used.values()) <= 2


def test_a_prompt_has_one_step_in_every_stretch() -> None:
    for turn in range(10):
        assert [step // 5 for step in recorder.choose_steps(20, 4, turn, 10)] == [0, 1, 2, 3]


def test_fewer_steps_than_asked_for_are_all_taken() -> None:
    assert recorder.choose_steps(2, 4, 0, 3) == [0, 1]


def save(folder: Path, shards: int, samples: int) -> None:
    for shard in range(shards):
        values = [{"a": np.full(2, 10 * shard + n), "t": np.array(n)} for n in range(samples)]
        recorder.save_shard(recorder.shard_path(folder, shard), values, {"prompt": str(shard)})


def test_a_shard_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save(tmp_path, shards=1, samples=3)
    loaded = recorder.load_shard(recorder.shard_path(tmp_path, 0))
    assert [(sample["a"].tolist(), sample["t"].shape) for sample in loaded] == [([n, n], ()) for n in range(3)]
    assert recorder.count_samples(recorder.shard_path(tmp_path, 0)) == 3


def test_fewer_samples_than_there_are_come_from_every_shard_and_every_step(tmp_path: Path) -> None:
    save(tmp_path, shards=4, samples=4)
    assert [int(sample["a"][0]) for sample in recorder.load_samples(tmp_path, 4)] == [0, 11, 22, 33]
    assert len(list(recorder.load_samples(tmp_path, 99))) == 16


def test_a_shard_that_fails_to_write_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SafetensorError):
        recorder.save_shard(recorder.shard_path(tmp_path, 0), [{"a": np.array(["text"])}], {})
    assert list(tmp_path.glob("*.safetensors")) == []
