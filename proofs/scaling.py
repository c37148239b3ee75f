"""On paper: how long a cluster draws the pictures that MLPerf Inference asks for, of six systems in two precisions.

Consumes measured steps (proofs/results/steps.json), the models' own settings in conf/model and the plan's costs;
produces tables of proofs/cluster.md. A node is the machine that was measured: 2 cores with AMX. Measures nothing.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stages.machine import sizes
from stages.machine.costs import costs

PROMPTS = 5_000
SYSTEMS = ("sdxl", "sdxl-refiner", "ssd-1b", "lcm-ssd-1b", "vega", "vegart")
NODES = (1, 4, 16, 64, 256, 1024)
MEASURED = {"sdxl": "sdxl", "sdxl-refiner": "sdxl-refiner", "ssd-1b": "ssd-1b", "lcm-ssd-1b": "ssd-1b", "vega": "vega"}
RATES = {
    "int8": ("default", "openvino int8"),
    "fp16": ("default", "openvino fp16"),
    "f32": ("f32", "openvino-f32 fp16"),
}
LINK_GB_S = 1.25  # of the asking machine: 10 Gbit/s
HELD = 2  # items that a worker may hold when the others have none left
NODE_HOUR = 0.20  # USD, assumed: that of 2 cores and 16 GB in a public cloud; no price list was read


@dataclass(frozen=True)
class System:
    """What drawing one picture takes: `steps` of its own UNet, `before` of its base's, rows of each, pixels."""

    architecture: str
    steps: int
    before: int
    rows: int
    pixels: int


def system(name: str) -> System:
    """As conf/model has it; SDXL in the 20 steps of experiment=mlperf."""
    model = yaml.safe_load(Path(f"conf/model/{name}.yaml").read_text(encoding="utf-8"))[name]
    sampler, share = model["sampler"], model["sampler"]["high_noise_fraction"] or 0.0
    steps = 20 if name == "sdxl" else sampler["steps"]
    before = round(steps * share)
    architecture = model["source"]["architecture"]
    embeds = sizes.of_architecture(architecture)["unet"].embeds_guidance
    rows = 2 if sampler["guidance"] > 1 and not embeds else 1
    return System(architecture, steps - before, before, rows, sampler["width"] * sampler["height"])


def picture_s(one: System, precision: str, found: dict[str, Any]) -> float:
    """Seconds of one node: UNet steps in `precision`, a base's and decoding as the FP16 IR runs."""
    own = one.steps * _step_gop(one.architecture, one) / gops(found, one.architecture, precision)
    base = one.before * _step_gop("sdxl", one) / gops(found, "sdxl", "fp16") if one.before else 0.0
    decode = 2 * costs()["vae_gmacs"] * one.pixels / 1e6
    return own + base + decode / gops(found, one.architecture, "f32" if precision == "f32" else "fp16")


def gops(found: dict[str, Any], architecture: str, precision: str) -> float:
    """Giga-operations per second that the architecture's UNet reached."""
    entry = found["models"][f"synthetic-{MEASURED[architecture]}"]
    pair, name = RATES[precision]
    return entry["gop"] / statistics.median(entry["pairs"][pair][name])


def wall_s(each_s: float, count: int, nodes: int, gigabytes: float, billions: float) -> float:
    """Seconds of one map: the IR sent to every node over one link, loaded, the pictures, and what the last worker holds
    while the others have nothing left. `billions` of UNet parameters.

    >>> round(wall_s(10.0, count=1000, nodes=10, gigabytes=0.0, billions=0.0) - costs()["process_s"])
    1010
    """
    sent = gigabytes * (nodes - 1) / LINK_GB_S
    ready = costs()["process_s"] + costs()["load_s"] * billions
    return sent + ready + math.ceil(count / nodes) * each_s + (HELD - 1) * each_s * (nodes > 1)


def scaled(found: dict[str, Any]) -> list[list[str]]:
    """Rows by number of nodes: wall time of all pictures, node hours, how much of a node draws, and what it costs."""
    work = [(system(name), precision) for name in SYSTEMS for precision in ("fp16", "int8")]
    drawn_s = sum(PROMPTS * picture_s(*one, found) for one in work)
    rows = [["nodes", "wall", "of it sending IR", "node hours", "drawing", "USD"]]
    for nodes in NODES:
        whole = sum(wall_s(picture_s(*one, found), PROMPTS, nodes, *_size(*one)) for one in work)
        sent = sum(_size(*one)[0] * (nodes - 1) / LINK_GB_S for one in work)
        hours = nodes * whole / 3600
        share, price = 100 * drawn_s / (nodes * whole), hours * NODE_HOUR
        rows.append([f"{nodes:,}", _long(whole), _long(sent), f"{hours:,.0f}", f"{share:.0f} %", f"{price:,.0f}"])
    return rows


def systems(found: dict[str, Any]) -> list[list[str]]:
    """Rows by system: seconds of a picture on one node, hours of all, in each precision and by the reference."""
    rows = [["", "UNet steps", "FP16", "INT8", "float32", "node hours FP16 + INT8", "float32 besides"]]
    for name in SYSTEMS:
        one = system(name)
        each = [picture_s(one, precision, found) for precision in ("fp16", "int8", "f32")]
        hours = [PROMPTS * value / 3600 for value in (each[0] + each[1], each[2])]
        steps = f"{one.before} + {one.steps}" if one.before else str(one.steps)
        rows.append([name, steps, *(f"{value:.0f} s" for value in each), *(f"{value:,.0f}" for value in hours)])
    return rows


def _step_gop(architecture: str, one: System) -> float:
    """Giga-operations of a step: a multiply-add is two."""
    return 2 * sizes.unet_gmacs(sizes.of_architecture(architecture)["unet"], one.pixels, one.rows)


def _size(one: System, precision: str) -> tuple[float, float]:
    """GB of an IR folder, and billions of parameters of its UNet."""
    counts = {part: size.parameters / 1e9 for part, size in sizes.of_architecture(one.architecture).items()}
    bytes_of_unet = 1 if precision == "int8" else 2
    return 2 * sum(counts.values()) - (2 - bytes_of_unet) * counts["unet"], counts["unet"]


def _long(seconds: float) -> str:
    """`3.1 days`, `14 h`, `25 min`"""
    hours = seconds / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{seconds / 60:.0f} min"
