"""What an IR is made of and what of it runs in INT8: sizes, operations, work, executed precisions.

Consumes IR files, models in memory and compiled ones; produces plain figures about them.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.ir import parts

if TYPE_CHECKING:
    import openvino as ov


FP16, INT8, INT8_WEIGHTS = "fp16", "int8", "int8-weights"  # what a UNet is stored as
COMPUTE_LAYERS = ("Convolution", "GroupConvolution", "MatMul", "FullyConnected")  # as the CPU plugin calls them
KERNELS = ("f32", "f16", "bf16", "i8", "u8")
CONSTANTS = {"int8_constants": ("i8", "u8"), "int4_constants": ("i4", "u4"), "fp16_constants": ("f16",)}
DECOMPRESSION = ("Convert", "Reshape", "Multiply", "Subtract")  # between stored weights and a product
OPERATIONS = {"FakeQuantize": "fake_quantize", "MatMul": "matmul", "Convolution": "convolution"}


def count_operations(model: ov.Model) -> dict[str, int]:
    """What a model is made of: quantizers, heavy operations, and weight constants by type (zero points apart)."""
    counts = dict.fromkeys([*OPERATIONS.values(), *CONSTANTS], 0)
    for operation in model.get_ops():
        kind = operation.get_type_name()
        if kind in OPERATIONS:
            counts[OPERATIONS[kind]] += 1
        if kind == "Constant" and not _is_zero_point(operation):
            stored = operation.get_element_type().get_type_name()
            for name, types in CONSTANTS.items():
                counts[name] += stored in types
    return counts


def executed_precisions(compiled: ov.CompiledModel) -> dict[str, int]:
    """Precision -> number of convolutions, matrix products and fully connected layers that compute in it.

    For instance {"bf16": 2, "i8": 147}: 147 layers multiply 8-bit integers.
    """
    layers = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    heavy = [facts for facts in layers if info(facts, "layerType") in COMPUTE_LAYERS]
    return dict(sorted(Counter(map(kernel_precision, heavy)).items()))


def multiply_accumulates(model: ov.Model, inputs: dict[str, tuple[int, ...]]) -> int:
    """Multiply-accumulates of one forward at these input shapes: convolutions, matrix products, attention.

    FLOP = 2 x this. A 3x3 convolution from 4 to 8 channels on 16 x 16 positions: 16 * 16 * 8 * 4 * 9 = 73,728.
    """
    return sum(macs_by_layer(model, inputs).values())


def macs_by_layer(model: ov.Model, inputs: dict[str, tuple[int, ...]]) -> dict[str, int]:
    """The same by name of the operation, in order of execution; those that multiply nothing are left out."""
    fixed = model.clone()
    fixed.reshape({name: list(shape) for name, shape in inputs.items()})
    found = {operation.get_friendly_name(): macs(operation) for operation in fixed.get_ordered_ops()}
    return {name: count for name, count in found.items() if count}


def macs(operation: Any) -> int:
    """Multiply-accumulates of one operation whose shapes are fixed; 0 of one that is no product."""
    kind = operation.get_type_name()
    if kind == "Convolution":  # weights: out, in, kernel...
        return _elements(operation.get_output_shape(0)) * _elements(operation.get_input_shape(1)[1:])
    if kind == "GroupConvolution":  # weights: groups, out, in, kernel...
        return _elements(operation.get_output_shape(0)) * _elements(operation.get_input_shape(1)[2:])
    if kind == "MatMul":
        first = list(operation.get_input_shape(0))
        inner = first[-2] if operation.get_attributes()["transpose_a"] and len(first) > 1 else first[-1]
        return _elements(operation.get_output_shape(0)) * inner
    return sum(attention_macs(operation)) if kind == "ScaledDotProductAttention" else 0


def attention_macs(operation: Any) -> tuple[int, int]:
    """Of both products: queries with keys, and the weights that come of those with values.

    Query (..., L, E), key (..., S, E), value (..., S, V).
    """
    query, key = operation.get_input_shape(0), operation.get_input_shape(1)
    scores = _elements(query[:-1]) * key[-2]
    return scores * query[-1], scores * operation.get_output_shape(0)[-1]


def behind(node: Any, kinds: tuple[str, ...]) -> Any:
    """The first operation that is of none of these types, following the first input from `node` on, itself included."""
    while node.get_type_name() in kinds:
        node = node.input_value(0).get_node()
    return node


def stored(folder: Path) -> str:
    """How the UNet of an IR folder is stored: `fp16`, `int8` with quantized activations, or `int8-weights` alone."""
    xml = parts.graph(folder / "unet" / "openvino_model.xml")
    if 'type="FakeQuantize"' in xml:
        return INT8
    return INT8_WEIGHTS if re.search(r'<data element_type="[iu][48]" shape="\d+, ', xml) else FP16


def weights_mb(xml: Path) -> float:
    """MB (1e6 bytes) of an IR's weights: its `.bin`, the figure that OpenVINO's notebooks publish as a model's size."""
    return xml.with_suffix(".bin").stat().st_size / 1e6


def graph_mb(xml: Path) -> float:
    """MB (1e6 bytes) of an IR's graph: its `.xml`. Next to nothing of a real UNet, a third of a miniature's."""
    return xml.stat().st_size / 1e6


def size_mb(folder_or_xml: Path) -> float:
    """MB (1e6 bytes) on disk of a folder's files together, or of one IR: its `.xml` and its `.bin`."""
    if folder_or_xml.is_dir():
        files = [path for path in folder_or_xml.rglob("*") if path.is_file()]
    else:
        files = [folder_or_xml, folder_or_xml.with_suffix(".bin")]
    return sum(path.stat().st_size for path in files) / 1e6


def kernel_precision(facts: Any) -> str:
    """As the kernel's name ends (brgconv_avx512_f32): `runtimePrecision` tells how the weights are stored, f16 here."""
    kernel = info(facts, "primitiveType").rpartition("_")[2].lower()
    return kernel if kernel in KERNELS else info(facts, "runtimePrecision")


def info(facts: Any, key: str) -> str:
    """One of the facts that a compiled model tells of a layer (`rt_info`), as text."""
    return str(facts[key].astype(str)) if key in facts else "unknown"


def _elements(shape: Any) -> int:
    return math.prod(int(side) for side in shape)


def _is_zero_point(constant: Any) -> bool:
    """Compressed weights are Multiply(Subtract(Convert(weights), Convert(zero point)), scale)."""
    consumers = [target for port in constant.output(0).get_target_inputs() for target in _past_convert(port)]
    return bool(consumers) and all(
        port.get_node().get_type_name() == "Subtract" and port.get_index() == 1 for port in consumers
    )


def _past_convert(port: Any) -> list[Any]:
    node = port.get_node()
    return list(node.output(0).get_target_inputs()) if node.get_type_name() == "Convert" else [port]
