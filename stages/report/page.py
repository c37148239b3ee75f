"""One page with everything: headline, pictures, comparison, plots, published figures, how it was measured.

Consumes results, grids and plots; produces HTML that requests nothing, with its style and pictures inside. What the
page says stands in page.html beside it. Reads no benchmark files, draws nothing.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from stages.report import (
    beside,
    columns,
    comparison,
    evidence,
    first,
    grids,
    panels,
    pictures,
    plots,
    results,
    summary,
    templates,
    true_size,
    verdicts,
    viewer,
    words,
)
from stages.report.pictures import Grid
from stages.report.results import BEFORE, Result
from stages.report.verdicts import Verdict

TEMPLATES = Path(__file__).parent
THUMBNAIL = 208  # pixels: twice what a wide screen shows of one
PARTS = ("text_encoders_s", "vae_decode_s")
PART_NAMES = ("text encoders", "UNet steps", "VAE decode")
LEFT_OUT = ("raw", "layers", "points")  # of the records on the page: long, and in record.json
LONGEST = 30  # entries that are shown of a list in them
ABOUT = {
    "worst": "The three prompts of each model whose pictures differ most from float32's, worst first, with their PSNR.",
    "two-stage": "The base draws with as many steps alone; hands its unfinished latents to the refiner (an ensemble of "
    "experts); or finishes, and the refiner starts anew at low strength.",
    "image-to-image": "Each model starts from the picture above, noised part of the way, with the same prompt.",
    "few-steps": "Models distilled to need a handful of steps, under the one that they descend from.",
}


def page(
    found: list[Result],
    machine: dict[str, Any],
    shown: dict[str, Grid],
    drawn: dict[str, tuple[str, str]],
    judged: Sequence[Verdict] = (),
    at_true_size: dict[str, Any] | None = None,
    schemes: Sequence[Result] = (),
) -> str:
    """The whole page. `shown`: grids by name, `drawn`: SVG by name, wide and narrow, both in the order of the page;
    `judged`: gates; `at_true_size`: what `python -m stages.true_size` found; `schemes`: each one's result."""
    whole, lines = comparison.comparison(found, schemes)
    seen = viewer.embed(viewer.scenes(found, schemes))
    first_seen = next((scene for scene in seen if {BEFORE, found[0].after} <= scene.embedded.keys()), None)
    return (
        environment()
        .get_template("page.html")
        .render(
            style=style(),
            script=script(),
            headline=first.sentence(found, at_true_size),
            lead=first.lead(found, at_true_size, machine),
            facts=first.facts(found),
            project=first.project(found),
            snippets=first.snippets(first_seen.result, first.project(found)) if first_seen else [],
            hero=first_seen,
            hero_title=first_seen.result.title if first_seen else None,
            after_name=found[0].after,
            scenes=[first_seen, *seen] if first_seen else [],
            data=viewer.data(seen),
            prompts=(viewer.PROMPTS, viewer.prompts(found)),
            gain=grids.GAIN,
            warnings=summary.warnings(found, machine),
            true_size=true_size.on_page(at_true_size) if at_true_size else None,
            columns=whole,
            groups=Counter(column.group for column in whole).items(),
            lines=lines,
            apart=any(line.apart for line in lines),
            contradictions=columns.contradictions(found),
            speed_said=summary.speed_on_page(found),
            csv=comparison.as_csv(whole, lines),
            json=comparison.as_json(found),
            schemes=beside.schemes(found),
            peers=beside.peers(found),
            speeds=beside.speeds(found),
            gates=verdicts.by_scheme(judged),
            gates_tally=", ".join(count for _, count in verdicts.tally(judged)),
            gates_reasons=verdicts.reasons(judged),
            published=comparison.beside_published(found),
            overview=shown.get("overview"),
            chapters=chapters(shown),
            plots={name: pair for name, pair in drawn.items() if name != "curve"},
            curve=drawn.get("curve"),
            evidence=evidence.evidence(found),
            found=found,
            before=grids.title(BEFORE),
            after=grids.title(found[0].after),
            machine=machine,
            machine_facts=machine_facts(machine),
            clip_models=clip_models(found),
            fids=fids(found),
            settings=[setting_row(result) for result in found if not result.missing],
            records=[(result.title, record(result)) for result in found if not result.missing],
            miniature=any(result.family == "mini" for result in found),
        )
    )


def style() -> str:
    """The sheet of two pictures one over the other, which other pages use too, and the page's own."""
    return "".join((TEMPLATES / name).read_text(encoding="utf-8") for name in ("compare.css", "page.css"))


def environment() -> Any:
    """Jinja2 with the templates beside this module, and what they ask of a picture."""
    made = templates.environment(TEMPLATES)
    made.filters |= {
        "thumbnail": lambda picture: pictures.data_uri(picture, min(THUMBNAIL, max(picture.size))),
        "sides": lambda picture: pictures.scale(picture, THUMBNAIL).size,
        "scheme": lambda name: name.upper() if name in (BEFORE, "int8") else name,
        "hashed": lambda text: "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode(),
        "downloaded": lambda text, kind: f"data:{kind};base64,{base64.b64encode(text.encode()).decode()}",
    }
    return made


def chapters(shown: dict[str, Grid]) -> list[tuple[str, str, list[Grid]]]:
    """(title, explanation, grids): the grids of one kind together."""
    titles = {
        "worst": "Where most was lost",
        "few-steps": "Few steps",
        "two-stage": "Two stages",
        "image-to-image": "Image to image",
    }
    told = []
    for kind, title in titles.items():
        mine = [grid for name, grid in shown.items() if name.startswith(kind)]
        told += [(title, ABOUT[kind], mine)] if mine else []
    return told


def draw_plots(found: list[Result]) -> dict[str, tuple[str, str]]:
    """SVG by file name, for a screen and for a phone; models without figures are left out."""
    wide, narrow = (drawn(found, width) for width in (plots.WIDTH, plots.NARROW))
    return {name: (svg, narrow[name]) for name, svg in wide.items()}


def drawn(found: list[Result], width: int) -> dict[str, str]:
    measured = [result for result in found if not result.missing]
    after = found[0].after
    names = (grids.title(BEFORE), grids.title(after))

    def pairs(*path: str) -> list[tuple[str, float | None, float | None]]:
        return [(result.title, result.figure(BEFORE, *path), result.figure(after, *path)) for result in measured]

    speeds = [
        (result.title, *(result.figure(after, "speedup_step", part) for part in ("ratio", "low", "high")))
        for result in measured
    ]
    times = [
        (result.title, grids.title(name), time_parts(result, name)) for result in measured for name in (BEFORE, after)
    ]
    bars = functools.partial(plots.paired_bars, width=width)
    made = {
        "size": bars("UNet on disk", names, pairs("unet_size_mb"), words.in_mb),
        "time": plots.stacked_bars("Time of one picture", list(PART_NAMES), times, words.duration, width),
        "speedup": plots.intervals(
            "Speed of one UNet step", f"{names[0]} time / {names[1]} time, 95 % interval", speeds, width
        ),
    }
    fidelity = pairs("sqnr_db")
    if any(value is not None for _, *pair in fidelity for value in pair):  # random weights have none
        title = "Noise prediction against float32 (SQNR)" if width == plots.WIDTH else "SQNR against float32"
        made["fidelity"] = bars(title, names, fidelity, words.in_db)
    if curves := evidence.curves(found):
        note = "SQNR in dB by timestep, from noise (999) to the picture (0)"
        across = panels.ACROSS if width == plots.WIDTH else 1
        made["curve"] = panels.panels("Noise prediction along the schedule", note, names, curves, across)
    return made


def script() -> str:
    return (TEMPLATES / "page.js").read_text(encoding="utf-8")


def time_parts(result: Result, precision: str) -> list[float | None]:
    """Text encoders, everything between, VAE decode: the three add up to the picture's time.

    The ends are measured apart; where a disturbed machine made them longer than the picture, they share it.
    """
    text, decode = (result.figure(precision, name, "median") for name in PARTS)
    whole, ends = results.image_time(result, precision), (text or 0) + (decode or 0)
    if whole is None or ends <= whole:
        return [text, None if whole is None else whole - ends, decode]
    return [part and part * whole / ends for part in (text, 0.0, decode)]


def machine_facts(machine: dict[str, Any]) -> list[tuple[str, str]]:
    """(name, value) of what stands in reports/machine.json, the most telling first."""
    known = {
        "Processor": machine.get("cpu"),
        "Cores": machine.get("cores"),
        "Memory": f"{machine['memory_gb']} GB" if machine.get("memory_gb") else None,
        "Base frequency": f"{machine['base_ghz']} GHz" if machine.get("base_ghz") else None,
        "Instruction sets": ", ".join(machine.get("instruction_sets") or []),
        "System": " ".join(str(machine[name]) for name in ("system", "architecture") if machine.get(name)),
        "Python": machine.get("python"),
        "Machine": machine.get("id"),
    }
    versions = {name: version for name, version in (machine.get("runtimes") or {}).items() if version}
    return [(name, str(value)) for name, value in (known | versions).items() if value]


def clip_models(found: list[Result]) -> list[str]:
    """`mini-CLIP (CC-BY-SA-4.0)`: what scored the pictures, all of them where results are of different ones."""
    models = [result.record.get("clip_model") for result in found]
    return list(dict.fromkeys(f"{model['title']} ({model['licence']})" for model in models if model))


def fids(found: list[Result]) -> list[str]:
    """`96 features of mini-CLIP, from 414 pictures of held-out pictures (CC-BY-SA-4.0)`: what FID was measured from."""
    said = []
    for result in found:
        about = result.record.get("fid")
        if not about or about.get("why"):
            continue
        by = (result.record.get("clip_model") or {}).get("title") if about["features"] == "scorer" else "Inception v3"
        count = f", {about['reference_pictures']:,} pictures" if about["reference_pictures"] else ""
        said.append(f"{about['width']:,} features of {by or 'CLIP'}, from {about['title']}{count} ({about['licence']})")
    return list(dict.fromkeys(said))


def setting_row(result: Result) -> list[str]:
    """Cells of the settings table."""
    metrics = result.record
    rows = [metrics["precisions"].get(name) for name in (BEFORE, result.after)]
    hints = [results.floats_in(row) or words.DASH for row in rows]
    tiles = ", decoded in tiles" if metrics.get("decode") == "tiles" else ""
    pixels = f"{metrics.get('width_px')} × {metrics.get('height_px')}{tiles}"
    values = [
        metrics.get("scheduler"), metrics.get("executed_steps"), metrics.get("guidance"), pixels,
        " / ".join(hints), summary.busy(metrics.get("noise") or {}), result.licence,
    ]  # fmt: skip
    return [result.title, *(words.DASH if value in (None, "") else str(value) for value in values)]


def record(result: Result) -> str:
    """record.json to be read: without raw measurements and layers, the beginning of long lists, null for what is not
    finite."""
    return json.dumps(readable(result.record), indent=1, ensure_ascii=False)


def readable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: readable(inner) for key, inner in value.items() if key not in LEFT_OUT}
    if isinstance(value, list):
        left_out = [f"{len(value) - LONGEST} more in record.json"] if len(value) > LONGEST else []
        return [readable(inner) for inner in value[:LONGEST]] + left_out
    return None if isinstance(value, float) and not results.is_number(value) else value
