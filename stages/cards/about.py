"""What an IR folder is, as a card tells it: plain facts out of the folder and its manifest, and nothing else.

Consumes a folder and what its manifest says or is about to say; produces `About`. Opens no model.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.cards import licences
from stages.checkpoints import components, defaults, samplers
from stages.checkpoints.defaults import Defaults
from stages.files import layout

GENAI = (  # scheduler classes that openvino.genai 2026.4 has
    "DDIMScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
)
NOT_GENAI = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas")  # options that it refuses


@dataclass(frozen=True)
class About:
    """`said`: stage, settings, facts and tools of the manifest. `sizes`: bytes of a part's weights, by its folder.
    `options`: the scheduler's configuration."""

    said: dict[str, Any]
    role: str
    scheduler: str
    options: dict[str, Any]
    vae: str
    defaults: Defaults
    sizes: dict[str, int]
    licence_files: list[str]
    notices: str

    @property
    def facts(self) -> dict[str, Any]:
        return self.said["facts"]

    @property
    def title(self) -> str:
        return str(self.facts.get("title") or self.facts.get("model") or "SDXL pipeline")

    @property
    def precision(self) -> str:
        return str(self.facts.get("precision") or layout.FP16)

    @property
    def sources(self) -> list[dict[str, Any]]:
        return self.facts.get("sources") or []

    @property
    def bases(self) -> list[str]:
        """Repositories of the Hub that the weights came from, tokenizers apart; none of a local checkpoint."""
        found = [one["name"] for one in self.sources if one["kind"] == "hub" and one["part"] != "tokenizers"]
        return list(dict.fromkeys(found))

    @property
    def bits(self) -> str:
        """`fp16`, `int8` or `int4`: what the UNet's weights are stored in."""
        weights = self.facts.get("weights") or self.precision
        if self.precision == layout.FP16 or self.facts.get("scheme") == "none":
            return layout.FP16
        return "int4" if weights.startswith("int4") else "int8"

    @property
    def tasks(self) -> list[str]:
        """What the pipeline is for, as the Hub names it, first what it is most for."""
        return ["image-to-image"] if self.role == "refiner" else ["text-to-image", "image-to-image"]

    @property
    def in_genai(self) -> bool:
        """openvino.genai loads no refiner, no tiny VAE, and no scheduler but its own, each as it has it."""
        known = self.scheduler in GENAI and not any(self.options.get(name) for name in NOT_GENAI)
        return self.role == "base" and self.vae == "AutoencoderKL" and known


def of(folder: Path, said: dict[str, Any]) -> About:
    """`said` is the folder's manifest, or what is going to be written into it."""
    index = components.read_index(folder)
    return About(
        said=plain(said),
        role=components.role(index),
        scheduler=index["scheduler"][1],
        options=components.read_json(folder / samplers.FILE),
        vae=index["vae"][1],
        defaults=defaults.read(folder) if (folder / defaults.FILE).is_file() else {},
        sizes=_sizes(folder),
        licence_files=licences.files(folder),
        notices=licences.notices(folder),
    )


def _sizes(folder: Path) -> dict[str, int]:
    """Weights alone, each part's; the order of components."""
    weights = {part.name: folder / part.name / components.IR_FILES[1] for part in components.COMPONENTS}
    return {name: path.stat().st_size for name, path in weights.items() if path.is_file()}


def draft(stage: str, settings: dict[str, Any], facts: dict[str, Any], tools: dict[str, Any]) -> dict[str, Any]:
    """What a manifest is about to say, with the very types that it is read back with."""
    return plain({"stage": stage, "settings": settings, "facts": facts, "tools": tools})


def plain(said: dict[str, Any]) -> dict[str, Any]:
    """Of dictionaries, lists and values that every writer knows."""
    return json.loads(json.dumps(said))
