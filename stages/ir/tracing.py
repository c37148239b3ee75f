"""One torch component to one FP16 IR, with the inputs, outputs and dynamic shapes of optimum-intel's exporter.

Consumes a checkpoint folder; produces `openvino_model.xml` and `.bin`. Weights stay in their memory-mapped file until
they are written out. Quantizes nothing and does not import optimum, which costs ten seconds.
"""

import re
from pathlib import Path
from typing import Any

from stages.checkpoints.components import Component
from stages.checkpoints.quiet import quiet
from stages.ir import saving
from stages.ir.traceable import TRACEABLES, Traceable

DYNAMIC = -1
COUNTED = re.compile(r"[A-Z]\w*_\d+(\.\d+)?")  # Convert_49779, RaggedToDense_24897.0


def write_ir(checkpoint: Path, component: Component, target: Path) -> None:
    """Convert one component of the pipeline in `checkpoint` and save it to `target`, an .xml path."""
    with quiet():
        import torch

        with torch.no_grad():
            model = _convert(TRACEABLES[component.name](checkpoint))
    settle_names(model, component.name)
    saving.save(model, target)


def settle_names(model: Any, name: str) -> None:
    """Replace the names that OpenVINO counts up within a process, so that equal models are written as equal bytes."""
    model.set_friendly_name(name)
    for number, operation in enumerate(model.get_ordered_ops()):
        settled = f"{operation.get_type_name()}_{number}"
        if COUNTED.fullmatch(operation.get_friendly_name()):
            operation.set_friendly_name(settled)
        for port in operation.outputs():
            names = port.get_tensor().get_names()
            if any(COUNTED.fullmatch(name) for name in names):
                port.get_tensor().set_names({settled if COUNTED.fullmatch(name) else name for name in names})


def check_not_quantized(path: Path) -> None:
    """An FP16 baseline with 8 or 4-bit weights is none: optimum makes such ones of parts over a billion parameters."""
    import openvino as ov

    integers = {"i8", "u8", "i4", "u4", "nf4"}
    for operation in ov.Core().read_model(path).get_ops():
        if operation.get_type_name() == "Constant" and operation.get_element_type().get_type_name() in integers:
            raise ValueError(f"{path} holds quantized weights in {operation.get_friendly_name()}: wanted FP16 only")


def _convert(traceable: Traceable) -> Any:
    import openvino as ov
    from openvino.frontend.pytorch import patch_model
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    getattr(patch_model, "__make_16bit_traceable")(traceable.module)
    shapes = [_shape(traceable, name) for name in traceable.example]
    types = [ov.Type(example.numpy().dtype) for example in traceable.example.values()]
    decoder = TorchScriptPythonDecoder(  # checking the trace would run each module three times more
        traceable.module, example_input=traceable.example, trace_kwargs={"check_trace": False}
    )
    model = ov.convert_model(decoder, example_input=traceable.example, input=list(zip(shapes, types, strict=True)))
    for port, name in zip(model.inputs, traceable.example, strict=True):
        port.get_tensor().set_names({name})
    for port, name in zip(model.outputs, traceable.outputs, strict=True):
        port.get_tensor().set_names({name})
    for name, value in traceable.runtime_options.items():
        model.set_rt_info(value, ["runtime_options", name])
    _keep_frequencies_exact(model)
    model.validate_nodes_and_infer_types()
    return model


def _keep_frequencies_exact(model: Any) -> None:
    """Store the frequencies of time embeddings as sums of two float16 numbers, which survive compression.

    A frequency rounded to float16 turns sin(981 f) by up to 0.2 rad: the UNet's output then agrees with torch to 49 dB
    instead of 118 dB.
    """
    waves = [operation for operation in model.get_ops() if operation.get_type_name() in ("Sin", "Cos")]
    angles = {node.get_friendly_name(): node for wave in waves for node in _sources(wave)}
    for angle in angles.values():
        for number, source in enumerate(_sources(angle)):
            if angle.get_type_name() == "Multiply" and source.get_type_name() == "Constant":
                angle.input(number).replace_source_output(_two_halves(source).output(0))


def _two_halves(constant: Any) -> Any:
    import numpy as np
    import openvino as ov
    from openvino import opset13 as ops

    shift = 2.0**12
    exact = constant.get_data().astype(np.float64)
    high = exact.astype(np.float16)
    low = ((exact - high) * shift).astype(np.float16)
    parts = [ops.convert(ops.constant(part), ov.Type.f32) for part in (high, low, np.float16(1 / shift))]
    return ops.add(parts[0], ops.multiply(parts[1], parts[2]))


def _sources(node: Any) -> list[Any]:
    return [node.input_value(number).get_node() for number in range(node.get_input_size())]


def _shape(traceable: Traceable, name: str) -> Any:
    import openvino as ov

    shape = ov.PartialShape(traceable.example[name].shape)
    for axis in traceable.dynamic_axes[name]:
        shape[axis] = ov.Dimension(DYNAMIC)
    return shape
