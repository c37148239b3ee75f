"""Proof by work: the share of a UNet's multiply-accumulates that its compiled form executes in INT8.

Consumes the layers that stages.ir.work finds, and the quantization scheme that made the IR; produces the entries
`macs` and `layers` of a record, an error where a scheme that promises INT8 delivers none, and a sentence where it
delivers little. Counting quantizers proves nothing: a layer behind one may run in float all the same.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.ir import runtime, work
from stages.machine import description
from stages.settings.schema import NEEDS_SAMPLES

if TYPE_CHECKING:
    import openvino as ov

NONE, ENOUGH = 0.01, 0.80  # shares of what a scheme promises: below is an error, below is doubted
CONVOLUTIONS = ("Convolution", "GroupConvolution")
PROMISED = {"hybrid": CONVOLUTIONS}  # layers whose activations a scheme quantizes, where it does not do so to all
VNNI = {"avx_vnni", "avx512_vnni"}  # instruction sets without which the CPU plugin quantizes nothing while it runs


def proof(model: ov.Model, compiled: ov.CompiledModel, point: dict[str, np.ndarray]) -> dict[str, Any]:
    """`macs` and `layers` of a UNet's IR and its compiled form, which has run with the inputs `point`."""
    shapes = {name: array.shape for name, array in point.items()}
    layers = work.layers(model, compiled, shapes, dynamic_group(compiled))
    total, int8 = work.total(layers), work.int8(layers)
    return {
        "macs": {"total": total, "int8": int8, "share_int8": round(int8 / total, 4)},
        "layers": [dataclasses.asdict(layer) for layer in layers],
    }


def dynamic_group(compiled: ov.CompiledModel) -> int:
    """Channels of activations that are quantized at a time while a model runs; 0 where this machine does not."""
    properties = runtime.effective_properties(compiled)
    vnni = not VNNI.isdisjoint(description.instruction_sets())
    return int(properties.get("DYNAMIC_QUANTIZATION_GROUP_SIZE", 0)) if vnni else 0


def promised_share(row: dict[str, Any], scheme: str | None) -> float | None:
    """0 to 1: the share in INT8 of the work that `scheme` quantizes; None where it promises none, or was not run."""
    if scheme not in NEEDS_SAMPLES or not row.get("layers"):
        return None
    kinds = PROMISED.get(scheme)
    layers = [work.Layer(**layer) for layer in row["layers"] if not kinds or layer["type"] in kinds]
    return work.int8(layers) / work.total(layers) if layers else None


def require_int8(row: dict[str, Any], model: str, precision: str, scheme: str | None) -> None:
    """ValueError where next to nothing of what the scheme promises runs in INT8: there is nothing to measure then."""
    share = promised_share(row, scheme)
    if share is not None and share < NONE:
        raise ValueError(
            f"{model} {precision}: {100 * share:.1f} % of {what(scheme)} run in INT8{unfound(row)}, though scheme "
            f"{scheme} quantizes their activations: run 'dvc repro -f -s quantize@{model}', or measure on a device "
            "that computes in INT8"
        )


def doubt(row: dict[str, Any], precision: str, scheme: str | None) -> str | None:
    """A sentence where less of the promised work than ENOUGH runs in INT8."""
    share = promised_share(row, scheme)
    if share is None or share >= ENOUGH:
        return None
    return (
        f"only {100 * share:.0f} % of {what(scheme)} run in INT8 where {precision} promises them "
        f"(at least {100 * ENOUGH:.0f} % are expected){unfound(row)}: look at its layers"
    )


def what(scheme: str | None) -> str:
    whose = "the convolutions' " if PROMISED.get(scheme or "") == CONVOLUTIONS else "the UNet's "
    return f"{whose}multiply-accumulates"


def unfound(row: dict[str, Any]) -> str:
    """A remark where part of the work could not be found in the compiled model, and counts as float."""
    macs = sum(layer["macs"] for layer in row["layers"] if layer["kernel"] == work.NOT_FOUND)
    return f" ({100 * macs / row['macs']['total']:.0f} % were not found in the compiled model)" if macs else ""
