"""What the UNets are trained on: latents of every combination that is not held out, with SDXL's micro-conditioning.

Most rows are whole, sharp pictures. The rest are cut off-centre or were once smaller, and their time ids say so
(SDXL's paper, arXiv 2307.01952, section 2.2): the UNet learns to leave such flaws to those who ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from miniatures import architecture, emoji, loop

FLAWED = 0.25  # flawed rows per whole one
LARGEST_CROP = architecture.SIZE_PX // 4
SMALLEST_ORIGINAL = architecture.SIZE_PX // 3
BLUR_PX = 1.2


@dataclass
class Data:
    """Rows, each a picture: the first `whole` are sharp and complete.

    `latents` (N, 4, 16, 16), scaled; `blurred` (whole, 4, 16, 16), poor ones for the refiner; `caption` (N,), index
    into `emoji.combinations()`; `time_ids` (N, 6): original height and width, crop from top and left, target size.
    """

    latents: Any
    blurred: Any
    caption: Any
    time_ids: Any
    whole: int


def cropped(picture: np.ndarray, colour: str, top: int, left: int) -> np.ndarray:
    """The picture moved up and left, partly out of its frame; background follows."""
    moved = np.broadcast_to(np.array(emoji.COLOURS[colour], np.uint8), picture.shape).copy()
    moved[: len(moved) - top, : len(moved) - left] = picture[top:, left:]
    return moved


def enlarged(picture: np.ndarray, original_px: int) -> np.ndarray:
    """The picture as it looks after having been `original_px` wide."""
    from PIL import Image

    small = Image.fromarray(picture).resize((original_px, original_px), Image.Resampling.BOX)
    return np.asarray(small.resize(picture.shape[:2], Image.Resampling.BICUBIC))


def blurred(picture: np.ndarray) -> np.ndarray:
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(picture).filter(ImageFilter.GaussianBlur(BLUR_PX)))


def flawed(picture: np.ndarray, colour: str, random: np.random.Generator) -> tuple[np.ndarray, list[int]]:
    """A cropped or an enlarged version of `picture` with its time ids."""
    size = len(picture)
    if random.random() < 0.5:
        top, left = random.integers(0, LARGEST_CROP + 1, 2).tolist()
        return cropped(picture, colour, top, left), [size, size, top, left, size, size]
    original = int(random.integers(SMALLEST_ORIGINAL, size))
    return enlarged(picture, original), [original, original, 0, 0, size, size]


def pictures() -> tuple[list[np.ndarray], list[int], list[list[int]], int]:
    """Pictures, caption indices and time ids of all rows, and how many of them are whole."""
    size = architecture.SIZE_PX
    rendered = {subject: emoji.render(subject, size) for subject in emoji.subjects()}
    trained = [(i, c) for i, c in enumerate(emoji.combinations()) if not emoji.held_out(*c)]
    rows = [emoji.compose(rendered[subject], colour, style) for _, (subject, colour, style) in trained]
    indices = [i for i, _ in trained]
    time_ids = [[size, size, 0, 0, size, size]] * len(rows)
    whole, random = len(rows), np.random.default_rng(0)
    for row in random.permutation(whole)[: round(FLAWED * whole)]:
        picture, ids = flawed(rows[row], trained[row][1][1], random)
        rows.append(picture), indices.append(indices[row]), time_ids.append(ids)
    return rows, indices, time_ids, whole


def encode(vae: Any, rows: list[np.ndarray]) -> Any:
    """(N, 4, 16, 16) scaled means."""
    import torch

    parts = torch.from_numpy(emoji.as_input(np.stack(rows))).split(64)
    with torch.no_grad():
        means = [vae.encode(part.to(vae.device)).latent_dist.mean for part in parts]
    return torch.cat(means) * vae.config.scaling_factor


def load(vae: Any, folder: Path) -> Data:
    """The rows; their latents are kept in `folder` for the next run with the same VAE."""
    import torch

    file = folder / "latents.pt"
    rows, indices, time_ids, whole = pictures()
    key = float(sum(p.double().abs().sum() for p in vae.parameters()))
    kept = torch.load(file, weights_only=True) if file.exists() else {}
    if kept.get("key") != key:
        kept = {"key": key, "latents": encode(vae, rows), "blurred": encode(vae, [blurred(r) for r in rows[:whole]])}
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(kept, file)
    put = loop.device()
    return Data(
        latents=kept["latents"].to(put),
        blurred=kept["blurred"].to(put),
        caption=torch.tensor(indices, device=put),
        time_ids=torch.tensor(time_ids, dtype=torch.float32, device=put),
        whole=whole,
    )
