"""A model in stretches, so that what a change cannot reach is not computed again.

Consumes a model in memory, which is taken apart, and the work of its operations; produces a run that begins at any of
its stretches, with what an earlier run of the same inputs handed over to it. Knows no quantization.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import openvino as ov

COUNT = 8  # one that changes in the middle costs (8 + 1) / (2 x 8) of the whole; 16 would make it 0.53
Values = dict[str, np.ndarray]  # by name: inputs, what one stretch hands over to others, and the results


@dataclass(frozen=True)
class Stretch:
    """A compiled part of the model, the names of what it is given, and of what it gives, in its own order."""

    request: Any
    takes: list[str]
    gives: list[str]

    def run(self, values: Values) -> Values:
        answer = self.request.infer({place: values[name] for place, name in enumerate(self.takes)})
        return {name: answer[place].copy() for place, name in enumerate(self.gives)}


class Stretches:
    """`work`: of operations by name, which is shared out evenly among so many stretches; `marks`: operations whose
    stretches are told, `begins`."""

    def __init__(
        self,
        model: ov.Model,
        work: Mapping[str, float],
        marks: list[ov.Node],
        config: dict[str, Any],
        count: int = COUNT,
    ) -> None:
        order = model.get_ordered_ops()
        share = shared_out([work.get(node.get_friendly_name(), 0.0) for node in order], count)
        own = uuid.uuid4().hex  # weights may be another model's too, whose operations read them and are none of ours
        for number, node in enumerate(order):
            node.set_friendly_name(f"{own}/{number}")
        where = _settled(order, share)
        self.begins = [where[mark.get_friendly_name()] for mark in marks]
        crossing = [port for node in order for port in _crossing(node, where)]
        self._stretches = _parts(model, where, crossing, config)
        self.outputs = [f"result/{place}" for place in range(len(model.outputs))]

    def run(self, inputs: Values, begin: int = 0, known: Values | None = None) -> Values:
        """All values from stretch `begin` on; `known`: those of a run with the same inputs, as far as earlier stretches
        read them."""
        values = (known or {}) | inputs
        for stretch in self._stretches[begin:]:
            values |= stretch.run(values)
        return values


def shared_out(work: list[float], count: int) -> list[int]:
    """A stretch for each of the operations, all with about as much work, in their order.

    >>> shared_out([1, 1, 0, 2, 1, 1], 3)
    [0, 0, 1, 1, 2, 2]
    """
    whole, before = sum(work) or 1.0, np.cumsum([0.0, *work[:-1]])
    return [min(count - 1, int(count * done / whole + 1e-9)) for done in before]


def _settled(order: list[ov.Node], share: list[int]) -> dict[str, int]:
    """Stretches by operation's name; results stand where they are made. What is made of constants alone, weights above
    all, belongs to none: it is read where it is wanted."""
    where: dict[str, int] = {}
    for node, own in zip(order, share, strict=True):
        sources = [port.get_node().get_friendly_name() for port in node.input_values()]
        if node.get_type_name() == "Result":
            where[node.get_friendly_name()] = where[sources[0]]
        elif node.get_type_name() == "Parameter" or where.keys() & set(sources):
            where[node.get_friendly_name()] = own
    return where


def _crossing(node: ov.Node, where: dict[str, int]) -> list[ov.Output]:
    """Values of an operation that a later stretch reads; inputs are apart."""
    own = where.get(node.get_friendly_name())
    if own is None or node.get_type_name() in ("Parameter", "Result"):
        return []
    return [port for port in node.outputs() if any(stretch > own for stretch in _by_stretch(port, where))]


def _by_stretch(port: ov.Output, where: dict[str, int]) -> dict[int, list[Any]]:
    """Who reads a value in this model, by stretch."""
    found: dict[int, list[Any]] = {}
    for target in port.get_target_inputs():
        name = target.get_node().get_friendly_name()
        if name in where:
            found.setdefault(where[name], []).append(target)
    return found


def _name(port: ov.Output) -> str:
    return f"{port.get_node().get_friendly_name()}/{port.get_index()}"


def _parts(model: ov.Model, where: dict[str, int], crossing: list[ov.Output], config: dict[str, Any]) -> list[Stretch]:
    """All of them, compiled. Shapes are handed over like any other value: where they were constants, OpenVINO 2026.4.1
    crashed while it compiled a stretch of Vega."""
    import openvino as ov
    from openvino import opset13 as ops

    count = max(where.values()) + 1
    takes: list[dict[str, ov.Node]] = [{} for _ in range(count)]
    gives: list[dict[str, ov.Node]] = [{} for _ in range(count)]
    for place, result in enumerate(model.get_results()):
        gives[where[result.get_friendly_name()]][f"result/{place}"] = result
    sources = [(port, port.get_any_name(), None) for port in model.inputs]
    sources += [(port, _name(port), where[port.get_node().get_friendly_name()]) for port in crossing]
    for port, name, own in sources:
        for stretch, targets in _by_stretch(port, where).items():
            if stretch == own:
                continue
            source = ops.parameter(port.get_partial_shape(), port.get_element_type())
            takes[stretch][name] = source
            for target in targets:
                target.replace_source_output(source.output(0))
        if own is not None:
            gives[own][name] = ops.result(port)
    found = []
    for given, made in zip(takes, gives, strict=True):
        part = ov.Model(list(made.values()), list(given.values()))
        request = ov.Core().compile_model(part, "CPU", config).create_infer_request()
        found.append(Stretch(request, list(given), list(made)))
    return found
