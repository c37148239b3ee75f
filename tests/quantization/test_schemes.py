"""Every scheme does to a small model what its name says; wrong settings and quantized models are refused."""

import tempfile
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from stages.ir import anatomy, runtime
from stages.quantization import schemes, search
from stages.settings.schema import Quantization, Search
from tests.tiny_ir import part


def settings(scheme: str, **changes) -> Quantization:
    fields = {"name": "test", "scheme": scheme, "samples": 4, "weights": "int8_sym", "group_size": -1, "ratio": 1.0}
    ignored = {
        "ignored_patterns": ["conv_in"],
        "ignored_types": [],
        "attention": "int8",
        "ranges": None,
        "search": None,
    }
    plain = {"rounding": "nearest", "overflow_fix": "auto", "smooth_quant": False, "bias_correction": False}
    return part(Quantization, **fields | ignored | plain | changes)


def float_ir(folder: Path) -> Path:
    """conv_in, conv and two matrix products with stored weights, 16-bit weights as `export` writes them."""
    random = np.random.default_rng(0)

    def weights(*shape: int) -> ov.Node:
        return ops.constant(random.standard_normal(shape, dtype=np.float32))

    image = ops.parameter([1, 32, 8, 8], np.float32, name="image")
    image.output(0).set_names({"image"})
    node = ops.convolution(image, weights(32, 32, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1], name="conv_in")
    node = ops.relu(node, name="conv_in/relu")
    node = ops.convolution(node, weights(32, 32, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1], name="conv")
    node = ops.reshape(node, ops.constant([1, 64, 32]), False)
    for name in ("first", "second"):
        node = ops.relu(ops.matmul(node, weights(32, 32), False, True, name=name), name=f"{name}/relu")
    folder.mkdir()
    ov.save_model(ov.Model([node], [image]), folder / "m.xml")
    return folder / "m.xml"


def samples() -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    return [{"image": random.standard_normal((1, 32, 8, 8), dtype=np.float32)} for _ in range(4)]


def quantize(source: Path, target: Path, how: Quantization, inputs: list) -> None:
    with tempfile.TemporaryDirectory() as kept:
        schemes.quantize_unet(source, target, how, inputs, Path(kept))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return float_ir(tmp_path / "fp16")


EXPECTED = {  # FakeQuantize on activations or not, weights in 8 bits out of four
    "weights_first": (True, 3),
    "weights_only": (False, 3),
    "hybrid": (True, 2),
    "notebook": (True, 0),
    "none": (False, 0),
}


@pytest.mark.parametrize("scheme", EXPECTED)
def test_a_scheme_quantizes_what_it_says(source: Path, tmp_path: Path, scheme: str) -> None:
    target = tmp_path / "out" / "m.xml"
    quantize(source, target, settings(scheme), samples())
    counts = anatomy.count_operations(runtime.read(target))
    activations, int8 = EXPECTED[scheme]
    assert (counts["fake_quantize"] > 0) is activations
    if scheme == "notebook":
        assert counts["int8_constants"] == 3
    else:
        assert counts["int8_constants"] >= int8
    assert sorted(path.name for path in target.parent.iterdir()) == ["m.bin", "m.xml"]


def test_int4_weights_are_smaller_than_int8_weights(source: Path, tmp_path: Path) -> None:
    for name, changes in (("int8_sym", {}), ("int4_sym", {"group_size": 16})):
        target = tmp_path / name / "m.xml"
        quantize(source, target, settings("weights_only", weights=name, **changes), [])
    assert anatomy.count_operations(runtime.read(tmp_path / "int4_sym/m.xml"))["int4_constants"] > 0
    assert anatomy.weights_mb(tmp_path / "int4_sym/m.xml") < anatomy.weights_mb(tmp_path / "int8_sym/m.xml")


def test_weights_first_stays_near_the_float_result_and_leaves_conv_in_float(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out" / "m.xml"
    quantize(source, target, settings("weights_first"), samples())
    given = samples()[0]["image"]
    before, after = (
        ov.Core().compile_model(xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}) for xml in (source, target)
    )
    reference, result = (np.array(model([given], share_inputs=False)[0]) for model in (before, after))
    noise_db = 10 * np.log10((reference**2).sum() / ((reference - result) ** 2).sum())
    assert noise_db > 25
    assert anatomy.count_operations(runtime.read(target))["fp16_constants"] > 0


@pytest.mark.parametrize("scheme", ["weights_first", "notebook"])
def test_products_fit_sixteen_bits_where_that_is_asked_for(source: Path, tmp_path: Path, scheme: str) -> None:
    """Two of an activation to 255 and a weight: what processors without VNNI sum before they have more room."""
    given, largest = samples()[0]["image"], {}
    for fix in ("never", "always"):
        target = tmp_path / fix / "m.xml"
        quantize(source, target, settings(scheme, overflow_fix=fix), samples())
        model = runtime.read(target)
        weights = [one.data for one in model.get_ops() if one.get_element_type().get_type_name() == "i8"
                   and one.get_type_name() == "Constant"]  # fmt: skip
        largest[fix] = max(int(np.abs(one.astype(int)).max()) for one in weights)
        exact = {"INFERENCE_PRECISION_HINT": "f32", "LP_TRANSFORMS_MODE": "NO"}  # as the graph says, in floats
        compiled = [ov.Core().compile_model(one, "CPU", exact) for one in (source, target)]
        reference, result = (np.array(one([given], share_inputs=False)[0]) for one in compiled)
        assert 10 * np.log10((reference**2).sum() / ((reference - result) ** 2).sum()) > 25
    assert largest["never"] > 120
    assert 2 * 255 * largest["always"] <= 2**15 - 1


def test_what_is_quantized_already_is_refused(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "out/m.xml", settings("weights_only"), [])
    with pytest.raises(ValueError, match="m.xml is quantized already .3 int8_constants.: only an FP16 IR"):
        quantize(tmp_path / "out/m.xml", tmp_path / "again/m.xml", settings("weights_first"), samples())


@pytest.mark.parametrize(
    ("pattern", "message"), [(".*conv_inn.*", "'.*conv_inn.*' matches no operation"), ("conv_(", "is not a pattern")]
)
def test_an_ignored_pattern_that_matches_nothing_is_named(source: Path, pattern: str, message: str) -> None:
    wrong = settings("weights_first", ignored_patterns=["conv_in", pattern])
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(".*", r"\.\*")):
        quantize(source, source.with_name("out.xml"), wrong, samples())


def test_ranges_reach_as_far_as_their_estimator_says(source: Path, tmp_path: Path) -> None:
    """Four samples, each twice as loud as the one before: the loudest decides, or the mean of all four."""
    loud = [{"image": 2.0**n * samples()[0]["image"]} for n in range(4)]
    widths = {}
    for name in ("minmax", "mean_minmax"):
        quantize(source, tmp_path / name / "m.xml", settings("weights_first", ranges=name), loud)
        operations = runtime.read(tmp_path / name / "m.xml").get_ordered_ops()
        first = next(node for node in operations if node.get_type_name() == "FakeQuantize")
        widths[name] = float(first.input_value(2).get_node().data) - float(first.input_value(1).get_node().data)
    assert widths["minmax"] / widths["mean_minmax"] == pytest.approx(8 / ((1 + 2 + 4 + 8) / 4), rel=0.02)


def test_weights_alone_leave_an_ignored_type_as_it_is(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "m.xml", settings("weights_only", ignored_types=["MatMul"], ignored_patterns=[]), [])
    assert anatomy.count_operations(runtime.read(tmp_path / "m.xml"))["int8_constants"] == 2


def test_a_group_that_does_not_fit_becomes_the_largest_that_does(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "m.xml", settings("weights_only", weights="int4_sym", group_size=64), [])
    shapes = [
        list(node.get_output_shape(0))
        for node in runtime.read(tmp_path / "m.xml").get_ops()
        if node.get_type_name() == "Constant" and node.get_element_type().get_type_name() == "i4"
    ]
    assert shapes and all(shape == [32, 1, 32] for shape in shapes)


@pytest.mark.parametrize("scheme", ["weights_first", "weights_only"])
def test_a_scheme_that_is_left_nothing_to_quantize_is_refused(source: Path, tmp_path: Path, scheme: str) -> None:
    with pytest.raises(ValueError, match=r"quantized 0 % of the UNet's weights, and at least 50 % .*ignored_patterns"):
        quantize(source, tmp_path / "m.xml", settings(scheme, ignored_patterns=[".*"]), samples())


@pytest.mark.parametrize("scheme", ["weights_first", "hybrid", "notebook"])
def test_a_scheme_that_quantizes_less_than_half_of_what_it_says_is_refused_with_the_figure(
    source: Path, tmp_path: Path, scheme: str
) -> None:
    how = settings(scheme, ignored_patterns=["conv_in", "conv$"])
    with pytest.raises(ValueError, match=r"'test' says: quantization.ignored_patterns \['conv_in', 'conv\$'\]"):
        quantize(source, tmp_path / "m.xml", how, samples())


def test_operations_of_an_ignored_type_stay_without_quantizers(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "out/m.xml"
    quantize(source, target, settings("weights_first", ignored_types=["MatMul"], ignored_patterns=[]), samples())
    operations = runtime.read(target).get_ops()
    before = [node.input_value(0).get_node().get_type_name() for node in operations if node.get_type_name() == "MatMul"]
    assert len(before) == 2 and "FakeQuantize" not in before
    assert anatomy.count_operations(runtime.read(target))["fake_quantize"] > 0


@pytest.mark.parametrize(
    ("attention", "width", "stays"),
    [("auto", 32, True), ("auto", -1, True), ("auto", 64, False), ("int8", 16, False), ("float", 64, True)],
)
def test_attention_is_int8_where_it_is_asked_for_or_safe(attention: str, width: int, stays: bool) -> None:
    inputs = [ops.parameter([-1, 2, -1, width], np.float32, name=name) for name in "qkv"]
    model = ov.Model([ops.scaled_dot_product_attention(*inputs)], inputs)
    how = settings("weights_first", attention=attention, ignored_types=["MatMul"])
    assert schemes.ignored_types(model, how) == ["MatMul", *([schemes.ATTENTION] if stays else [])]


def test_an_ignored_type_that_is_absent_is_named(source: Path) -> None:
    wrong = settings("weights_first", ignored_types=["MatMull"])
    with pytest.raises(ValueError, match="no operation of type 'MatMull'; it has .*MatMul"):
        quantize(source, source.with_name("out.xml"), wrong, samples())


def test_nncf_says_nothing(source: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    quantize(source, tmp_path / "out/m.xml", settings("weights_first"), samples())
    said = capfd.readouterr()
    assert said.out + said.err == ""


@pytest.mark.parametrize(
    "error", [schemes.apart.Crashed("the process searching crashed (SIGSEGV)"), RuntimeError("no")]
)
def test_a_search_that_openvino_cannot_compile_in_stretches_is_made_in_a_piece(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, error: Exception
) -> None:
    asked = []

    def run(what: str, function, *arguments):
        asked.append((function, len(arguments)))
        if len(asked) == 1:
            raise error
        return {"choices": []}

    monkeypatch.setattr(schemes.apart, "run", run)
    how = Search(min_sqnr_db=40, max_float_share=0.03, refiner_float_share=0.13, minutes=1)
    monkeypatch.setattr(schemes.probing, "points", lambda samples, macs: ({}, 3))
    monkeypatch.setattr(schemes, "macs", lambda source, samples: {})
    assert schemes._searched(source, source, how, samples(), tmp_path) == {"choices": []}
    assert asked == [(search.search, 7), (search.search, 8)], "once more, in one stretch"
    assert str(error) in capsys.readouterr().err


def test_a_search_that_was_killed_is_not_made_again(source: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(schemes.probing, "points", lambda samples, macs: ({}, 3))
    monkeypatch.setattr(schemes, "macs", lambda source, samples: {})

    def run(*_):
        raise schemes.apart.Ended("was killed by the system for memory")

    monkeypatch.setattr(schemes.apart, "run", run)
    how = Search(min_sqnr_db=40, max_float_share=0.03, refiner_float_share=0.13, minutes=1)
    with pytest.raises(schemes.apart.Ended, match="for memory"):
        schemes._searched(source, source, how, samples(), tmp_path)
