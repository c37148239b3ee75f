"""Writes what the miniatures' FID is measured from: `python -m miniatures.statistics`, after the CLIP was trained.

Mean and covariance of mini-CLIP's features of every held-out combination as OpenMoji draws it: pictures that no
miniature was trained on, as COCO's photographs are none that SDXL was. miniatures/emoji.py says which those are.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from miniatures import emoji
from stages.files import manifest
from stages.measurement import clip, moments
from stages.measurement.moments import Gaussian, Moments

CLIP = Path("miniatures/weights/clip")
FILE = Path("miniatures/fid/held-out.npz")


def pictures() -> list[np.ndarray]:
    """(64, 64, 3) uint8 each."""
    held_out = [combination for combination in emoji.combinations() if emoji.held_out(*combination)]
    return [emoji.compose(emoji.render(subject), colour, style) for subject, colour, style in held_out]


def statistics(folder: Path, shown: list[np.ndarray]) -> Gaussian:
    """Of these pictures, by the CLIP in `folder`."""
    from PIL import Image

    sums = Moments()
    sums.add(clip.load(folder).picture_features([Image.fromarray(picture) for picture in shown]))
    return sums.gaussian(manifest.sha256(folder / "model.safetensors"))


def main() -> None:
    found = statistics(CLIP, pictures())
    FILE.parent.mkdir(exist_ok=True)
    moments.write(FILE, found)
    print(f"{FILE}: {found.count} pictures, {len(found.mu)} features, {FILE.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
