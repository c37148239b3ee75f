"""Ranges collected leanly are those that NNCF collects by itself; a killed run computes no range twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import anatomy, extremes, runtime
from stages.quantization import schemes, statistics
from tests.quantization.test_schemes import float_ir, samples, settings


def quantize(source: Path, target: Path, kept: Path, inputs: list) -> None:
    schemes.quantize_unet(source, target, settings("weights_first", ignored_patterns=["conv_in"]), inputs, kept)


def contents(xml: Path) -> tuple[bytes, bytes]:
    return xml.read_bytes(), xml.with_suffix(".bin").read_bytes()


def test_the_model_is_the_one_that_nncf_makes_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = float_ir(tmp_path / "fp16")
    monkeypatch.setattr(statistics, "restore_convolutions", lambda *_: None)  # which NNCF runs with compressed weights
    monkeypatch.setattr(statistics, "OneRow", lambda samples: samples)  # of which NNCF takes all rows, in float32
    monkeypatch.setattr(statistics, "floats", lambda: "f32")
    quantize(source, tmp_path / "lean/m.xml", tmp_path / "kept", samples())
    before = schemes._quantize_activations
    plain = lambda *args, kept, original: before(*args)  # noqa: E731
    monkeypatch.setattr(schemes, "_quantize_activations", plain)
    quantize(source, tmp_path / "plain/m.xml", tmp_path / "kept2", samples())
    assert contents(tmp_path / "lean/m.xml") == contents(tmp_path / "plain/m.xml")


def test_convolutions_run_with_the_weights_that_they_had(tmp_path: Path) -> None:
    source = float_ir(tmp_path / "fp16")
    quantize(source, tmp_path / "out/m.xml", tmp_path / "kept", samples())
    original, compressed = runtime.read(source), runtime.read(tmp_path / "kept/weights/weights.xml")
    inputs = samples()[0]
    before, rough = (ov.Core().compile_model(model, "CPU")(inputs)[0].copy() for model in (original, compressed))
    count = sum(op.get_type_name() == "Convolution" for op in original.get_ops())
    assert statistics.restore_convolutions(compressed, original) == count > 0
    restored = ov.Core().compile_model(compressed, "CPU")(inputs)[0]
    assert np.abs(restored - before).max() < np.abs(rough - before).max()
    stored = anatomy.count_operations(runtime.read(tmp_path / "out/m.xml"))
    assert (
        stored["int8_constants"]
        == anatomy.count_operations(runtime.read(tmp_path / "kept/weights/weights.xml"))["int8_constants"]
    )


def test_a_tap_is_run_before_what_comes_after_it() -> None:
    x = ops.parameter([4], np.float32, name="x")
    first = ops.relu(x, name="first")
    second = ops.exp(first, name="second")
    axes = ops.constant([0])
    late = ops.reduce_max(second, axes, False)
    early = ops.reduce_max(ops.abs(first), axes, False)
    model = ov.Model([ops.result(node) for node in (ops.relu(second), late, early)], [x])
    order = [
        result.input_value(0).get_node().get_friendly_name()
        for result in extremes.early_first(model, model.get_results())
    ]
    assert order[:2] == [early.get_friendly_name(), late.get_friendly_name()] and len(order) == 3


F32 = {"INFERENCE_PRECISION_HINT": "f32"}  # and activations of compressed layers as the processor takes them


class Told(list):
    """Samples of which it is known what layers were given."""

    def __init__(self, source: Path, inputs: list, but: tuple[int, ...] = ()) -> None:
        super().__init__(inputs)
        self.request = ov.Core().compile_model(extremes.beside(runtime.read(source)), "CPU", F32)
        self.but = but

    def extremes(self, number: int) -> dict[str, np.ndarray] | None:
        answer = {port.get_any_name(): value for port, value in self.request(self[number]).items()}
        found = {name: value.copy() for name, value in answer.items() if extremes.is_own(name)}
        return None if number in self.but else found


def test_ranges_told_by_who_evaluated_the_model_are_those_of_a_run_of_its_own(tmp_path: Path, monkeypatch) -> None:
    source = float_ir(tmp_path / "fp16")
    monkeypatch.setattr(statistics, "floats", lambda: "f32")
    monkeypatch.setattr(statistics, "restore_convolutions", lambda model, original: None)
    quantize(source, tmp_path / "run/m.xml", tmp_path / "kept", samples())
    same = Told(tmp_path / "kept/weights/weights.xml", samples())  # the very weights that ranges were computed with
    monkeypatch.setattr(statistics._Engine, "_run", lambda *_: pytest.fail("a sample is run that is told"))
    quantize(source, tmp_path / "told/m.xml", tmp_path / "kept2", same)
    every = [sorted((tmp_path / kept / "ranges/pass-0").glob("*.safetensors")) for kept in ("kept", "kept2")]
    assert len(every[0]) == 4
    for run, told in zip(*(map(statistics.read, paths) for paths in every), strict=True):
        assert run.keys() == told.keys() >= {"channels/min/conv", "channels/max/first/relu"}
        for name in run:
            assert told[name].shape == run[name].shape
            assert told[name] == pytest.approx(run[name], rel=1e-5, abs=1e-5), name


def test_samples_that_nobody_told_of_are_run_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, computed, run = float_ir(tmp_path / "fp16"), [], statistics._Engine._run
    monkeypatch.setattr(statistics._Engine, "_run", lambda self, sample: computed.append(sample) or run(self, sample))
    inputs = Told(source, samples(), but=(1, 3))
    quantize(source, tmp_path / "out/m.xml", tmp_path / "kept", inputs)
    assert [sample["image"].tolist() for sample in computed] == [inputs[number]["image"].tolist() for number in (1, 3)]
    missing = inputs.extremes
    inputs.extremes = lambda number: {name: v for name, v in (missing(number) or {}).items() if "conv" not in name}
    computed.clear()
    quantize(source, tmp_path / "again/m.xml", tmp_path / "kept2", inputs)
    assert len(computed) == 4, "what is told in part is not known"


def test_medians_of_extremes_are_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, computed, run = float_ir(tmp_path / "fp16"), [], statistics._Engine._run
    monkeypatch.setattr(statistics._Engine, "_run", lambda self, sample: computed.append(1) or run(self, sample))
    how = settings("weights_first", ignored_patterns=["conv_in"], ranges="median_minmax")
    inputs = Told(source, samples())
    schemes.quantize_unet(source, tmp_path / "out/m.xml", how, inputs, tmp_path / "kept")
    assert not computed


def test_operations_that_are_only_numbered_are_never_told() -> None:
    """Compressing weights adds operations, so that the same number is another operation's."""
    x = ops.parameter([1, 4], np.float32, name="x")
    x.output(0).set_names({"x"})
    node = x
    for number in (5, 7):
        node = ops.relu(node, name=f"Relu_{number}")
        node = ops.matmul(node, ops.constant(np.eye(4, dtype=np.float32)), False, True, name=f"product{number}")
    assert list(extremes.of_layers(ov.Model([ops.result(node)], [x]))) == []


KILLED = """
    import os, signal
    from pathlib import Path
    from tests.quantization.test_statistics import quantize, samples

    def some():
        for number, sample in enumerate(samples()):
            if number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield sample

    class Samples:
        def __iter__(self): return some()
        def __len__(self): return 4

    root = Path({root!r})
    if __name__ == "__main__":
        quantize(root / "fp16/m.xml", root / "killed/m.xml", root / "kept", Samples())
"""


def test_a_killed_run_goes_on_after_its_last_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = float_ir(tmp_path / "fp16")
    script = tmp_path / "killed.py"
    script.write_text(textwrap.dedent(KILLED.format(root=str(tmp_path))))
    done = subprocess.run([sys.executable, script], cwd=Path.cwd(), env=os.environ | {"PYTHONPATH": "."})
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "kept/weights/weights.bin").is_file() and not list(tmp_path.glob("killed/*"))
    computed = []
    run = statistics._Engine._run
    monkeypatch.setattr(statistics._Engine, "_run", lambda self, sample: computed.append(1) or run(self, sample))
    monkeypatch.setattr(schemes.apart, "run", lambda *args: pytest.fail("weights are compressed again"))
    quantize(source, tmp_path / "resumed/m.xml", tmp_path / "kept", samples())
    assert len(computed) == 2
    monkeypatch.undo()
    quantize(source, tmp_path / "undisturbed/m.xml", tmp_path / "other", samples())
    assert contents(tmp_path / "resumed/m.xml") == contents(tmp_path / "undisturbed/m.xml")


def test_samples_of_another_shape_are_collected_too(tmp_path: Path) -> None:
    x = ops.parameter([-1, 3], np.float32, name="x")
    x.output(0).set_names({"x"})
    weight = np.eye(3, dtype=np.float32)
    model = ov.Model([ops.relu(ops.matmul(x, ops.constant(weight), False, True))], [x])
    (tmp_path / "m").mkdir()
    ov.save_model(model, tmp_path / "m/m.xml")
    inputs = [{"x": np.full((rows, 3), float(rows), np.float32)} for rows in (1, 5)]
    how = settings("weights_first", ignored_patterns=[])
    schemes.quantize_unet(tmp_path / "m/m.xml", tmp_path / "out/m.xml", how, inputs, tmp_path / "kept")
    quantizer = next(
        op for op in runtime.read(tmp_path / "out/m.xml").get_ops() if op.get_type_name() == "FakeQuantize"
    )
    assert float(quantizer.input_value(2).get_node().data.ravel()[0]) == pytest.approx((1 + 5) / 2, rel=0.01)


def test_extremes_are_of_the_first_samples_where_so_many_are_asked_for(tmp_path: Path) -> None:
    for number, value in enumerate((1.0, 3.0, 9.0)):
        ends = {f"channels/{kind}/tap": sign * np.array([value, 1.0]) for kind, sign in (("min", -1), ("max", 1))}
        statistics.write(tmp_path / f"pass-0/{number:05d}.safetensors", ends)
    assert statistics.channels(tmp_path)["tap"].high.tolist() == [9, 1]
    assert statistics.channels(tmp_path, 2)["tap"].high.tolist() == [3, 1]
    assert statistics.channels(tmp_path, 2)["tap"].mean_low == -2


def test_of_each_sample_one_row_is_run_and_neither_is_forgotten() -> None:
    pairs = [
        {"sample": np.array([[n], [-n]], np.float32), "timestep": np.float32(n), "text": np.array([[n, n], [-n, -n]])}
        for n in range(1, 41)
    ]
    found = list(statistics.OneRow(pairs))
    assert [sample["timestep"] for sample in found] == [sample["timestep"] for sample in pairs]
    assert all(sample["sample"].shape == (1, 1) and sample["text"].shape == (1, 2) for sample in found)
    assert all(sample["text"][0, 0] == sample["sample"][0, 0] for sample in found), "rows are not mixed"
    signs = [float(np.sign(sample["sample"][0, 0])) for sample in found]
    assert 10 < signs.count(1.0) < 30 and signs != [1.0, -1.0] * 20
    again = [float(np.sign(sample["sample"][0, 0])) for sample in statistics.OneRow(pairs)]
    assert again == signs, "the same in every run"
    alone = [{"sample": np.ones((1, 4), np.float32), "timestep": np.array([3.0], np.float32)}]
    assert list(statistics.OneRow(alone))[0]["sample"].shape == (1, 4)


def test_extremes_in_the_processors_fastest_floats_are_those_of_float32_nearly(tmp_path: Path, monkeypatch) -> None:
    source = float_ir(tmp_path / "fp16")
    ranges = {}
    for floats in ("f32", "bf16"):
        monkeypatch.setattr(statistics, "floats", lambda floats=floats: floats)
        quantize(source, tmp_path / floats / "m.xml", tmp_path / f"kept-{floats}", samples())
        ranges[floats] = statistics.channels(tmp_path / f"kept-{floats}" / statistics.RANGES)
    assert ranges["f32"].keys() == ranges["bf16"].keys() and ranges["f32"]
    for name, exact in ranges["f32"].items():
        assert ranges["bf16"][name].high == pytest.approx(
            exact.high, rel=0.02, abs=0.02 * float(np.abs(exact.high).max())
        )
