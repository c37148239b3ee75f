"""What a scheme promises of the UNet that it makes, counted in the graph before anything runs: how much of the weights
is stored in few bits, and how much of the work has quantized activations.

Consumes a quantized model, the settings and the shapes of one request; produces shares, or an error with the figures
where they are less than LEAST of what the scheme is called after. That a processor runs it in INT8 is shown by the
benchmark.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from stages.ir import anatomy
from stages.settings.schema import EFFECTS, NEEDS_SAMPLES

if TYPE_CHECKING:
    import openvino as ov

    from stages.settings.schema import Quantization

LEAST = 0.5  # of what a scheme quantizes: the shipped ones come to 0.95 and more
FLOATING = ("f32", "f16", "bf16")
KINDS = {"hybrid": ("Convolution", "GroupConvolution")}  # of layers whose activations are quantized, where not all are
LAYERS = ("MatMul", "Convolution", "GroupConvolution")
MOVERS = ("Transpose", "Reshape", "Interpolate", "Unsqueeze", "Squeeze", "Pad", "MaxPool")  # values stay the same
Shapes = dict[str, tuple[int, ...]]  # of one request's inputs


def shares(model: ov.Model, shapes: Shapes | None, kinds: tuple[str, ...] = LAYERS) -> dict[str, float | None]:
    """0 to 1, of layers with stored weights: `weights` in eight bits or four; `weights_4bit`, of matrix products, as
    NNCF leaves convolutions in eight; and the multiply-accumulates `macs` of `kinds` whose activations are quantized,
    None without shapes."""
    if shapes:
        model = model.clone()
        model.reshape({name: list(shape) for name, shape in shapes.items()})
    few = {"weights": [0, 0], "weights_4bit": [0, 0], "macs": [0, 0]}  # so many, of so many
    for layer, weights, bits in _stored(model):
        count = math.prod(weights.get_output_shape(0))
        _add(few["weights"], count, bits < 16)
        if layer.get_type_name() == "MatMul":
            _add(few["weights_4bit"], count, bits == 4)
        if shapes and layer.get_type_name() in kinds:
            _add(few["macs"], anatomy.macs(layer), _is_quantized(layer.input_value(0).get_node()))
    return {name: round(part / whole, 4) if whole else None for name, (part, whole) in few.items()}


def _add(share: list[int], count: int, counts: bool) -> None:
    share[0] += count * counts
    share[1] += count


def require_kept(model: ov.Model, settings: Quantization, shapes: Shapes | None) -> dict[str, float | None]:
    """The shares; ValueError where the model is less quantized than its scheme says."""
    found = shares(model, shapes, KINDS.get(settings.scheme, LAYERS))
    for name, least in promised(settings).items():
        share = found[name]
        if share is not None and (share < least or share == 0):
            raise ValueError(
                f"quantization.scheme {settings.scheme} quantized {_percent(share)} of the UNet's {_WHAT[name]}, and "
                f"at least {_percent(least)} is what {settings.name!r} says: quantization.{_left(settings)} leave too "
                "much out"
            )
    return found


def promised(settings: Quantization) -> dict[str, float]:
    """Least shares by name; none of a scheme that leaves all as it is."""
    least = {"weights": LEAST} if settings.scheme != "none" else {}
    if str(settings.weights).startswith("int4"):
        least |= {"weights_4bit": LEAST * settings.ratio}
    return least | ({"macs": LEAST} if settings.scheme in NEEDS_SAMPLES else {})


_WHAT = {"weights": "weights", "weights_4bit": "matrix products' weights to 4 bits", "macs": "multiply-accumulates"}


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def _left(settings: Quantization) -> str:
    """`ignored_patterns ['.+'] and search`: what may be the reason."""
    said = [f"ignored_patterns {settings.ignored_patterns}", f"ignored_types {settings.ignored_types}"]
    if "search" in EFFECTS[settings.scheme] and settings.search:
        said += [f"search.max_float_share {settings.search.max_float_share}"]
    if "group_size" in EFFECTS[settings.scheme]:
        said += [f"group_size {settings.group_size}", f"ratio {settings.ratio}"]
    return ", ".join(said[:-1]) + f" and {said[-1]}"


def _stored(model: ov.Model) -> Iterator[tuple[Any, Any, int]]:
    """Layers with stored weights: the layer, the constant, and the bits that its values take."""
    for layer in model.get_ops():
        if layer.get_type_name() not in LAYERS:
            continue
        node, quantized = layer.input_value(1).get_node(), False
        while node.get_type_name() in (*anatomy.DECOMPRESSION, "FakeQuantize"):
            quantized |= node.get_type_name() == "FakeQuantize"
            node = node.input_value(0).get_node()
        if node.get_type_name() == "Constant":
            kind = node.get_element_type()
            floating = kind.get_type_name() in FLOATING
            yield layer, node, 8 if floating and quantized else kind.bitwidth if not floating else 16


def _is_quantized(node: Any) -> bool:
    """Whether a value comes out of quantizers, through what only moves it."""
    kind = node.get_type_name()
    if kind == "Concat":
        return all(_is_quantized(source.get_node()) for source in node.input_values())
    return _is_quantized(node.input_value(0).get_node()) if kind in MOVERS else kind == "FakeQuantize"
