"""How the refiner is trained: on the low-noise end of the schedule, to mend what the base hands over.

A refiner that only ever sees noised true pictures has nothing to add to the base: at its timesteps such pictures show
through, and the flaws of what the base has drawn so far do not occur. Here half of the rows start from poor pictures,
blurred ones or drafts of the base itself, and most of those have the true picture as their target. The rest have the
poor picture itself, and say so by a low aesthetic score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miniatures import architecture, captions, loop
from miniatures.captions import Texts
from miniatures.diffusion import BATCH, DROPPED, level, noised, origin, predict, weighted_error
from miniatures.latents import Data
from miniatures.members import grow, unet

BELOW = 400  # it learns timesteps under this one
POOR_FROM = 40  # poor pictures are mended at timesteps from this one: under it there is too little noise to change much
POOR, LEFT_POOR = 0.5, 0.15  # shares of rows that start poor, and of rows that stay so
SHARP, LOW = 6.0, 2.5  # aesthetic scores: what the pipelines send for the prompt and for the negative prompt
DRAFT_STEPS, HANDED_OVER, GUIDANCE = 25, 200, 5.0


def drafts(base: Any, data: Data, texts: Texts, folder: Path) -> Any:
    """(whole, 4, 16, 16): each whole row as the guided base has it where the refiner takes over; kept in `folder`."""
    import torch
    from tqdm import tqdm

    file = folder / "drafts.pt"
    key = float(sum(p.double().abs().sum() for p in base.parameters()))
    kept = torch.load(file, weights_only=True, map_location=loop.device()) if file.exists() else {}
    if kept.get("key") == key:
        return kept["drafts"]
    made = torch.zeros_like(data.latents[: data.whole])
    chunks = list(enumerate(torch.arange(data.whole).split(64)))[loop.rank() :: loop.workers()]
    for number, rows in tqdm(chunks, desc="drafts", unit="batch", disable=loop.rank() > 0):
        made[rows] = draft(base, data, texts, rows.to(made.device), torch.Generator().manual_seed(number))
    if loop.workers() > 1:
        torch.distributed.all_reduce(made)
    if loop.rank() == 0:
        torch.save({"key": key, "drafts": made}, file)
    return made


def draft(base: Any, data: Data, texts: Texts, rows: Any, generator: Any) -> Any:
    """The x_0 that the guided base sees at the hand-over, along its DDIM path from pure noise."""
    import torch

    stride = 1000 // DRAFT_STEPS
    x = torch.randn((len(rows), *data.latents.shape[1:]), generator=generator).to(rows.device)
    silent = torch.full_like(rows, texts.empty)
    text = texts.of(torch.cat([data.caption[rows], silent]))
    time_ids = data.time_ids[rows].repeat(2, 1)
    with torch.no_grad():
        for now in range(1000 - stride + 1, HANDED_OVER, -stride):
            t = torch.full_like(rows, now)
            cond, uncond = predict(base, torch.cat([x, x]), torch.cat([t, t]), text, time_ids).chunk(2)
            eps = uncond + GUIDANCE * (cond - uncond)
            start = origin(x, t, eps)
            x = noised(start, t - stride, eps)
    return start


def inherited(refiner: Any, base: Any) -> dict[str, Any]:
    """The base's weights under the refiner's names, where a layer has its counterpart.

    The refiner has one block more at the bottom. Of the hidden states side by side it sees those of the second text
    encoder, the last columns; of the embedded ids the first five.
    """
    theirs, found = base.state_dict(), {}
    for name, own in refiner.state_dict().items():
        parts = name.split(".")
        if parts[0] == "up_blocks":
            parts[1] = str(int(parts[1]) - 1)
        weight = theirs.get(".".join(parts))
        if weight is None:
            continue
        if weight.shape != own.shape and weight.dim() == own.dim() == 2 and len(weight) == len(own):
            width = own.shape[1]
            weight = weight[:, :width] if name.startswith("add_embedding") else weight[:, -width:]
        if weight.shape == own.shape:
            found[name] = weight
    return found


@dataclass
class Rows:
    """What the refiner is shown: latents `x` noised to `t`, the latents it should lead to, captions and scores."""

    x: Any
    t: Any
    goal: Any
    caption: Any
    score: Any

    @property
    def eps(self) -> Any:
        """What has to go for the goal to be left: the noise, and the difference between poor and true."""
        return (self.x - level(self.t).sqrt() * self.goal) / (1 - level(self.t)).sqrt()


def rows(data: Data, drawn: Any, empty: int, generator: Any) -> Rows:
    """Random rows, some of them poor ones of `drawn` or `data.blurred`; `empty` is the index of the empty caption."""
    import torch

    put = loop.device()
    index = torch.randint(data.whole, (BATCH,), generator=generator).to(put)
    t = torch.randint(BELOW, (BATCH,), generator=generator).to(put)
    noise = torch.randn((BATCH, *data.latents.shape[1:]), generator=generator).to(put)
    fate, kind, silent = torch.rand((3, BATCH), generator=generator).to(put)
    left = fate < LEFT_POOR
    poor = left | (fate < POOR) & (t >= POOR_FROM)

    def either(choice: Any, one: Any, other: Any) -> Any:
        return torch.where(choice[:, None, None, None], one, other)

    true, flawed = data.latents[index], either(kind < 0.5, drawn[index], data.blurred[index])
    return Rows(
        x=noised(either(poor, flawed, true), t, noise),
        t=t,
        goal=either(left, flawed, true),
        caption=torch.where(silent < DROPPED, empty, data.caption[index]),
        score=torch.where(left, LOW, SHARP),
    )


def train(base: Any, data: Data, texts: Texts, work: Path, steps: int) -> Any:
    """The expert of the last denoising steps, started from the base's layers."""
    loop.join()
    drawn = drafts(base, data, texts, work)
    loop.seed("sdxl-refiner")
    module = unet("sdxl-refiner")
    grow(module, inherited(module, base))
    first = architecture.TEXT_WIDTHS[0]

    def loss(generator: Any, step: int) -> Any:
        shown = rows(data, drawn, texts.empty, generator)
        hidden, pooled = texts.of(shown.caption)
        told = (hidden[..., first:], pooled), captions.refiner_time_ids(shown.score)
        return weighted_error(predict(module, shown.x, shown.t, *told), shown.eps, shown.t)

    return loop.fit("sdxl-refiner", module, loss, steps=steps, peak_rate=1e-3, folder=work)
