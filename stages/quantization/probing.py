"""What each unit of a quantized graph costs in fidelity, measured without compiling a model for every question.

Consumes a quantized graph and UNet inputs; compiles once a model in which every quantizer is arithmetic with runtime
parameters: its range, scales by channel or found at run time, or nothing at all, chosen by an input. Any choice is then
one evaluation, of what comes after the first unit that it quantizes. Reports the noise of a choice against the same
model without quantizers, by quarter of the schedule.
Source of the arithmetic: OpenVINO's specification of FakeQuantize.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.ir import runtime
from stages.quantization import units
from stages.quantization.stretches import COUNT, Stretches
from stages.settings.schema import quarter

if TYPE_CHECKING:
    import openvino as ov

    from stages.quantization.units import Unit

COLUMNS = ("low", "step", "on", "smooth", "dynamic")  # of one unit's row: its range, and switches from 0 to 1
SIDE = 16  # latent positions, a side, of a crop that noise is measured on: a sixty-fourth of SDXL's work
POINTS = 8  # crops in all, at least
WORK = 2e9  # multiply-accumulates of one evaluation that are cheap anywhere: small models are asked at more points
MOST_POINTS = 48
UNSEEN = 0.25  # share of the samples, the last ones
WIDE = 32  # side of larger crops
MOST_WORK = 2e13  # multiply-accumulates of all of those
MOST_SAMPLES = 160
BATCH = 8


class Probe:
    """`noise(rows)`: by quarter of the schedule, noise energy in relation to the signal's, for a row for each unit;
    `count`: stretches that the model is cut into."""

    def __init__(
        self,
        model: ov.Model,
        found: list[Unit],
        scales: dict[str, np.ndarray],
        points: dict[str, np.ndarray],
        count: int = COUNT,
    ):
        self._inputs, self.off = points, np.zeros((len(found), len(COLUMNS)), np.float32)
        self.off[:, 1] = 1
        marks = _make_switchable(model, found, scales)
        work = {layer: unit.macs / len(unit.layers) for unit in found for layer in unit.layers}
        self._stretches = Stretches(model, work, marks, runtime.EXACT, count)
        self._known = self._stretches.run(points | {"units": self.off})
        self._quarters = np.array([quarter(timestep) for timestep in points["timestep"]])
        self.reference = self._predict(self.off)

    def noise(self, rows: np.ndarray) -> np.ndarray:
        return noise_to_signal(self.reference, self._predict(rows), self._quarters)

    def _predict(self, rows: np.ndarray) -> np.ndarray:
        """From the first stretch on that has a unit whose row is not off: what comes before is the reference's."""
        changed = np.flatnonzero((rows != self.off).any(axis=1))
        values = self._known
        if changed.size:
            begin = min(self._stretches.begins[number] for number in changed)
            values = self._stretches.run(self._inputs | {"units": rows}, begin, self._known)
        return values[self._stretches.outputs[0]].astype(np.float64)


def noise_to_signal(reference: np.ndarray, found: np.ndarray, quarters: np.ndarray) -> np.ndarray:
    """Energy of the difference over that of the reference, one value for each quarter of the schedule that has points.

    Its mean is what a search lessens: every quarter weighs the same, whatever its signal.
    """
    axes = tuple(range(1, reference.ndim))
    noise, signal = ((reference - found) ** 2).sum(axes), (reference**2).sum(axes)
    present = sorted(set(quarters.tolist()))
    return np.array([noise[quarters == one].sum() / signal[quarters == one].sum() for one in present])


def row(low: float, high: float, *, smooth: bool = False, dynamic: bool = False) -> np.ndarray:
    """A unit's row: quantized from `low` to `high`, of what is left after scaling by channel where `smooth`.

    Where it is `dynamic` each token or picture fills a range of that shape; of several quantizers each has its own.
    """
    low, high = units.through_zero(low, high)
    return np.array([low, (high - low) / (units.LEVELS - 1), 1, smooth, dynamic], np.float32)


def seen(count: int) -> int:
    """How many of `count` samples ranges are to be judged by: the rest, of other prompts, shows what they cut off."""
    return max(1, count - math.ceil(UNSEEN * count)) if count > 1 else 0


def points(samples: Iterable[dict[str, np.ndarray]], macs: int) -> tuple[dict[str, np.ndarray], int]:
    """One batch of crops, as many from each quarter of the schedule, its ends among them; and how many samples stand
    before all that they are of, those that are `seen`. `macs`: of a whole sample's forward."""
    first, timesteps = next(iter(samples)), _timesteps(samples)
    known = seen(len(timesteps))
    count = how_many(macs * _share(first, SIDE), WORK, POINTS, MOST_POINTS)
    rows = 1 if len(timesteps) - known >= count else len(first["sample"])
    chosen = {known + place for place in _stratified(timesteps[known:], count)}
    crops = _crops(samples, chosen, SIDE, rows)
    shapes = Counter(crop["sample"].shape for crop in crops)
    usual = shapes.most_common(1)[0][0]  # other sizes of calibration cannot stand in one batch
    return _joined([crop for crop in crops if crop["sample"].shape == usual]), known


def batches(samples: Iterable[dict[str, np.ndarray]], macs: int) -> list[dict[str, np.ndarray]]:
    """Larger crops, of conditional and unconditional rows alike, in batches, for what is asked once."""
    first, timesteps = next(iter(samples)), _timesteps(samples)
    rows = len(first["sample"])
    count = how_many(rows * macs * _share(first, WIDE), MOST_WORK, POINTS, MOST_SAMPLES)
    found: list[list[dict[str, np.ndarray]]] = []
    for crop in _crops(samples, set(_stratified(timesteps, count)), WIDE, rows):
        if not found or len(found[-1]) == BATCH or found[-1][0]["sample"].shape != crop["sample"].shape:
            found.append([])
        found[-1].append(crop)
    return [_joined(crops) for crops in found]


def _timesteps(samples: Iterable[dict[str, np.ndarray]]) -> list[float]:
    return [float(np.ravel(sample["timestep"])[0]) for sample in samples]


def _crops(
    samples: Iterable[dict[str, np.ndarray]], chosen: set[int], side: int, rows: int
) -> list[dict[str, np.ndarray]]:
    """The middle of the samples with these numbers. Of conditional and unconditional rows so many; if not all, they
    take turns."""
    return [
        _crop(sample, number + row, side)
        for number, sample in enumerate(samples)
        if number in chosen
        for row in range(rows)
    ]


def _joined(crops: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([crop[name] for crop in crops]) for name in crops[0]}


def how_many(macs: float, work: float, least: int, most: int) -> int:
    """Points of so many multiply-accumulates each, that make up `work`."""
    return int(min(most, max(least, work // max(macs, 1))))


def _share(sample: dict[str, np.ndarray], side: int) -> float:
    """What part of a sample's work one of its crops is: fewer rows, fewer positions."""
    rows, _, height, width = sample["sample"].shape
    return min(1.0, side / height) * min(1.0, side / width) / rows


def _stratified(timesteps: list[float], count: int) -> list[int]:
    """Positions of `count` timesteps, as many of each quarter, evenly spread from its lowest to its highest one.

    >>> _stratified([999.0, 1.0, 600.0, 240.0, 120.0], 4)
    [0, 1, 2, 3]
    """
    order = sorted(range(len(timesteps)), key=lambda number: timesteps[number])
    quarters: dict[int, list[int]] = {}
    for number in order:
        quarters.setdefault(quarter(timesteps[number]), []).append(number)
    chosen: set[int] = set()
    for mine in quarters.values():
        wanted = min(len(mine), max(1, count // len(quarters)))
        chosen.update(mine[place] for place in np.linspace(0, len(mine) - 1, wanted).round().astype(int))
    return sorted(chosen)


def _crop(sample: dict[str, np.ndarray], row: int, side: int) -> dict[str, np.ndarray]:
    latent = sample["sample"]
    line = row % len(latent)
    top, left = (max(0, (whole - side) // 2) for whole in latent.shape[2:])
    cut = {name: value[line : line + 1] for name, value in sample.items() if value.ndim}
    cut["sample"] = latent[line : line + 1, :, top : top + side, left : left + side]
    return cut | {"timestep": np.ravel(sample["timestep"])[:1].astype(np.float32)}


def _make_switchable(model: ov.Model, found: list[Unit], scales: dict[str, np.ndarray]) -> list[ov.Node]:
    """Put arithmetic in the place of every quantizer; `scales`: by unit's name, where it can be scaled by channel. What
    first reads each unit's row is returned."""
    from openvino import opset13 as ops

    table = ops.parameter([len(found), len(COLUMNS)], np.float32, name="units")
    table.output(0).set_names({"units"})
    nodes, lines = units.named(model), []
    for number, unit in enumerate(found):
        line = ops.gather(table, ops.constant(np.array([number])), ops.constant(0))
        lines.append(line)
        values = [ops.slice(line, [c], [c + 1], [1], [1]) for c in range(len(COLUMNS))]
        values = [ops.reshape(value, ops.constant(np.array([1])), False) for value in values]
        for name in unit.quantizers:
            quantizer = nodes[name]
            targets = list(quantizer.output(0).get_target_inputs())
            own = values if len(unit.quantizers) == 1 else [*_own_range(quantizer), *values[2:]]
            result = _arithmetic(quantizer.input_value(0), unit, own, scales.get(unit.name))
            for target in targets:
                target.replace_source_output(result.output(0))
    model.add_parameters([table])
    model.validate_nodes_and_infer_types()
    return lines


def _own_range(quantizer: ov.Node) -> list[Any]:
    """Low and step of one of several quantizers, whose ranges differ and stay as they are."""
    from openvino import opset13 as ops

    low, step = row(*units.range_of(quantizer))[:2]
    return [ops.constant(np.array([value], np.float32)) for value in (low, step)]


def _arithmetic(x: ov.Output, unit: Unit, values: list[Any], scale: np.ndarray | None) -> Any:
    """x, and where it is switched on its quantized self: f (low + step round((x / f - low) / step))."""
    from openvino import opset13 as ops

    low, step, on, smooth, dynamic = values
    one, factor, inner = ops.constant(np.float32(1)), None, x
    if scale is not None:
        beyond = ops.constant(units.along(scale - 1, unit.axis, x.get_partial_shape().rank.get_length()))
        factor = ops.add(one, ops.multiply(smooth, beyond))
        inner = ops.divide(x, factor).output(0)
    if unit.direct:  # the switch picks between the range given and one of its shape that each token or picture fills
        high = ops.add(low, ops.multiply(step, ops.constant(np.float32(units.LEVELS - 1))))
        gain = units.gain(inner, low, high, unit, unit.axis)
        gain = ops.add(ops.subtract(one, dynamic), ops.multiply(dynamic, gain))
        low, step = ops.multiply(low, gain), ops.multiply(step, gain)
    result = _rounded(inner, low, step)
    result = result if factor is None else ops.multiply(result, factor)
    return ops.add(x, ops.multiply(on, ops.subtract(result, x)))


def _rounded(x: Any, low: Any, step: Any) -> Any:
    from openvino import opset13 as ops

    place = ops.round(ops.divide(ops.subtract(x, low), step), "half_to_even")
    return ops.add(ops.multiply(ops.clamp(place, 0.0, float(units.LEVELS - 1)), step), low)
