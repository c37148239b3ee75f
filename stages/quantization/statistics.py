"""Ranges of a model's activations, collected for NNCF within little memory, and kept so that a killed run goes on.

NNCF taps hundreds of tensors and lets OpenVINO run the model with them as outputs. Left in NNCF's order, every tapped
tensor stays in memory until the end of the run; here each is reduced as soon as it is computed, and shapes are fixed to
those of the sample, so that memory can be planned. Convolutions may run with their original weights, which take half of
what compressed ones do once OpenVINO has unpacked them. Decides nothing about quantization.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.files import pieces
from stages.machine import description

if TYPE_CHECKING:
    import openvino as ov

Outputs = dict[str, np.ndarray]  # by tensor name
RANGES = "ranges"  # folder, among what a scheme keeps while it is unfinished
OWN = "channels"  # what the names of our own outputs begin with


@dataclass(frozen=True)
class Channels:
    """Extremes of a tensor over all samples, `low` and `high` by channel; `mean_low` and `mean_high`: of the whole
    tensor, the mean of the samples'."""

    low: np.ndarray
    high: np.ndarray
    mean_low: float
    mean_high: float


@contextmanager
def lean(kept: Path, own: set[str], original: ov.Model | None = None) -> Iterator[None]:
    """NNCF runs models as this module does while the block lasts.

    `kept` is a folder for the ranges of each sample, which are not computed again when they are found there: it must
    belong to one model, one list of samples and one choice of settings. `own` names the model's own outputs. `original`
    is the model before its weights were compressed, where convolutions are to run with those.
    """
    from nncf.common import factory

    before, numbers = factory.EngineFactory.create, count()

    def engine(model: ov.Model) -> _Engine:
        if original is not None:
            restore_convolutions(model, original)
        return _Engine(model, kept / f"pass-{next(numbers)}", own)

    factory.EngineFactory.create = staticmethod(engine)
    try:
        yield
    finally:
        factory.EngineFactory.create = staticmethod(before)


class OneRow:
    """Of each sample one row, conditional or unconditional: what one of them reaches at a step, some other prompt's
    does too, at half the work. Which one is by lot, the same in every run: turns would go with the steps."""

    def __init__(self, samples: Iterable[Outputs], seed: int = 0) -> None:
        self._samples, self._seed = samples, seed

    def __iter__(self) -> Iterator[Outputs]:
        lot = np.random.default_rng(self._seed)
        for sample in self._samples:
            rows = max((len(value) for value in sample.values() if value.ndim), default=1)
            row = int(lot.integers(rows))
            yield {
                name: value[row : row + 1] if value.ndim and len(value) == rows else value
                for name, value in sample.items()
            }


class _Engine:
    """What NNCF calls with one sample after the other; compiled when the first one is missing."""

    def __init__(self, model: ov.Model, kept: Path, own: set[str]) -> None:
        self._model, self._kept, self._own = model, kept, own
        self._numbers, self._shapes, self._request = count(), None, None

    def infer(self, sample: dict[str, np.ndarray]) -> Outputs:
        path = self._kept / f"{next(self._numbers):05d}.safetensors"
        names = {lasting_name(name): name for name in self._names()}
        if not pieces.is_there(path):
            found, channels = self._run(sample)
            if len(names) < len(found):  # reducers that cannot be told apart later
                return found
            write(path, {lasting: found[name] for lasting, name in names.items()} | channels)
        return {names[lasting]: value for lasting, value in read(path).items() if lasting in names}

    def _names(self) -> list[str]:
        return [name for port in self._model.outputs for name in port.get_names() if name not in self._own]

    def _run(self, sample: dict[str, np.ndarray]) -> tuple[Outputs, Outputs]:
        """What NNCF asked for, and the extremes of channels."""
        shapes = {name: list(value.shape) for name, value in sample.items()}
        if shapes != self._shapes:
            self._request, self._shapes = _compile(self._model, shapes), shapes
        found = self._request.infer(sample)
        named = {name: value for port, value in found.items() for name in port.get_names() if name not in self._own}
        channels = {name: value for name, value in named.items() if name.startswith(f"{OWN}/")}
        return {name: value for name, value in named.items() if name not in channels}, channels


def lasting_name(name: str) -> str:
    """A tap's name without the number that Python gives NNCF's reducer anew in every process.

    >>> lasting_name("Result_conv_OVMaxReducer-2928534893418194978.0.0")
    'Result_conv_OVMaxReducer.0.0'
    """
    return re.sub(r"Reducer-?\d+", "Reducer", name)


def _compile(model: ov.Model, shapes: dict[str, list[int]]) -> Any:
    import openvino as ov

    ordered = ov.Model(early_first(model, with_channels(model)), model.get_parameters())
    ordered.reshape(shapes)
    compiled = ov.Core().compile_model(ordered, "CPU", {"INFERENCE_PRECISION_HINT": floats()})
    return compiled.create_infer_request()


def floats() -> str:
    """What ranges are computed in: the processor's fastest. bfloat16 moves an extreme by 0.4 % at most, less than
    another prompt does."""
    return "bf16" if description.widest("bf16") else "f32"


def with_channels(model: ov.Model) -> list[ov.Node]:
    """The model's results, and two more for each tensor that is tapped: `channels/min/<name>`, `channels/max/<name>`,
    one value per channel (the second axis of pictures, the last one of all else)."""
    from openvino import opset13 as ops

    results = list(model.get_results())
    sources = {node.get_friendly_name(): node.output(0) for result in results if (node := _tapped(result)) is not None}
    for name, output in sources.items():
        rank = output.get_partial_shape().rank
        if rank.is_dynamic or rank.get_length() < 2:
            continue
        kept = 1 if rank.get_length() == 4 else rank.get_length() - 1
        others = ops.constant(np.array([axis for axis in range(rank.get_length()) if axis != kept]))
        for kind, reduce in (("min", ops.reduce_min), ("max", ops.reduce_max)):
            extreme = reduce(output, others, False)
            extreme.output(0).set_names({f"{OWN}/{kind}/{name}"})
            results.append(ops.result(extreme))
    return results


def channels(kept: Path, count: int | None = None) -> dict[str, Channels]:
    """What all samples, or the first `count` of them, left in `kept` (the folder that was given to `lean`), by the name
    of the tapped operation."""
    found: dict[str, list[Outputs]] = {}
    for path in sorted((kept / "pass-0").glob("*.safetensors"))[:count]:
        for key, value in read(path).items():
            if key.startswith(f"{OWN}/"):
                _, kind, name = key.split("/", 2)
                found.setdefault(name, []).append({kind: value})
    return {name: _channels(entries) for name, entries in found.items()}


def _channels(entries: list[Outputs]) -> Channels:
    lows = np.stack([entry["min"] for entry in entries if "min" in entry])
    highs = np.stack([entry["max"] for entry in entries if "max" in entry])
    return Channels(lows.min(0), highs.max(0), float(lows.min(1).mean()), float(highs.max(1).mean()))


def restore_convolutions(model: ov.Model, original: ov.Model) -> int:
    """Give the convolutions of `model` the weights of those with the same names in `original`; how many got them.

    Compressed kernels are unpacked to float32 when a model is compiled, and laid out once more: 8 bytes per parameter.
    FP16 ones stay in their file and are laid out once.
    """
    weights = {node.get_friendly_name(): node.input_value(1) for node in original.get_ops() if _is_convolution(node)}
    found = [node for node in model.get_ops() if _is_convolution(node) and node.get_friendly_name() in weights]
    for node in found:
        node.input(1).replace_source_output(weights[node.get_friendly_name()])
    return len(found)


def _is_convolution(node: ov.Node) -> bool:
    return node.get_type_name() == "Convolution"


def early_first(model: ov.Model, results: list[ov.Node] | None = None) -> list[ov.Node]:
    """The model's results, or these, in the order in which what they tap is computed: OpenVINO's own."""
    position = {node.get_friendly_name(): number for number, node in enumerate(model.get_ordered_ops())}

    def place(result: ov.Node) -> tuple[bool, int]:
        node = _tapped(result)
        return (True, 0) if node is None else (False, position[node.get_friendly_name()])

    return sorted(results or model.get_results(), key=place)


def _tapped(result: ov.Node) -> ov.Node | None:
    """The operation whose extremes a result gives; None for an output of the model itself."""
    node = result.input_value(0).get_node()
    if not node.get_type_name().startswith("Reduce"):
        return None
    while node.get_type_name().startswith("Reduce") or node.get_type_name() == "Abs":
        node = node.input_value(0).get_node()
    return node


def write(path: Path, outputs: Outputs) -> None:
    """A file of arrays by name, under its name only when it is complete."""
    from safetensors.numpy import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    save_file({name: np.ascontiguousarray(value) for name, value in outputs.items()}, partial)
    partial.replace(path)
    pieces.note(path)


def read(path: Path) -> Outputs:
    from safetensors.numpy import load_file

    return load_file(path)
