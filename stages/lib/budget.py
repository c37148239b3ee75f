"""What a stage will need of this machine (memory, disk, seconds), foretold before it starts.

Consumes sizes of components, what a picture asks of them and stages/data/costs.yaml; corrected by what the same stage
took here before (stages.lib.usage). Refuses what cannot work, with the reason. Measures nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.lib import machine
from stages.lib.sizes import Size, Sizes, total, unet_gmacs

COSTS = Path(__file__).parents[1] / "data" / "costs.yaml"
FP16, INT8, INT8_WEIGHTS = "fp16", "int8", "int8-weights"  # what a UNet is stored as
FLOAT_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
SHARE = 0.9  # of a machine's memory that one job may plan with: the system wants some
UNKNOWN_GOPS = 100.0  # of a processor that does not tell what it can do
UNPACKED_BYTES = 4
TOKENS, EMBEDDING, LATENT_PX = 77, 2048, 8  # of what a UNet is given, at the most
TILE_PX, OVERLAP_PX = 512, 128  # half of what SDXL was trained on: smaller tiles shift tones


@dataclass(frozen=True)
class Need:
    """GB of memory and of disk (1e9 bytes), and seconds; None where they depend on something outside.

    `takes_more`: the memory is the least that it works with; it takes what is there to load parts less often.
    """

    memory_gb: float
    disk_gb: float
    seconds: float | None
    takes_more: bool = False

    def __add__(self, other: Need) -> Need:
        seconds = None if self.seconds is None or other.seconds is None else self.seconds + other.seconds
        return Need(max(self.memory_gb, other.memory_gb), self.disk_gb + other.disk_gb, seconds)


@dataclass(frozen=True)
class Request:
    """What drawing asks of the parts: a picture's side in pixels, the UNet's batch, how floats are computed, and
    whether pictures are decoded in tiles."""

    size_px: int
    batch: int
    floats: str  # f32, bf16 or f16
    tiles: bool = False

    @property
    def pixels(self) -> int:
        return self.size_px**2


def request(sampler: Any, device: Any) -> Request:
    """Guidance doubles the UNet's batch (but see `batch_of`)."""
    whole = Request(sampler.size, 2 if sampler.guidance > 1 else 1, floats(device))
    short = decoding_gb(whole) > SHARE * machine.memory_gb()
    return replace(whole, tiles=device.decode == "tiles" or (device.decode == "auto" and short))


def batch_of(unet: Size, asked: Request) -> int:
    return 1 if unet.embeds_guidance else asked.batch


def floats(device: Any) -> str:
    """The precision that OpenVINO computes floats in: as the settings say, else the processor's fastest."""
    if device.inference_precision != "default":
        return device.inference_precision
    return "bf16" if device.name == "CPU" and machine.widest("bf16") else "f32" if device.name == "CPU" else "f16"


# --- memory -------------------------------------------------------------------------------------------------------


def part_gb(part: str, size: Size, asked: Request, stored: str = FP16) -> float:
    """GB that one compiled part takes while it runs: its weights as they are laid out, and room to work."""
    billions, wide = size.parameters / 1e9, FLOAT_BYTES[asked.floats]
    batch = batch_of(size, asked) if part == "unet" else 1
    pixels = min(asked.pixels, TILE_PX**2) if asked.tiles and part == "vae_decoder" else asked.pixels
    working = costs()["working_gb"][part] * pixels / 1e6 * batch * wide
    if part != "unet" or stored == FP16:
        return billions * wide + working
    if stored == INT8:
        return billions * costs()["int8_gb"] + working
    convolution = size.convolution / 1e9
    return billions + convolution * (UNPACKED_BYTES + wide - 1) + working


def parts_gb(sizes: Sizes, asked: Request, stored: str = FP16) -> dict[str, float]:
    """GB of every part of a pipeline; the VAE's two halves apart."""
    found = {}
    for folder, size in sizes.items():
        for part in ("vae_decoder", "vae_encoder") if folder == "vae" else (folder,):
            half = replace(size, parameters=size.parameters // 2) if folder == "vae" else size
            found[part] = part_gb(part, half, asked, stored)
    return found


def decoding_gb(asked: Request) -> float:
    """GB of a process that decodes one picture, but for the VAE's weights, which are small."""
    return costs()["process_gb"] + part_gb("vae_decoder", Size(0, 0), asked)


def in_turn_gb(sizes: Sizes, asked: Request, stored: str = FP16) -> float:
    """GB of a process that draws with one part in memory at a time."""
    return costs()["process_gb"] + max(parts_gb(sizes, asked, stored).values())


def together_gb(sizes: Sizes, asked: Request, stored: str = FP16) -> float:
    """GB of a process that draws with all parts in memory."""
    return costs()["process_gb"] + sum(parts_gb(sizes, asked, stored).values())


def room_gb() -> float:
    """GB for compiled parts in this process: what is free now, but for a reserve."""
    return max(0.0, SHARE * machine.available_memory_gb() - costs()["process_gb"] / 2)


def recording_unet(choice: str, sizes: Sizes, asked: Request) -> str:
    """The UNet that calibration inputs are recorded with: `auto` is FP16 where this machine's memory holds it."""
    if choice != "auto":
        return choice
    return FP16 if in_turn_gb(sizes, asked) <= SHARE * machine.memory_gb() else INT8_WEIGHTS


# --- time ---------------------------------------------------------------------------------------------------------


def step_s(size: Size, asked: Request, stored: str = FP16) -> float:
    """Seconds of one UNet step."""
    floats = "f32" if asked.floats == "f32" else "bf16"
    return 2 * unet_gmacs(size, asked.pixels, batch_of(size, asked)) / gops("int8" if stored == INT8 else floats)


def decode_s(asked: Request) -> float:
    return 2 * costs()["vae_gmacs"] * asked.pixels / 1e6 / gops("f32" if asked.floats == "f32" else "bf16")


def gops(precision: str) -> float:
    """Giga-operations per second that a UNet reaches here in f32, bf16 or int8."""
    peak, widest = machine.nominal_gops().get(precision), machine.widest(precision)
    return peak * costs()["efficiency"][widest] if peak and widest else UNKNOWN_GOPS


# --- stages -------------------------------------------------------------------------------------------------------


def download(sizes: Sizes, kind: str) -> Need:
    billions, known = total(sizes) / 1e9, costs()
    seconds = {"synthetic": known["process_s"] + known["synthetic_s"] * billions, "local": known["process_s"]}
    return Need(known["process_gb"], 2 * billions, seconds.get(kind))


def export(sizes: Sizes) -> Need:
    billions, known = total(sizes) / 1e9, costs()
    memory = known["process_gb"] + UNPACKED_BYTES * known["export_share"] * sizes["unet"].convolution / 1e9
    return Need(memory, 2 * billions, known["process_s"] + known["export_s"] * billions)


def calibrate(
    sizes: Sizes, asked: Request, unet: str, prompts: int, steps: int, kept: int, base: Sizes | None = None
) -> Need:
    """Draws `prompts` in `steps` and keeps so many of each one's inputs; `base`: sizes of the base that a refiner works
    with, which draws first."""
    drawing = [sizes] if base is None else [base, sizes]
    memory = max(in_turn_gb(one, asked, unet) for one in drawing)
    known, seconds = costs(), 0.0
    for one in drawing:
        billions = one["unet"].parameters / 1e9
        preparing = known["load_s"] + (known["compress_s"] if unet == INT8_WEIGHTS else 0.0)
        seconds += billions * preparing + prompts * steps * step_s(one["unet"], asked, unet)
    sample_gb = batch_of(sizes["unet"], asked) * (TOKENS * EMBEDDING + 4 * asked.pixels / LATENT_PX**2) * 4 / 1e9
    light = sum(one["unet"].parameters for one in drawing) / 1e9 if unet == INT8_WEIGHTS else 0.0
    return Need(memory, light + prompts * min(steps, kept) * sample_gb, known["process_s"] + seconds, takes_more=True)


def compress(sizes: Sizes) -> Need:
    """Weights alone, without data."""
    billions, known = sizes["unet"].parameters / 1e9, costs()
    seconds = known["process_s"] + known["compress_s"] * billions
    return Need(known["process_gb"] + known["compress_gb"] * billions, 2 * billions, seconds)


def quantize(sizes: Sizes, asked: Request, samples: int, scheme: str = "weights_first") -> Need:
    """Weights first, then ranges of `samples` inputs in float32, with float convolutions; the notebooks' scheme takes
    all at once."""
    exact, unet, known = replace(asked, floats="f32"), sizes["unet"], costs()
    billions = unet.parameters / 1e9
    linear, wide = unet.parameters - unet.convolution, FLOAT_BYTES[exact.floats]
    memory = known["process_gb"] + (linear + wide * unet.convolution) / 1e9 + part_gb("unet", Size(0, 0), exact)
    if scheme == "notebook":
        memory = known["process_gb"] + known["notebook_gb"] * billions
    seconds = billions * (known["compress_s"] + known["insert_s"])
    seconds += samples * known["statistics"] * step_s(unet, exact)
    return Need(memory, 2 * billions, known["process_s"] + seconds)


def benchmark(sizes: Sizes, asked: Request, stored: tuple[str, ...], pictures: int, steps: int, points: int) -> Need:
    """Draws `pictures` of `steps` in each of the precisions `stored`, and runs a UNet `points` times more.

    The reference, in float32 where memory holds it, draws as many as one precision does.
    """
    known, unet = costs(), sizes["unet"]
    memory = min(in_turn_gb(sizes, asked, one) for one in stored)
    exact = replace(asked, floats="f32")
    drawn = [(asked, one) for one in stored]
    drawn += [(exact, FP16)] if in_turn_gb(sizes, exact) <= SHARE * machine.memory_gb() else [drawn[0]]
    seconds = known["process_s"] + sum(
        3 * known["load_s"] * unet.parameters / 1e9
        + pictures * (steps * step_s(unet, how, one) + 2 * decode_s(how))
        + points * step_s(unet, how, one)
        for how, one in drawn
    )
    return Need(memory, 0.05, seconds, takes_more=True)


def require(need: Need, what: str, folder: Path) -> None:
    """ValueError if this machine cannot do it: the key figure, what is there, and a way out."""
    from stages.lib import manifest

    free, whole = machine.available_memory_gb(), machine.memory_gb()
    if need.memory_gb > free:
        way = (
            "close other programs"
            if need.memory_gb <= SHARE * whole
            else "`make plan` shows which models and settings fit (sampler.size, calibration.unet=int8-weights)"
        )
        free_of = f"{free:.1f} of this machine's {whole:.1f} GB are free"
        raise ValueError(f"{what} needs {need.memory_gb:.1f} GB of memory, {free_of}: {way}")
    manifest.require_space(folder, round(need.disk_gb * 1e9))


@functools.cache
def costs() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(COSTS.read_text(encoding="utf-8"))
