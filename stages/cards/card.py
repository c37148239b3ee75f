"""The text of a model card: front matter that the Hub reads, and what a person wants to know before using a folder.

    said = about.of(folder, manifest.read(folder, rerun="export@vega"))
    card.text(said, repo="me/vega-int8", measured=Measured(...), picture="grid.webp")

Consumes `About` and, where somebody publishes, what only publishing knows; produces Markdown. The same for the same
input: no day but that of what was measured, no path of a machine.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.cards import licences
from stages.cards.about import About
from stages.files import layout

TEMPLATE = Path(__file__).with_name("card.md.j2")
EXAMPLE = "an owl sticker on a teal background"
SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~$])")
PARTS = {"pipeline": "Checkpoint", "unet": "UNet", "vae": "VAE", "vae_decoder": "VAE decoder", "adapter": "LoRA"}
WEIGHTS = {"fp16": "FP16", "int8": "INT8", "int4": "INT4"}
SCHEMES = {  # the UNet's, by quantization.scheme
    "weights_first": "weights and activations of the UNet in INT8",
    "weights_only": "weights of the UNet in {bits}, its activations in floats",
    "hybrid": "weights of the UNet in INT8, activations of its convolutions too",
    "notebook": "UNet in INT8 by the recipe of the OpenVINO notebooks",
}
LIGHTER = {  # parts that a speed makes lighter, by what it says of them
    "int8-weights": "weights of the text encoders in INT8",
    "int8": "decoder in INT8",
    "tiny": "a tiny decoder in the VAE's place",
}


@dataclass(frozen=True)
class Measured:
    """Figures of a benchmark, as text with units.

    `rows`: (what, FP16's, this folder's), such as ("UNet step", "3.47 s", "2.15 s"): size, step, picture, memory, PSNR,
    SSIM, SQNR, CLIP scores; "–" where one does not apply. `machine`: "2 cores of Intel(R) Xeon(R), floats in bf16".
    `day`: "2026-11-27". `commit`: of PocketXL. `note`: what pictures were compared with, how many prompts, doubts.
    """

    rows: list[tuple[str, str, str]]
    machine: str
    day: str
    commit: str
    scheme: str
    note: str = ""


def text(
    about: About,
    *,
    repo: str | None = None,
    measured: Measured | None = None,
    picture: str | None = None,
    place: Path | None = None,
) -> str:
    """README.md of a folder. `repo` is its repository on the Hub, `picture` the name of an image that goes with it,
    `place` where DVC gets it from a repository, where that is not among the IRs."""
    import jinja2

    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"plain": plain, "size": size, "python": json.dumps, "shell": shlex.quote, "yaml": _yaml}
    body = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        about=about,
        bits=WEIGHTS[about.bits],
        example=EXAMPLE,
        folder=(place or layout.ir(str(about.facts.get("model") or "MODEL"), about.precision)).as_posix(),
        kind=kind(about),
        licences=licences.of(about.facts.get("licence")),
        measured=measured,
        parts=PARTS,
        picture=picture,
        random=about.facts.get("random_weights"),
        repo=repo,
        tools={tool: version for tool, version in about.said["tools"].items() if version},
    )
    return f"---\n{_yaml(front_matter(about))}---\n{body}"


def front_matter(about: About) -> dict[str, Any]:
    """What the Hub indexes; `quantized` is also how it files a conversion that leaves the weights as they are."""
    found: dict[str, Any] = licences.front_matter(about.facts.get("licence"), about.licence_files)
    found |= {"library_name": "openvino", "pipeline_tag": about.tasks[0]}
    if about.bases:
        found |= {"base_model": about.bases, "base_model_relation": "quantized"}
    tags = ["openvino", "sdxl", "stable-diffusion-xl", about.bits, *about.tasks[1:], "optimum-intel"]
    tags += ["openvino-genai"] if about.in_genai else []
    tags += ["nncf"] if about.bits != layout.FP16 else []
    return found | {"tags": [*tags, "pocketxl"]}


def kind(about: About) -> str:
    """What is stored how, in half a sentence."""
    facts, settings = about.facts, about.said["settings"]
    if about.said["stage"] == "peers":
        return f"quantized by optimum-intel ({about.precision}), to be compared with"
    unet = SCHEMES.get(facts.get("scheme"), "all weights in FP16").format(bits=WEIGHTS[about.bits])
    said = [unet]
    if about.said["stage"] == "lighter":
        said += [LIGHTER[settings[part]] for part in ("text_encoders", "decoder") if settings[part] in LIGHTER]
    return ", ".join(said) + ("" if unet.endswith("FP16") else ", the rest in FP16")


def plain(value: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    return SPECIAL.sub(r"\\\1", " ".join(str(value).split()))


def size(count: int) -> str:
    """`5.14 GB`, `10.3 MB`"""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _yaml(value: object) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
