"""Inception's features of pictures: what FID is measured in.

Consumes the weights that FID is defined by (Inception v3 of 5 December 2015, trained on ImageNet, Apache-2.0: a file,
or fetched from torch-fidelity's release); produces the 2,048 features of its last pooling, in float32 on the processor.
The network is torch-fidelity's. It resizes to 299 pixels as TensorFlow 1 did, where pytorch-fid, MLPerf Inference's,
takes PyTorch's: centres half a pixel apart.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.measurement import clip

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH = 2048
FETCH = "fetch"
BATCH = 8  # pictures at a time: 50 MB on their way
PACKAGE, NETWORK = "torch_fidelity", "torch_fidelity.feature_extractor_inceptionv3"
INSTALL = "python -m pip install --no-deps torch-fidelity==0.4.0"
FILE = "weights-inception-2015-12-05-6726825d.pth"  # the end is how its SHA-256 begins


@dataclass(frozen=True)
class Inception:
    """The network; `threads`: None for torch's own number."""

    network: Any
    threads: int | None = None

    def picture_features(self, pictures: list[Image]) -> np.ndarray:
        """(n, 2048) of n pictures, of any size."""
        import torch

        with clip.torch_threads(self.threads), torch.inference_mode():
            found = [self.network(_tensor(picture))[0].numpy() for picture in pictures]
        return np.concatenate(found)


def require(weights: str) -> None:
    """FileNotFoundError or ModuleNotFoundError that says what to do, in a moment: nothing is loaded."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise FileNotFoundError(f"fid.features=inception needs torch-fidelity: run '{INSTALL}'")
    if weights != FETCH and not Path(weights).is_file():
        raise FileNotFoundError(
            f"fid.weights {weights!r} is missing: put torch-fidelity's {FILE} there, or set fid.weights={FETCH} to "
            "have it fetched"
        )


def weights_file(weights: str) -> Path:
    """The file itself; fetched where that is asked for, and its SHA-256 compared with its name's end."""
    if weights != FETCH:
        return Path(weights)
    import urllib.error

    import torch

    with _network() as network:
        url = network.URL_INCEPTION_V3
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    path = folder / url.rpartition("/")[2]
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(url, str(path), hash_prefix="6726825d", progress=False)
        except (urllib.error.URLError, TimeoutError) as error:
            raise FileNotFoundError(f"{url} cannot be fetched ({error}): set fid.weights to a file") from error
    return path


def load(path: Path, threads: int | None = None) -> Inception:
    """ValueError where the file holds anything but this network's weights, or objects besides tensors."""
    import pickle

    import torch

    unfit = (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, EOFError)
    try:
        torch.load(path, map_location="cpu", weights_only=True)  # the library would run whatever a pickle asks for
        with _network() as network:
            made = network.FeatureExtractorInceptionV3("inception", [str(WIDTH)], str(path))
    except unfit as error:
        raise ValueError(f"{path} does not hold the weights of FID's Inception ({FILE})") from error
    return Inception(made, threads)


def _tensor(picture: Image) -> Any:
    """(1, 3, h, w) of whole numbers."""
    import torch

    return torch.from_numpy(np.asarray(picture.convert("RGB")).copy()).permute(2, 0, 1)[None]


@contextmanager
def _network() -> Iterator[Any]:
    """torch-fidelity's module of the network without what its package imports beside: torchvision, whose build on PyPI
    needs CUDA, and which this module has no use for."""
    found = importlib.util.find_spec(PACKAGE)
    assert found is not None and found.submodule_search_locations is not None
    kept = {name: module for name, module in sys.modules.items() if name.split(".")[0] == PACKAGE}
    bare = ModuleType(PACKAGE)
    bare.__path__ = list(found.submodule_search_locations)
    sys.modules.update({PACKAGE: bare})
    try:
        yield importlib.import_module(NETWORK)
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
            del sys.modules[name]
        sys.modules.update(kept)
