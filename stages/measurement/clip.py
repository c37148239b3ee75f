"""CLIP: pictures and texts as features in one space, where alike things point the same way.

Consumes a CLIP model's folder as the stage `scorer` verified it; produces features of PIL pictures and of texts, in
float32 on the processor. What is computed of them stands in stages.measurement.fidelity. Fetches nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.checkpoints import lean

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 8  # pictures or texts at a time, so that memory is the weights' (1.7 GB for ViT-L/14) and little more


@dataclass(frozen=True)
class Clip:
    """A CLIPModel with its tokenizer and its pictures' processor; `threads`: None for torch's own number."""

    model: Any
    tokenizer: Any
    processor: Any
    threads: int | None = None

    def picture_features(self, pictures: Sequence[Image]) -> np.ndarray:
        """(n, width) of n pictures, each resized and cropped as the model's own preprocessor_config.json says."""

        def encode(batch: list[Image]) -> Any:
            return self.model.get_image_features(**self.processor(batch, return_tensors="pt")).pooler_output

        return self._batched(encode, pictures)

    def text_features(self, texts: list[str]) -> np.ndarray:
        """(n, width) of n texts; what is longer than the model's limit (77 tokens for ViT-L/14) is cut off."""
        limit = self.model.config.text_config.max_position_embeddings
        how = {"padding": True, "truncation": True, "max_length": limit, "return_tensors": "pt"}

        def encode(batch: list[str]) -> Any:
            return self.model.get_text_features(**self.tokenizer(batch, **how)).pooler_output

        return self._batched(encode, texts)

    def _batched(self, encode: Callable[[list[Any]], Any], items: Sequence[Any]) -> np.ndarray:
        import torch

        with torch_threads(self.threads), torch.inference_mode():
            return np.concatenate([encode(list(items[n : n + BATCH])).numpy() for n in range(0, len(items), BATCH)])


def load(folder: Path, threads: int | None = None) -> Clip:
    """The model in `folder`; ValueError where its weights are not those that its config.json describes."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read at import, where the first lines are said
    model_class = lean.named("transformers", "CLIPModel")
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    options = {"dtype": torch.float32, "use_safetensors": True, "ignore_mismatched_sizes": True}
    model, found = model_class.from_pretrained(folder, output_loading_info=True, **options)
    wrong = sorted(found["missing_keys"]) + sorted(name for name, *_ in found["mismatched_keys"])
    if wrong:  # transformers would have put random weights there
        raise ValueError(f"{folder}: weights of {wrong[0]} are missing or of another shape than config.json says")
    # The processor by name: CLIPImageProcessor is another one, with other rounding, where torchvision is installed.
    processor = transformers.CLIPImageProcessorPil.from_pretrained(folder)
    return Clip(model.eval(), transformers.CLIPTokenizer.from_pretrained(folder), processor, threads)


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """So many for torch, whose number is the whole process's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
