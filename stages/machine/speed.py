"""Seconds that a UNet step and decoding take here, foretold from their work and the processor's nominal peak.

Consumes sizes of components, a `Request` and costs.yaml; produces seconds. Measures nothing.
"""

from __future__ import annotations

from stages.machine import description
from stages.machine.costs import costs
from stages.machine.memory import FP16, INT8, Request, batch_of
from stages.machine.sizes import Size, unet_gmacs

UNKNOWN_GOPS = 100.0  # of a processor that does not tell what it can do


def step_s(size: Size, asked: Request, stored: str = FP16) -> float:
    """Seconds of one UNet step."""
    floats = "f32" if asked.floats == "f32" else "bf16"
    return 2 * unet_gmacs(size, asked.pixels, batch_of(size, asked)) / gops("int8" if stored == INT8 else floats)


def statistics_s(size: Size, asked: Request, stored: str = FP16) -> float:
    """Seconds to collect the ranges of one sample: of a step, and of the extremes of all that it computes."""
    work = unet_gmacs(size, asked.pixels, batch_of(size, asked))
    return step_s(size, asked, stored) + costs()["statistics_gmac_s"] * work


def decode_s(asked: Request) -> float:
    return 2 * costs()["vae_gmacs"] * asked.pixels / 1e6 / gops("f32" if asked.floats == "f32" else "bf16")


def gops(precision: str) -> float:
    """Giga-operations per second that a UNet reaches here in f32, bf16 or int8."""
    peak, widest = description.nominal_gops().get(precision), description.widest(precision)
    shares = costs()["efficiency"] | costs()["efficiency_by_vendor"].get(description.vendor(), {})
    return peak * shares[widest] if peak and widest else UNKNOWN_GOPS
