"""The first screen: one sentence, where its figures come from, what stands behind them, and how to use the model shown.

Consumes results and the figures at true size; produces text. Says of speed what was measured at true size: miniatures
are mostly overhead. Measures nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from stages.files import layout
from stages.report import true_size, words
from stages.report.results import BEFORE, Result
from stages.report.summary import HARDLY_VISIBLE_DB

HALF = (1.9, 2.1)  # times smaller: half the size, in a headline


@dataclass(frozen=True)
class Gains:
    """Times smaller and times the speed of a step, of each model; whether no interval reaches down to 1."""

    sizes: list[float]
    speeds: list[float]
    surely: bool
    where: str


@dataclass(frozen=True)
class Snippet:
    title: str
    code: str


def sentence(found: list[Result], figures: dict[str, Any] | None) -> str:
    """`SDXL models at half the size, 1.62–2.07× as fast, in pictures hardly to be told apart.`"""
    known = gains(found, figures)
    said = [smaller(known.sizes)] if known.sizes else []
    said += [f"{words.span(known.speeds)} {'as fast' if known.surely else 'the speed'}"] if known.speeds else []
    said += [told] if (told := likeness(found)) else []
    return f"SDXL models {', '.join(said)}." if said else "SDXL models as OpenVINO IR."


def gains(found: list[Result], figures: dict[str, Any] | None) -> Gains:
    """Of the models that were measured, or, where these are miniatures, of the true size."""
    if figures and all(result.family == "mini" for result in found):
        rows = figures["rows"]
        pairs = [(row[BEFORE]["unet_mb"], row[true_size.quantized(row)]["unet_mb"]) for row in rows]
        speeds = [row["speedup_step"] for row in rows]
        surely = all(speed["low"] > 1 for speed in speeds)
        where = true_size.machine(figures)
        return Gains([a / b for a, b in pairs], [speed["ratio"] for speed in speeds], surely, where)
    known = [result for result in found if not result.lacks(result.after)]
    sizes = [size for result in known if (size := result.smaller())]
    rows = [
        (ratio, result.figure(result.after, "speedup_step", "low") or ratio)
        for result in known
        if (ratio := result.figure(result.after, "speedup_step", "ratio"))
    ]
    return Gains(sizes, [ratio for ratio, _ in rows], all(low > 1 for _, low in rows), "")


def true_size_in_a_sentence(figures: dict[str, Any] | None) -> str:
    """`At true size INT8 is half the size, a UNet step 1.62–2.07× as fast (2 cores of …, 512 pixels).`"""
    if not figures:
        return ""
    known = gains([], figures)
    size, speed = smaller(known.sizes).removeprefix("at "), words.span(known.speeds)
    verb = "as fast as" if known.surely else "the speed of"
    return f"At true size INT8 is {size}, a UNet step {speed} {verb} FP16's ({known.where})."


def smaller(sizes: list[float]) -> str:
    half = all(HALF[0] <= size <= HALF[1] for size in sizes)
    return "at half the size" if half else f"{words.span(sizes)} smaller"


def likeness(found: list[Result]) -> str:
    psnrs = [psnr for result in found if (psnr := result.figure(result.after, "psnr_db")) is not None]
    if not psnrs:
        return ""
    if min(psnrs) >= HARDLY_VISIBLE_DB:
        return "in pictures hardly to be told apart"
    return f"in pictures that keep {min(psnrs):.0f} dB PSNR"


def lead(found: list[Result], figures: dict[str, Any] | None, machine: dict[str, Any]) -> str:
    """What was compared, and on what."""
    after, own = found[0].after.upper(), f"{machine.get('cpu') or 'one machine'}{cores(machine)}"
    plural = "s" if len(found) > 1 else ""
    if figures and all(result.family == "mini" for result in found):
        return (
            f"FP16 against {after}, without a GPU. Size and speed are the models' at true size, with random weights, "
            f"on {true_size.machine(figures)}; pictures and fidelity are of {count(len(found))} miniature{plural} of "
            f"the same architectures, trained for it, drawn on {own}."
        )
    models = f"{count(len(found))} model{plural}".capitalize()
    return f"{models} of the SDXL family as OpenVINO IR, FP16 against {after}, drawn and measured on {own}."


def cores(machine: dict[str, Any]) -> str:
    number = machine.get("cores")
    return f" with {number} core{'s' if number > 1 else ''}" if number else ""


def count(number: int) -> str:
    return {1: "one", 2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}.get(number, str(number))


def facts(found: list[Result]) -> list[tuple[str, str]]:
    """Scheme, sizes, memory, date, commit, command: what a figure is worth nothing without."""
    after = found[0].after
    measured = [result.record.get("measured") or {} for result in found if not result.missing]
    dates = sorted({one["date"] for one in measured if one.get("date")})
    commits = sorted({one["commit"] for one in measured if one.get("commit")})
    sizes = ranges([result.figure(after, "total_size_mb") for result in found])
    memory = ranges([result.figure(after, "peak_rss_mb") for result in found])
    what = "a miniature" if all(result.family == "mini" for result in found) else "a model"
    known = {
        "scheme": after,
        f"{what} on disk": sizes,
        "its memory": memory,
        "measured": " to ".join(dict.fromkeys((dates[0], dates[-1]))) if dates else None,
        "commit": ", ".join(commits),
        "command": "make repro",
    }
    return [(name, value) for name, value in known.items() if value]


def ranges(values: list[float | None]) -> str | None:
    """`7.38–15.2 MB`"""
    known = [value for value in values if value is not None]
    if not known:
        return None
    unit, factor = ("MB", 1.0) if max(known) < 1000 else ("GB", 1e-3)
    low, high = (words.number(value * factor) for value in (min(known), max(known)))
    return f"{low} {unit}" if low == high else f"{low}–{high} {unit}"


def project(found: list[Result]) -> str | None:
    """Where the code is, as the checkout that measured says; None where it names no page."""
    known = [(result.record.get("measured") or {}).get("project") for result in found]
    return next((address for address in known if address), None)


def snippets(result: Result, where: str | None) -> list[Snippet]:
    """The model shown, in three lines of three programs; a refiner only where it can be loaded."""
    folder, asked = layout.ir(result.key, result.after), result.record
    size = f"width={asked.get('width_px')}, height={asked.get('height_px')}"
    how = f"num_inference_steps={asked.get('steps')}, guidance_scale={asked.get('guidance')}"
    prompt = next((take.prompt for take in result.pictures), "a red apple")
    genai = ("import openvino_genai", f'pipe = openvino_genai.Text2ImagePipeline("{folder}", "CPU")',
             f"picture = pipe.generate({prompt!r},", f"    {size},", f"    {how}).data[0]")  # fmt: skip
    optimum = ("from optimum.intel import OVStableDiffusionXLPipeline",
               f'pipe = OVStableDiffusionXLPipeline.from_pretrained("{folder}")',
               f"picture = pipe({prompt!r},", f"    {size},", f"    {how}).images[0]")  # fmt: skip
    dvc = (f"dvc get {where or 'PROJECT'} {folder}",)
    dvc += () if where else ("# PROJECT: address or folder of this repository",)
    named = {"openvino.genai": genai, "optimum-intel": optimum, "dvc get": dvc}
    return [Snippet(title, "\n".join(lines)) for title, lines in named.items()]
