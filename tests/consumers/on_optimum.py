"""Draw with optimum-intel and diffusers alone: python -I on_optimum.py FOLDER, in an environment without ours.

Consumes FOLDER/asked.json, a list of drawings by name, and FOLDER/given.npz, their first pictures; produces
FOLDER/drawn.npz. What a pipeline is called with is in generation_config.json of the IR folder.
"""

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import snapshot_download
from optimum.intel import OVStableDiffusionXLImg2ImgPipeline, OVStableDiffusionXLPipeline
from PIL import Image


def fetched(source: str) -> Path:
    return Path(source if Path(source).is_dir() else snapshot_download(source))


def text_to_image(entry: dict, folder: Path, how: dict, _: object) -> Image.Image:
    pipeline = OVStableDiffusionXLPipeline.from_pretrained(folder)
    return pipeline(entry["prompt"], generator=seeded(entry["seed"]), **how).images[0]


def image_to_image(entry: dict, folder: Path, how: dict, image: np.ndarray) -> Image.Image:
    pipeline = OVStableDiffusionXLImg2ImgPipeline.from_pretrained(folder)
    start = Image.fromarray(image)
    return pipeline(entry["prompt"], image=start, generator=seeded(entry["seed"]), **how).images[0]


def two_stage(entry: dict, folder: Path, how: dict, _: object) -> Image.Image:
    """The base draws the first part of the schedule, the refiner what is left of it."""
    base = OVStableDiffusionXLPipeline.from_pretrained(fetched(entry["base"]))
    refiner = OVStableDiffusionXLImg2ImgPipeline.from_pretrained(folder)
    size = {side: how.pop(side) for side in ("width", "height")}
    share = how.pop("high_noise_fraction")
    del how["base"]
    first = {"generator": seeded(entry["seed"]), "denoising_end": share, "output_type": "latent", **size, **how}
    latents = base(entry["prompt"], **first).images
    second = {"generator": seeded(entry["seed"] + 1), "denoising_start": share, **how}
    return refiner(entry["prompt"], image=latents, **second).images[0]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


TASKS = {"text-to-image": text_to_image, "image-to-image": image_to_image, "two-stage": two_stage}


def draw(entry: dict, given: dict[str, np.ndarray]) -> np.ndarray:
    folder = fetched(entry["source"])
    how = json.loads((folder / "generation_config.json").read_text())[entry["task"]]
    return np.asarray(TASKS[entry["task"]](entry, folder, how, given.get(f"image {entry['name']}")))


def main(folder: Path) -> None:
    there = [name for name in ("stages", "dvc", "hydra", "openvino_genai", "torchvision") if find_spec(name)]
    assert not there, f"{there} can be imported here"
    given = dict(np.load(folder / "given.npz"))
    asked = json.loads((folder / "asked.json").read_text())
    np.savez(folder / "drawn.npz", **{entry["name"]: draw(entry, given) for entry in asked})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
