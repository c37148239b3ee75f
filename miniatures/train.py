"""Trains the family, or what is missing of it: `python -m miniatures.train [member ...]`.

Reads nothing but the packages of the extra `train`; keeps resumable state under tmp/miniatures and writes the finished
checkpoints to miniatures/weights. Never part of the pipeline. Interrupt it whenever you like; on two cores run
`torchrun --nproc-per-node 2 -m miniatures.train`.
"""

from __future__ import annotations

import argparse
import copy
from functools import cached_property
from pathlib import Path
from typing import Any

from miniatures import (
    architecture,
    captions,
    cards,
    checkpoints,
    clip,
    consistency,
    emoji,
    latents,
    loop,
    members,
    refiner,
    tiny_vae,
    vae,
)
from stages.checkpoints.quiet import quiet

WORK = Path("tmp/miniatures")
WEIGHTS = Path("miniatures/weights")
STEPS = {
    "vae": 5600,
    "clip": 1000,
    "sdxl-shallow": 4200,
    "sdxl": 1500,
    "ssd-1b": 800,
    "vega": 1000,
    "sdxl-refiner": 2400,
    "lcm-ssd-1b": 1000,
    "vegart": 1600,
    "tiny-vae": 2400,
}
MEMBERS = ("clip", "sdxl", "sdxl-refiner", "ssd-1b", "vega", "lcm-ssd-1b", "vegart", "tiny-vae")


def half_rounded(module: Any) -> Any:
    """The module with its weights rounded to float16 as they are published, so that later members see the same."""
    import torch

    return module.to(torch.float16).to(torch.float32).to(loop.device()).eval().requires_grad_(False)


class Family:
    """The members' parts, each trained or resumed when it is first asked for."""

    def __init__(self, work: Path, steps: dict[str, int]) -> None:
        self.work, self.steps = work, steps
        self.captions = [emoji.caption(*combination) for combination in emoji.combinations()]
        self.tokenizer = loop.first_alone(lambda: architecture.tokenizer(self.captions, work / "tokenizer"))

    @cached_property
    def vae(self) -> Any:
        return half_rounded(vae.train(self.work, self.steps["vae"]))

    @cached_property
    def data(self) -> latents.Data:
        trained = self.vae  # by all processes together, before one of them goes ahead
        return loop.first_alone(lambda: latents.load(trained, self.work))

    @cached_property
    def clip(self) -> tuple[Any, tuple[Any, Any]]:
        model, encoders = clip.train(self.tokenizer, self.work, self.steps["clip"])
        return half_rounded(model), tuple(half_rounded(encoder) for encoder in encoders)

    @cached_property
    def texts(self) -> captions.Texts:
        return captions.encode(self.clip[1], self.tokenizer, self.captions)

    @cached_property
    def base(self) -> Any:
        steps = (self.steps["sdxl-shallow"], self.steps["sdxl"])
        return half_rounded(members.train_base(self.data, self.texts, self.work, *steps))

    @cached_property
    def ssd_1b(self) -> Any:
        return self.student("ssd-1b")

    @cached_property
    def vega(self) -> Any:
        return self.student("vega")

    def student(self, name: str) -> Any:
        return half_rounded(members.distil(name, self.data, self.base, self.texts, self.work, self.steps[name]))

    def trained(self, name: str) -> dict[str, Any]:
        """What one member's checkpoint is made of."""
        if name == "clip":
            return dict(model=self.clip[0], tokenizer=self.tokenizer)
        if name == "tiny-vae":
            return dict(vae=tiny_vae.train(self.vae, self.work, self.steps[name]))
        rest = (self.data, self.texts, self.work, self.steps[name])
        if name == "lcm-ssd-1b":
            return dict(unet=consistency.train_lcm(self.ssd_1b, *rest))
        if name == "vegart":
            return dict(unet=consistency.train_lora(self.vega, *rest))
        shared = dict(vae=self.vae, tokenizer=self.tokenizer)
        if name == "sdxl-refiner":
            return dict(unet=refiner.train(self.base, *rest), text_encoder_2=self.clip[1][1], **shared)
        unet = {"sdxl": "base", "ssd-1b": "ssd_1b", "vega": "vega"}[name]
        return dict(unet=getattr(self, unet), text_encoders=self.clip[1], **shared)

    def write(self, name: str, folder: Path) -> None:
        """Train one member as far as it is not yet and write its checkpoint."""
        writers = {
            "sdxl-refiner": "refiner",
            "lcm-ssd-1b": "unet",
            "vegart": "lora",
            "clip": "clip",
            "tiny-vae": "tiny_vae",
        }
        parts = self.trained(name)
        if loop.rank() == 0:
            # Copied: writing rounds in place.
            copied = {part: copy.deepcopy(module) for part, module in parts.items()}
            getattr(checkpoints, f"write_{writers.get(name, 'base')}")(folder, **copied)
            cards.record(name, self.work, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("members", nargs="*", default=list(MEMBERS), help=f"out of: {', '.join(MEMBERS)}")
    parser.add_argument("--work", type=Path, default=WORK, help="resumable state; delete it to start afresh")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    unknown = set(options.members) - set(MEMBERS)
    if unknown:
        parser.error(f"unknown member {', '.join(sorted(unknown))}; choose from {', '.join(MEMBERS)}")
    with quiet():
        family = Family(options.work, STEPS)
        for name in options.members:
            family.write(name, options.out / name)
            if loop.rank() == 0:
                print(f"{name} written to {options.out / name}", flush=True)


if __name__ == "__main__":
    main()
