"""The most operations per second that this machine reaches, as a yardstick for a UNet.

Consumes nothing but the device; produces giga-operations per second of large matrix products through OpenVINO, in
float and in INT8, executed as the plugin executes them. About a second. Runs no model of ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stages.ir import runtime
from stages.measurement import latency

if TYPE_CHECKING:
    from stages.settings.schema import Device

SIDE, LAYERS, REPETITIONS = 1024, 4, 8
ENOUGH_S = 0.3


def peak_gops(device: Device) -> dict[str, float]:
    """{"float": ..., "int8": ...}: 2 x multiply-accumulates / seconds / 1e9, the best of a few runs."""
    return {name: _gops(_chain(quantized), device) for name, quantized in (("float", False), ("int8", True))}


def _gops(model: Any, device: Device) -> float:
    compiled = runtime.compile(model, device)
    inputs = {0: np.random.default_rng(0).standard_normal((SIDE, SIDE), dtype=np.float32)}
    seconds = latency.interleaved(
        {"chain": lambda: compiled(inputs, share_inputs=True)}, repetitions=REPETITIONS, warmup=2, at_least_s=ENOUGH_S
    )
    return round(2 * LAYERS * SIDE**3 / min(seconds["chain"]) / 1e9, 1)


def _chain(quantized: bool) -> Any:
    """LAYERS matrix products of SIDE x SIDE one after another, with INT8 weights and activations if `quantized`."""
    import openvino as ov
    from openvino import opset13 as ops

    weights = np.random.default_rng(1).standard_normal((SIDE, SIDE), dtype=np.float32) / SIDE**0.5
    parameter = ops.parameter([SIDE, SIDE], np.float32)
    node = parameter
    for _ in range(LAYERS):
        node = ops.matmul(_fake_quantize(node) if quantized else node, _weights(weights, quantized), False, True)
    return ov.Model([node], [parameter])


def _fake_quantize(node: Any) -> Any:
    from openvino import opset13 as ops

    low, high = np.float32(-4.0), np.float32(4.0 * 127 / 128)
    return ops.fake_quantize(node, low, high, low, high, 256)


def _weights(weights: np.ndarray, quantized: bool) -> Any:
    from openvino import opset13 as ops

    if not quantized:
        return ops.constant(weights)
    scale = np.float32(np.abs(weights).max() / 127)
    integers = ops.convert(ops.constant(np.round(weights / scale).astype(np.int8)), "f32")
    return ops.multiply(integers, ops.constant(scale))
