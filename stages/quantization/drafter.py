"""A drafter: a UNet in INT8 out of a few evaluations of the float one, to draft further prompts in less time.

Consumes the IR folder of a float pipeline and some of its UNet's inputs, with what its layers were given and what it
predicted; produces the same folder with that UNet, tells how near it stays, and which of its operations compute what
the float one's do. Nothing is searched for: scales are found at run time wherever they can be, so that nothing of
another prompt is cut off, and what is little work stays float. What it drafts is for calibration alone; what is
shipped is quantized anew, out of all inputs.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.calibration.shards import Seen
from stages.files import pieces, placing
from stages.ir import extremes, runtime
from stages.machine import apart
from stages.quantization import geglu, probing, schemes, search, statistics, units
from stages.settings.schema import Quantization

if TYPE_CHECKING:
    import openvino as ov

    from stages.settings.schema import Device

LITTLE = 0.002  # of all work: embeddings of time, the layers at the ends
NEAR_DB = 15.0  # what must be kept of the float UNet's predictions, wherever it is looked at
UNET = Path("unet/openvino_model.xml")
SCHEME = Quantization(
    name="drafter", scheme="weights_first", samples=0, weights="int8_sym", group_size=-1, ratio=1.0,
    ignored_patterns=[], ignored_types=[], attention="auto", ranges="minmax", search=None, rounding="nearest",
    overflow_fix="auto", smooth_quant=False, bias_correction=False,
)  # fmt: skip


@dataclass(frozen=True)
class Drafter:
    """`near_db`: the least that its predictions keep of the float ones that were seen; `taps`: by the float UNet's
    operation, the one that computes the same here, for extremes of what layers are given."""

    near_db: float
    taps: dict[str, str]


def pipeline(source: Path, target: Path, seen: Path, device: Device) -> Drafter:
    """The pipeline in `source` with such a UNet, all else linked, as `target`; kept if it is there. `seen`: a folder
    for stages.calibration.shards.Seen."""
    about = target.with_name(f"{target.name}.json")
    if not (pieces.is_there(target) and pieces.is_there(about)):
        with placing.passing(target.with_name(f"{target.name}-making")) as work:
            with schemes.another_unet(source, target) as unet:
                made = apart.run("making a drafter", _make, source / UNET, unet, seen, device, work)
        pieces.note(target)
        placing.write_text(about, json.dumps(asdict(made)))
        pieces.note(about)
    return Drafter(**json.loads(about.read_text(encoding="utf-8")))


def _make(source: Path, target: Path, seen: Path, device: Device, work: Path) -> Drafter:
    samples = Seen(seen)
    settings = schemes.settled(replace(SCHEME, samples=len(samples)))
    target.parent.mkdir(parents=True, exist_ok=True)
    with schemes.quiet():
        model = schemes.every_layer(source, settings, samples, work)
        before, channels = runtime.read(source), statistics.channels(work / statistics.RANGES)
        search.apply(model, before, channels, _table(model, before, channels, schemes.macs(source, samples)))
        geglu.split(model)
        schemes.save(model, target)
    return Drafter(_nearness(target, samples, device), _taps(model, samples))


def _table(
    model: ov.Model, before: ov.Model, channels: dict[str, statistics.Channels], macs: dict[str, int]
) -> dict[str, Any]:
    """Scales found at run time for every unit that can have them, float for what is little work."""
    nodes, floats, little = units.named(model), units.named(before), LITTLE * sum(macs.values())
    rows = []
    for unit in units.find(model, macs):
        able = search.DYNAMIC in search.ways_of(unit, nodes, floats, channels)[0]
        way = search.FLOAT if unit.macs < little else search.DYNAMIC if able else search.STATIC
        rows.append({"unit": unit.name, "choice": way})
    return {"units": rows}


def _taps(model: ov.Model, samples: Seen) -> dict[str, str]:
    """Of a layer whose product is scaled back, what that gives: the product itself is of scaled values."""
    wanted, nodes = extremes.tapped_in(samples.extremes(0)), units.named(model)
    here = {name: units.scaled_back(name) if units.scaled_back(name) in nodes else name for name in wanted}
    return {name: one for name, one in here.items() if one in nodes}


def _nearness(xml: Path, samples: Seen, device: Device) -> float:
    """The least dB at the first and at the last input that was seen: in noise, and near the picture."""
    request, found = runtime.compile(xml, device).create_infer_request(), []
    for number in (0, len(samples) - 1):
        both = samples.answer(number), request.infer(samples.inputs(number))[0]
        wanted, predicted = (np.asarray(one, np.float64) for one in both)
        found.append(float(probing.noise_to_signal(wanted, predicted, np.zeros(len(wanted)))[0]))
    return round(float(-10 * np.log10(max(*found, 1e-12))), 1)
