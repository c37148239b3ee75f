"""How the base and its two distilled students are trained, all on the same cached latents.

sdxl         first a shallow UNet, then the whole one grown from it; captions dropped one time in ten
ssd-1b, vega the base with blocks removed, distilled from it by output and block features
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from miniatures import architecture, loop
from miniatures.captions import Texts
from miniatures.diffusion import draw, predict, weighted_error
from miniatures.latents import Data


def unet(name: str) -> Any:
    return architecture.build_unet(name).to(loop.device())


def fit_to_noise(name: str, module: Any, data: Data, texts: Texts, work: Path, steps: int, rate: float) -> Any:
    """Train a base-like UNet to predict the noise."""

    def loss(generator: Any, step: int) -> Any:
        batch = draw(data, texts, generator)
        prediction = predict(module, batch.x, batch.t, batch.text, batch.time_ids)
        return weighted_error(prediction, batch.noise, batch.t)

    return loop.fit(name, module, loss, steps=steps, peak_rate=rate, folder=work)


def matching(student: Any, teacher: Any) -> dict[str, Any]:
    """The teacher's weights under the student's names; of runs of layers of unequal length, the first ones."""
    own = student.state_dict()
    return {k: v for k, v in teacher.state_dict().items() if k in own and own[k].shape == v.shape}


def grow(deep: Any, known: dict[str, Any]) -> Any:
    """`deep` with the weights `known` by name; its other transformer layers add nothing yet to what passes through."""
    import torch

    deep.load_state_dict(known, strict=False)
    for name, parameter in deep.named_parameters():
        if name not in known and (".to_out." in name or ".ff.net.2." in name):
            torch.nn.init.zeros_(parameter)
    return deep


def train_base(data: Data, texts: Texts, work: Path, shallow_steps: int, steps: int) -> Any:
    """The base UNet. Two thirds of its layers are added late: a step of the shallow one takes a third of the time."""

    loop.seed("sdxl-shallow")
    shallow = fit_to_noise("sdxl-shallow", unet("sdxl-shallow"), data, texts, work, shallow_steps, 2e-3)
    deep = unet("sdxl")
    return fit_to_noise("sdxl", grow(deep, matching(deep, shallow)), data, texts, work, steps, 1e-3)


def block_outputs(unet: Any, kept: list[Any]) -> list[Any]:
    """Hooks that append each down and up block's output to `kept`; returns their handles."""

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        kept.append(output[0] if isinstance(output, tuple) else output)

    return [block.register_forward_hook(keep) for block in (*unet.down_blocks, *unet.up_blocks)]


def distil(name: str, data: Data, teacher: Any, texts: Texts, work: Path, steps: int) -> Any:
    """A smaller UNet that learns noise, the teacher's prediction and the teacher's block outputs (arXiv 2401.02677)."""
    import torch

    loop.seed(name)
    student = unet(name)
    student.load_state_dict(matching(student, teacher), strict=False)
    ours: list[Any] = []
    theirs: list[Any] = []
    handles = block_outputs(student, ours) + block_outputs(teacher, theirs)

    def loss(generator: Any, step: int) -> Any:
        batch = draw(data, texts, generator)
        told = (batch.x, batch.t, batch.text, batch.time_ids)
        ours.clear(), theirs.clear()
        with torch.no_grad():
            target = predict(teacher, *told)
        prediction = predict(student, *told)
        pairs = zip(ours, theirs, strict=True)
        features = sum((a - b).pow(2).mean() / b.pow(2).mean() for a, b in pairs) / len(theirs)
        error = weighted_error(prediction, batch.noise, batch.t) + weighted_error(prediction, target, batch.t)
        return error + 0.05 * features

    loop.fit(name, student, loss, steps=steps, peak_rate=1e-3, folder=work)
    for handle in handles:
        handle.remove()
    return student
