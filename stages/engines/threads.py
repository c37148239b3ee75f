"""How many threads OpenVINO computes with: sums that are shared out among one or two threads differ in the last bit.

Measured with the miniatures on 2 cores (OpenVINO 2026.4.1, float32): after 25 steps no latent of one thread was that of
two. Whoever is to compute the same bytes elsewhere must therefore use as many threads there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stages.ir import runtime

if TYPE_CHECKING:
    from stages.settings.schema import Device


def effective(device: Device) -> int:
    """Threads that the plugin settles on for these settings, on this machine; 0 where it does not count any (GPU)."""
    compiled = runtime.compile(_smallest(), device)
    if "INFERENCE_NUM_THREADS" not in [str(name) for name in compiled.get_property("SUPPORTED_PROPERTIES")]:
        return 0
    return int(compiled.get_property("INFERENCE_NUM_THREADS"))


def _smallest() -> object:
    import openvino as ov
    from openvino import opset13

    given = opset13.parameter([1])
    return ov.Model([opset13.relu(given)], [given], "smallest")
