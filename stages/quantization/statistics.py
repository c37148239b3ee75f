"""Ranges of a model's activations, collected for NNCF within little memory, and kept so that a killed run goes on.

NNCF taps hundreds of tensors and lets OpenVINO run the model with them as outputs. Left in NNCF's order, every tapped
tensor stays in memory until the end of the run; here each is reduced as soon as it is computed, and shapes are fixed to
those of the sample, so that memory can be planned. Convolutions may run with their original weights, which take half of
what compressed ones do once OpenVINO has unpacked them. Decides nothing about quantization.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.files import pieces
from stages.ir import extremes, runtime
from stages.machine import description

if TYPE_CHECKING:
    import openvino as ov

Outputs = dict[str, np.ndarray]  # by tensor name
Known = Callable[[int], Outputs | None]  # extremes by channel of the n-th sample, as stages.ir.extremes names them
KINDS = {("ReduceMin", False): "min", ("ReduceMax", False): "max", ("ReduceMax", True): "abs"}
RANGES = "ranges"  # folder, among what a scheme keeps while it is unfinished


@dataclass(frozen=True)
class Channels:
    """Extremes of a tensor over all samples, `low` and `high` by channel; `mean_low` and `mean_high`: of the whole
    tensor, the mean of the samples'."""

    low: np.ndarray
    high: np.ndarray
    mean_low: float
    mean_high: float


def unknown(_: int) -> None:
    """Nothing is known of any sample."""


def known_of(samples: Iterable[Outputs]) -> Known:
    """What samples bring along as their `extremes`, if they do (stages.calibration.shards)."""
    return getattr(samples, "extremes", unknown)


@contextmanager
def lean(kept: Path, own: set[str], original: ov.Model | None = None, known: Known = unknown) -> Iterator[None]:
    """NNCF runs models as this module does while the block lasts.

    `kept` is a folder for the ranges of each sample, which are not computed again when they are found there: it must
    belong to one model, one list of samples and one choice of settings. `own` names the model's own outputs. `original`
    is the model before its weights were compressed, where convolutions are to run with those. `known`: extremes that
    were left by whoever evaluated the model with a sample, which is then not run once more.
    """
    from nncf.common import factory

    before, numbers = factory.EngineFactory.create, count()

    def engine(model: ov.Model) -> _Engine:
        if original is not None:
            restore_convolutions(model, original)
        return _Engine(model, kept / f"pass-{next(numbers)}", own, known)

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
            row = int(lot.integers(runtime.rows(sample)))
            yield runtime.of_rows(sample, slice(row, row + 1))


class _Engine:
    """What NNCF calls with one sample after the other; compiled when the first one is missing."""

    def __init__(self, model: ov.Model, kept: Path, own: set[str], known: Known) -> None:
        self._model, self._kept, self._own, self._known = model, kept, own, known
        self._asked = asked(model, own)
        self._numbers, self._shapes, self._request = count(), None, None

    def infer(self, sample: dict[str, np.ndarray]) -> Outputs:
        number = next(self._numbers)
        path = self._kept / f"{number:05d}.safetensors"
        names = {lasting_name(name): name for name in self._names()}
        if not pieces.is_there(path):
            found, channels = self._told(number) or self._run(sample)
            if len(names) < len(found):  # reducers that cannot be told apart later
                return found
            write(path, {lasting: found[name] for lasting, name in names.items()} | channels)
        return {names[lasting]: value for lasting, value in read(path).items() if lasting in names}

    def _names(self) -> list[str]:
        return [name for port in self._model.outputs for name in port.get_names() if name not in self._own]

    def _told(self, number: int) -> tuple[Outputs, Outputs] | None:
        """The same as `_run`, out of the extremes that are known of a sample; None unless all that is asked for is."""
        if not self._asked:
            return None
        known = self._known(number)
        return None if known is None else told(self._asked, known)

    def _run(self, sample: dict[str, np.ndarray]) -> tuple[Outputs, Outputs]:
        """What NNCF asked for, and the extremes of channels."""
        shapes = {name: list(value.shape) for name, value in sample.items()}
        if shapes != self._shapes:
            self._request, self._shapes = _compile(self._model, shapes), shapes
        found = self._request.infer(sample)
        named = {name: value for port, value in found.items() for name in port.get_names() if name not in self._own}
        channels = {name: value for name, value in named.items() if extremes.is_own(name)}
        return {name: value for name, value in named.items() if name not in channels}, channels


@dataclass(frozen=True)
class Asked:
    """What one of NNCF's results is: the least, greatest or greatest absolute value of all that an operation gives."""

    kind: str
    tapped: str
    shape: tuple[int, ...]


def asked(model: ov.Model, own: set[str]) -> dict[str, Asked] | None:
    """What NNCF asks for, by name; None where it asks for anything but extremes of whole tensors."""
    found = {}
    for result in model.get_results():
        names = result.output(0).get_names() - own
        if not names:
            continue
        node, last = extremes.tapped(result), result.input_value(0).get_node()
        shape = last.output(0).get_partial_shape()
        kind = KINDS.get((last.get_type_name(), last.input_value(0).get_node().get_type_name() == "Abs"))
        if node is None or kind is None or shape.is_dynamic or max(shape.to_shape(), default=1) > 1:
            return None
        found |= dict.fromkeys(names, Asked(kind, node.get_friendly_name(), tuple(shape.to_shape())))
    return found


def told(wanted: dict[str, Asked], known: Outputs) -> tuple[Outputs, Outputs] | None:
    """Values by name and extremes by channel, as far as all of it is known."""
    found, channels = {}, {}
    for name, one in wanted.items():
        keys = [extremes.name(kind, one.tapped) for kind in ("min", "max")]
        if not known.keys() >= set(keys):
            return None
        low, high = float(known[keys[0]].min()), float(known[keys[1]].max())
        value = {"min": low, "max": high, "abs": max(abs(low), abs(high))}[one.kind]
        found[name] = np.full(one.shape, value, np.float32)
        channels |= {key: known[key] for key in keys}
    return found, channels


def lasting_name(name: str) -> str:
    """A tap's name without the number that Python gives NNCF's reducer anew in every process.

    >>> lasting_name("Result_conv_OVMaxReducer-2928534893418194978.0.0")
    'Result_conv_OVMaxReducer.0.0'
    """
    return re.sub(r"Reducer-?\d+", "Reducer", name)


def _compile(model: ov.Model, shapes: dict[str, list[int]]) -> Any:
    import openvino as ov

    ordered = ov.Model(extremes.early_first(model, with_channels(model)), model.get_parameters())
    ordered.reshape(shapes)
    compiled = ov.Core().compile_model(ordered, "CPU", {"INFERENCE_PRECISION_HINT": floats()})
    return compiled.create_infer_request()


def floats() -> str:
    """What ranges are computed in: the processor's fastest. bfloat16 moves an extreme by 0.4 % at most, less than
    another prompt does."""
    return "bf16" if description.widest("bf16") else "f32"


def with_channels(model: ov.Model) -> list[ov.Node]:
    """The model's results, and the extremes by channel of each tensor that is tapped."""
    found = list(model.get_results())
    sources = {
        node.get_friendly_name(): node.output(0) for result in found if (node := extremes.tapped(result)) is not None
    }
    return [*found, *extremes.results(sources)]


def channels(kept: Path, count: int | None = None) -> dict[str, Channels]:
    """What all samples, or the first `count` of them, left in `kept` (the folder that was given to `lean`), by the name
    of the tapped operation."""
    found: dict[str, list[Outputs]] = {}
    for path in sorted((kept / "pass-0").glob("*.safetensors"))[:count]:
        for key, value in read(path).items():
            if extremes.is_own(key):
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
