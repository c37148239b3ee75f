"""Trains the family, or what is missing of it: `python -m miniatures.train [member ...]`.

Reads nothing but the packages of the extra `train`; keeps resumable state under tmp/miniatures and writes the finished
checkpoints to miniatures/weights. Never part of the pipeline. Hours on two cores; interrupt it whenever you like.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from miniatures import architecture, checkpoints, emoji, members, vae

WORK = Path("tmp/miniatures")
WEIGHTS = Path("miniatures/weights")
STEPS = {"sdxl": 3000, "ssd-1b": 1200, "vega": 1200, "sdxl-refiner": 1200, "lcm-ssd-1b": 1000, "vegart": 1000}


def half_rounded(module: Any) -> Any:
    """The module with its weights rounded to float16 as they are published, so that later members see the same."""
    import torch

    return module.to(torch.float16).to(torch.float32).eval().requires_grad_(False)


class Family:
    """The members' parts, each trained or resumed when it is first asked for."""

    def __init__(self, work: Path, steps: dict[str, int]) -> None:
        texts = [emoji.caption(subject, colour) for subject in emoji.subjects() for colour in emoji.COLOURS]
        self.work, self.steps, self.parts = work, steps, {}
        self.tokenizer = architecture.build_tokenizer(texts, work / "tokenizer")

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

    def write(self, name: str, folder: Path) -> None:
        """Train one member as far as it is not yet and write its checkpoint."""
        import copy

        if name in ("sdxl", "ssd-1b", "vega"):
            encoders = copy.deepcopy(self.base[1])
            unet = copy.deepcopy(self.base[0] if name == "sdxl" else self.student(name))
            parts = dict(unet=unet, vae=copy.deepcopy(self.vae), text_encoders=encoders, tokenizer=self.tokenizer)
            checkpoints.write_base(folder, **parts)
        elif name == "sdxl-refiner":
            encoders = self.base[1]
            unet = members.train_refiner(self.data, encoders, self.work, self.steps[name])
            parts = dict(vae=copy.deepcopy(self.vae), text_encoder_2=copy.deepcopy(encoders[1]))
            checkpoints.write_refiner(folder, unet=unet, tokenizer=self.tokenizer, **parts)
        elif name == "lcm-ssd-1b":
            parts = (self.data, self.student("ssd-1b"), self.base[1], self.work, self.steps[name])
            checkpoints.write_unet(folder, members.train_lcm(*parts))
        elif name == "vegart":
            parts = (self.data, self.student("vega"), self.base[1], self.work, self.steps[name])
            checkpoints.write_lora(folder, members.train_lora(*parts))


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
        print(f"{name} written to {options.out / name}", flush=True)


if __name__ == "__main__":
    main()
