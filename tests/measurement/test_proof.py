"""Proof by work: what a scheme promises is held against what the kernels do, an error or a doubt in words."""

import dataclasses

import pytest

from stages.ir.work import NOT_FOUND, Layer
from stages.measurement import doubts, proof

SCHEMES = ("weights_first", "notebook", "hybrid")


def row(*layers: tuple[str, int, str], kernel: str = "a_kernel") -> dict:
    """A precision's figures with layers of these types, multiply-accumulates and precisions."""
    made = [Layer(f"layer {n}", kind, macs, kernel, precision) for n, (kind, macs, precision) in enumerate(layers)]
    total, int8 = sum(layer.macs for layer in made), sum(layer.macs for layer in made if layer.precision != "f32")
    counts = {"total": total, "int8": int8, "share_int8": int8 / total}
    return {"macs": counts, "layers": [dataclasses.asdict(layer) for layer in made]}


FLOAT = row(("Convolution", 600, "f32"), ("MatMul", 400, "f32"))
HALF = row(("Convolution", 600, "u8"), ("MatMul", 400, "f32"))
MOST = row(("Convolution", 600, "i8"), ("MatMul", 300, "i8"), ("attention PV", 100, "f32"))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_model_called_int8_with_none_in_it_is_an_error_that_says_what_to_run(scheme):
    with pytest.raises(
        ValueError,
        match=rf"vega int8: 0\.0 % of .* run in INT8, though scheme {scheme} .*run 'dvc repro -f -s quantize@vega'",
    ):
        proof.require_int8(FLOAT, "vega", "int8", scheme)
    proof.require_int8(HALF, "vega", "int8", scheme)


@pytest.mark.parametrize("scheme", ["weights_only", "none", None])
def test_schemes_that_promise_no_activations_are_not_judged(scheme):
    proof.require_int8(FLOAT, "vega", "int8-weights", scheme)
    assert proof.promised_share(FLOAT, scheme) is None and proof.doubt(FLOAT, "int8-weights", scheme) is None


def test_hybrid_is_judged_by_its_convolutions_alone():
    assert proof.promised_share(HALF, "hybrid") == 1.0 and proof.promised_share(HALF, "weights_first") == 0.6
    wrong = row(("Convolution", 600, "f32"), ("MatMul", 400, "i8"))
    with pytest.raises(ValueError, match="0.0 % of the convolutions' multiply-accumulates"):
        proof.require_int8(wrong, "vega", "int8-hybrid", "hybrid")


def test_less_than_four_fifths_of_the_work_is_doubted_in_words():
    record = {"random_weights": True, "scheme": "weights_first", "precisions": {"fp16": FLOAT, "int8": HALF}}
    (said,) = doubts.doubts(record)
    assert said.startswith("only 60 % of the UNet's multiply-accumulates run in INT8 where int8 promises them")
    assert doubts.doubts(record | {"precisions": {"fp16": FLOAT, "int8": MOST}}) == []
    assert doubts.doubts(record | {"scheme": "hybrid"}) == []


def test_work_that_was_not_found_is_said_to_be_so():
    lost = row(("Convolution", 900, "f32"), ("MatMul", 100, "i8"), kernel=NOT_FOUND)
    assert "(100 % were not found in the compiled model)" in proof.doubt(lost, "int8", "notebook")


def test_a_precision_that_was_not_run_proves_nothing_and_is_not_doubted():
    assert proof.doubt({"macs": None, "layers": None}, "int8", "weights_first") is None


def test_nothing_is_quantized_while_running_without_vnni(monkeypatch):
    monkeypatch.setattr(proof.runtime, "effective_properties", lambda _: {"DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"})
    for sets, group in ((["avx2", "avx512f"], 0), (["avx2", "avx_vnni"], 32), (["avx512_vnni"], 32)):
        monkeypatch.setattr(proof.description, "instruction_sets", lambda sets=sets: sets)
        assert proof.dynamic_group(None) == group
