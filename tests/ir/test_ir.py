"""IR figures against models small enough to count by hand."""

from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import anatomy, runtime
from stages.settings.schema import Device
from tests.tiny_ir import part


def device(name: str = "CPU", threads: int = 0, precision: str = "default", group_size: int = -1) -> Device:
    fields = {"inference_precision": precision, "dynamic_quantization_group_size": group_size}
    return part(Device, name=name, threads=threads, **fields)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.float32)


def convolution() -> ov.Model:
    """A 3 x 3 convolution from 4 to 8 channels, batch, height and width dynamic."""
    image = ops.parameter([-1, 4, -1, -1], np.float32, name="image")
    image.output(0).set_names({"image"})
    node = ops.convolution(image, ops.constant(ones(8, 4, 3, 3)), [1, 1], [1, 1], [1, 1], [1, 1])
    return ov.Model([node], [image])


def attention() -> ov.Model:
    """One attention with a projection of the queries: tokens (batch, length, 16) to a text of (batch, 7, 16)."""
    tokens, text = (ops.parameter([-1, -1, 16], np.float32, name=name) for name in ("tokens", "text"))
    for parameter, name in ((tokens, "tokens"), (text, "text")):
        parameter.output(0).set_names({name})
    query = ops.matmul(tokens, ops.constant(ones(16, 16)), False, True)
    return ov.Model([ops.scaled_dot_product_attention(query, text, text)], [tokens, text])


def int8_product() -> ov.Model:
    tokens = ops.parameter([-1, 64], np.float32, name="tokens")
    quantized = ops.fake_quantize(tokens, *map(np.float32, (-1, 0.992, -1, 0.992)), 256)
    integers = ops.convert(ops.constant(np.arange(64 * 64).reshape(64, 64).astype(np.int8)), "f32")
    weights = ops.multiply(integers, ops.constant(np.float32(0.01)))
    return ov.Model([ops.matmul(quantized, weights, False, True)], [tokens])


def test_multiply_accumulates_of_a_convolution() -> None:
    assert anatomy.multiply_accumulates(convolution(), {"image": (2, 4, 16, 16)}) == 2 * 16 * 16 * 8 * 4 * 9


def test_multiply_accumulates_of_attention_count_both_products() -> None:
    projection, scores, mix = 2 * 10 * 16 * 16, 2 * 10 * 7 * 16, 2 * 10 * 7 * 16
    macs = anatomy.multiply_accumulates(attention(), {"tokens": (2, 10, 16), "text": (2, 7, 16)})
    assert macs == projection + scores + mix


def test_counting_leaves_the_model_dynamic() -> None:
    model = convolution()
    anatomy.multiply_accumulates(model, {"image": (1, 4, 8, 8)})
    assert model.input(0).partial_shape.is_dynamic


def test_operations_and_weights_are_counted_by_kind() -> None:
    counts = anatomy.count_operations(int8_product())
    assert (counts["fake_quantize"], counts["int8_constants"], counts["matmul"], counts["convolution"]) == (1, 1, 1, 0)
    assert anatomy.count_operations(convolution())["int8_constants"] == 0


def test_zero_points_are_not_counted_as_weights() -> None:
    parameter = ops.parameter([2, 2], np.float32)
    weights, point = (ops.convert(ops.constant(np.ones((2, n), np.uint8)), "f32") for n in (2, 1))
    model = ov.Model([ops.matmul(parameter, ops.subtract(weights, point), False, True)], [parameter])
    assert anatomy.count_operations(model)["int8_constants"] == 1


def test_int8_runs_as_int8_and_float_as_float() -> None:
    assert set(anatomy.executed_precisions(runtime.compile(int8_product(), device()))) <= {"i8", "u8"}
    assert anatomy.executed_precisions(runtime.compile(convolution(), device(), reference=True)) == {"f32": 1}


def test_weights_stored_in_16_bit_are_reported_as_what_they_are_computed_in(tmp_path: Path) -> None:
    ov.save_model(convolution(), tmp_path / "m.xml", compress_to_fp16=True)
    compiled = runtime.compile(tmp_path / "m.xml", device(), reference=True)
    assert anatomy.executed_precisions(compiled) == {"f32": 1}


def test_a_reference_is_float32_without_dynamic_quantization() -> None:
    compiled = runtime.compile(convolution(), device(group_size=32, precision="bf16"), reference=True)
    effective = runtime.effective_properties(compiled)
    assert "float32" in effective["INFERENCE_PRECISION_HINT"]
    assert effective["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == "0"


def test_settings_reach_the_plugin_and_absent_ones_are_left_to_it() -> None:
    effective = runtime.effective_properties(runtime.compile(convolution(), device(threads=1, group_size=64)))
    assert (effective["INFERENCE_NUM_THREADS"], effective["DYNAMIC_QUANTIZATION_GROUP_SIZE"]) == ("1", "64")
    assert runtime.device_config(device(), reference=False) == {"PERFORMANCE_HINT": "LATENCY"}


def test_threads_are_bound_to_cores_unless_told_otherwise() -> None:
    free = runtime.device_config(device(threads=1), False, pinned=False)
    assert free.pop("ENABLE_CPU_PINNING") is False
    assert free == runtime.device_config(device(threads=1), False)
    assert "ENABLE_CPU_PINNING" not in runtime.device_config(device("GPU", threads=1), False, pinned=False)


def test_an_absent_device_lists_those_present() -> None:
    with pytest.raises(ValueError, match="device.name 'NPU.7' is not on this machine; present: .*CPU"):
        runtime.compile(convolution(), device("NPU.7"))


def test_a_missing_bin_names_the_stage_to_run(tmp_path: Path) -> None:
    xml = tmp_path / "ir/vega/fp16/unet/openvino_model.xml"
    xml.parent.mkdir(parents=True)
    ov.save_model(convolution(), xml)
    xml.with_suffix(".bin").unlink()
    with pytest.raises(FileNotFoundError, match=r"openvino_model.bin is missing: run 'dvc repro export@vega'"):
        runtime.read(xml)


def test_a_broken_xml_is_an_error_in_our_words(tmp_path: Path) -> None:
    ov.save_model(convolution(), tmp_path / "m.xml")
    (tmp_path / "m.xml").write_text("<net")
    with pytest.raises(ValueError, match=r"m.xml cannot be read \(.*\): it has to be made again"):
        runtime.read(tmp_path / "m.xml")


def test_sizes_are_in_megabytes_of_a_million_bytes(tmp_path: Path) -> None:
    (tmp_path / "m.xml").write_bytes(b"x" * 500_000)
    (tmp_path / "m.bin").write_bytes(b"x" * 1_000_000)
    assert (anatomy.size_mb(tmp_path / "m.xml"), anatomy.size_mb(tmp_path), anatomy.weights_mb(tmp_path / "m.xml")) == (
        1.5,
        1.5,
        1.0,
    )
