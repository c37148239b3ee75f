"""Trains the family, or what is missing of it: `python -m miniatures.train [member ...]`.

Reads nothing but the packages of the extra `train`; keeps resumable state under tmp/miniatures and writes the finished
checkpoints to miniatures/weights. Never part of the pipeline. Interrupt it whenever you like; on two cores run
`torchrun --nproc-per-node 2 -m miniatures.train`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from miniatures import architecture, checkpoints, emoji, loop, members, vae

WORK = Path("tmp/miniatures")
WEIGHTS = Path("miniatures/weights")
STEPS = {"sdxl": 1000, "ssd-1b": 220, "vega": 220, "sdxl-refiner": 1700, "lcm-ssd-1b": 1200, "vegart": 1200}


def half_rounded(module: Any) -> Any:
    """The module with its weights rounded to float16 as they are published, so that later members see the same."""
    import torch

    return module.to(torch.float16).to(torch.float32).eval().requires_grad_(False)


class Family:
    """The members' parts, each trained or resumed when it is first asked for."""

    def __init__(self, work: Path, steps: dict[str, int]) -> None:
        texts = [emoji.caption(subject, colour) for subject in emoji.subjects() for colour in emoji.COLOURS]
        self.work, self.steps, self.parts = work, steps, {}
        self.tokenizer = loop.first_alone(lambda: architecture.tokenizer(texts, work / "tokenizer"))

    def part(self, name: str, make: Any) -> Any:
        if name not in self.parts:
            self.parts[name] = make()
        return self.parts[name]

    @property
    def vae(self) -> Any:
        return self.part("vae", lambda: half_rounded(vae.train(self.work)))

    @property
    def data(self) -> members.Data:
        return self.part("data", lambda: members.load_data(self.vae, self.tokenizer))

    @property
    def base(self) -> tuple[Any, tuple[Any, Any]]:
        def make() -> Any:
            unet, encoders = members.train_base(self.data, self.tokenizer, self.work, self.steps["sdxl"])
            return half_rounded(unet), tuple(half_rounded(encoder) for encoder in encoders)

        return self.part("sdxl", make)

    def student(self, name: str) -> Any:
        teacher, encoders = self.base
        arguments = (name, self.data, teacher, encoders, self.work, self.steps[name])
        return self.part(name, lambda: half_rounded(members.distil(*arguments)))

    def trained(self, name: str) -> dict[str, Any]:
        """What one member's checkpoint is made of, copied: writing rounds in place."""
        import copy

        few_step = (self.data, self.base[1], self.work, self.steps[name])
        if name == "lcm-ssd-1b":
            return dict(unet=members.train_lcm(self.student("ssd-1b"), *few_step))
        if name == "vegart":
            return dict(unet=members.train_lora(self.student("vega"), *few_step))
        encoders = copy.deepcopy(self.base[1])
        shared = dict(vae=copy.deepcopy(self.vae), tokenizer=self.tokenizer)
        if name == "sdxl-refiner":
            unet = members.train_refiner(self.data, encoders, self.work, self.steps[name])
            return dict(unet=unet, text_encoder_2=encoders[1], **shared)
        unet = copy.deepcopy(self.base[0] if name == "sdxl" else self.student(name))
        return dict(unet=unet, text_encoders=encoders, **shared)

    def write(self, name: str, folder: Path) -> None:
        """Train one member as far as it is not yet and write its checkpoint."""
        writers = {"sdxl-refiner": "write_refiner", "lcm-ssd-1b": "write_unet", "vegart": "write_lora"}
        parts = self.trained(name)
        if loop.rank() == 0:
            getattr(checkpoints, writers.get(name, "write_base"))(folder, **parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("members", nargs="*", default=list(STEPS), help=f"out of: {', '.join(STEPS)}")
    parser.add_argument("--work", type=Path, default=WORK, help="resumable state; delete it to start afresh")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    unknown = set(options.members) - set(STEPS)
    if unknown:
        parser.error(f"unknown member {', '.join(sorted(unknown))}; choose from {', '.join(STEPS)}")
    family = Family(options.work, STEPS)
    for name in options.members:
        family.write(name, options.out / name)
        if loop.rank() == 0:
            print(f"{name} written to {options.out / name}", flush=True)


if __name__ == "__main__":
    main()
