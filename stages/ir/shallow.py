"""A UNet cut in two: whole, with its inner features handed out as well, and its outer part, which takes them back.

Consumes a UNet's IR in memory, FP16 or INT8; produces models that share its weights, none of them stored. Inner is all
that is not at the latents' own resolution: what the last up block is given from below (Ma et al., DeepCache,
arXiv 2312.00858, branch at the last up block). The outer part of SDXL is 8 % of its work.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import openvino as ov

LAST_JOINT = re.compile(r"up_blocks\.(\d+)/aten::cat/Concat")  # where an up block is first given what a down block left
FEATURES = "inner_features"


@dataclass(frozen=True)
class Shallow:
    """The outer part, compiled; called with a UNet's inputs, of which it takes what it needs."""

    compiled: Any
    names: frozenset[str]

    def __call__(self, inputs: dict[str, np.ndarray], features: np.ndarray) -> np.ndarray:
        """The prediction (n, 4, h, w) for inputs of n rows and inner features of n rows, a copy."""
        given = {name: array for name, array in inputs.items() if name in self.names}
        return self.compiled(given | {FEATURES: features}, share_inputs=True)[0]


def hand_out(unet: ov.Model) -> None:
    """Add the inner features to the outputs of a UNet, as its second."""
    port = unet.add_outputs(_joint(unet).input_value(0))[0]
    port.get_tensor().add_names({FEATURES})


def outer(unet: ov.Model) -> ov.Model:
    """The outer part of a UNet, which is given away: its operations are taken over."""
    import openvino as ov
    from openvino import opset13

    joint = _joint(unet)
    inner = joint.input_value(0)
    features = opset13.parameter(inner.get_partial_shape(), inner.get_element_type(), name=FEATURES)
    features.output(0).get_tensor().add_names({FEATURES})
    joint.input(0).replace_source_output(features.output(0))
    result = unet.get_results()[0]
    needed = _behind(result)
    kept = [parameter for parameter in unet.get_parameters() if parameter.get_friendly_name() in needed]
    return ov.Model([result], [*kept, features], "outer")


def compiled(outer_part: ov.Model, device: str, properties: dict[str, Any]) -> Shallow:
    import openvino as ov

    ready = ov.Core().compile_model(outer_part, device, properties)
    return Shallow(ready, frozenset(name for port in ready.inputs for name in port.get_names()))


def _joint(unet: ov.Model) -> Any:
    """The last up block's first joint; ValueError for a model that has none."""
    found = {}
    for operation in unet.get_ops():
        if match := re.search(rf"{LAST_JOINT.pattern}$", operation.get_friendly_name()):
            found[int(match[1])] = operation
    if not found:
        raise ValueError("speed.deep_every: this UNet has no up block that joins what came from below and from before")
    return found[max(found)]


def _behind(result: Any) -> set[str]:
    """Names of all operations that a result comes of."""
    seen, waiting = set(), [result]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in seen:
            seen.add(node.get_friendly_name())
            waiting += [value.get_node() for value in node.input_values()]
    return seen
