"""Whether an IR's products of 8-bit integers fit this processor's sums: without VNNI and AMX they must fit 16 bits.

Consumes the facts of an IR folder's manifest; produces a sentence where it was made for other processors. Nothing
stops such an IR from running, and nothing else tells that its pictures are worse than they need be.
"""

from __future__ import annotations

from typing import Any

from stages.machine import description

FITS = 7  # bits of weights, beside activations of 8


def said(facts: dict[str, Any], device: str = "CPU") -> str | None:
    """What is wrong with running it here; None where nothing is, or no activation is quantized."""
    quantized = (facts.get("operations") or {}).get("fake_quantize")
    if not quantized or facts.get("weight_bits") == FITS or device != "CPU" or not description.sums_overflow():
        return None
    return (
        "its INT8 was made for processors with VNNI or AMX: here sums of products overflow 16 bits, which costs "
        "fidelity; quantize it on this machine (quantization.overflow_fix=auto), or take int8-weights"
    )
