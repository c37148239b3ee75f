"""Draw with openvino.genai alone: python -I on_genai.py FOLDER, in an environment without PyTorch and without ours.

Consumes FOLDER/asked.json, a list of drawings by name, and FOLDER/given.npz, their noise and first pictures; produces
FOLDER/drawn.npz. What a pipeline is called with is in generation_config.json of the IR folder.
"""

import functools
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import openvino as ov
import openvino_genai as genai
from huggingface_hub import snapshot_download

EXACT = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}
PIPELINES = {"text-to-image": genai.Text2ImagePipeline, "image-to-image": genai.Image2ImagePipeline}


class Noise(genai.Generator):
    """Noise drawn elsewhere, handed over one draw after the other."""

    def __init__(self, draws: np.ndarray) -> None:
        super().__init__()
        self.draws = iter(draws)

    def next(self) -> float:
        raise AssertionError("noise is asked for by whole tensors")

    def seed(self, _: int) -> None:
        raise AssertionError("noise that is given has no seed")

    def randn_tensor(self, shape: list[int]) -> ov.Tensor:
        draw = np.ascontiguousarray(next(self.draws))
        assert draw.shape == tuple(shape), (draw.shape, shape)
        return ov.Tensor(draw)


@functools.cache
def fetched(source: str) -> Path:
    return Path(source if Path(source).is_dir() else snapshot_download(source))


@functools.cache
def loaded(folder: Path, task: str, exact: bool) -> genai.Text2ImagePipeline | genai.Image2ImagePipeline:
    return PIPELINES[task](folder, "CPU", **(EXACT if exact else {}))


def draw(entry: dict, given: dict[str, np.ndarray]) -> np.ndarray:
    folder = fetched(entry["source"])
    how = json.loads((folder / "generation_config.json").read_text())[entry["task"]] | entry["more"]
    pipeline = loaded(folder, entry["task"], entry["exact"])
    noise = given.get(f"noise {entry['name']}")
    how |= {"rng_seed": 7} if noise is None else {"generator": Noise(noise)}
    image = given.get(f"image {entry['name']}")
    start = () if image is None else (ov.Tensor(image[None]),)
    return pipeline.generate(entry["prompt"], *start, **how).data[0].copy()


def main(folder: Path) -> None:
    there = [name for name in ("stages", "torch", "transformers", "diffusers", "optimum") if find_spec(name)]
    assert not there, f"{there} can be imported here"
    given = dict(np.load(folder / "given.npz"))
    asked = json.loads((folder / "asked.json").read_text())
    np.savez(folder / "drawn.npz", **{entry["name"]: draw(entry, given) for entry in asked})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
