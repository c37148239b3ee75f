"""CLIP's features by an engine: those of one machine's own batches, each made once."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from stages.engines.engine import LOCAL
from stages.measurement import clip
from stages.measurement.encoding import Encoder, Encoding
from tests.tiny import SIZE_PX
from tests.tiny_ir import CPU, tiny_scorer

COUNT = clip.BATCH + 2


class Counting:
    """A loop that tells the sizes of the batches that it is given."""

    name = "counting"

    def __init__(self) -> None:
        self.given: list[list[int]] = []

    def map(self, work, items, what, unit):
        self.given.append([len(item.items) for item in items])
        return LOCAL.map(work, items, what, unit)


@pytest.fixture
def pictures() -> list[Image.Image]:
    noise = np.random.default_rng(0).integers(0, 256, (COUNT, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    return [Image.fromarray(one) for one in noise]


def test_features_are_the_models_own_to_the_last_bit(pictures) -> None:
    model, encoder = clip.load(tiny_scorer()), Encoder(LOCAL, Encoding(tiny_scorer(), CPU))
    np.testing.assert_array_equal(encoder.picture_features(pictures), model.picture_features(pictures))
    texts = ["red", "a red cat, a red dog"] * COUNT
    np.testing.assert_array_equal(encoder.text_features(texts), model.text_features(texts))


def test_what_was_looked_at_ahead_is_made_in_one_go_and_once(pictures) -> None:
    engine = Counting()
    encoder = Encoder(engine, Encoding(tiny_scorer(), CPU))
    encoder.look_ahead(["red", "blue"], pictures, pictures, pictures[:2])
    assert engine.given == [[2, clip.BATCH, 2, 2]]
    encoder.text_features(["red", "blue"])
    encoder.picture_features(pictures)
    assert engine.given[1:] == [[], []]


def test_another_picture_text_or_batch_is_not_taken_for_a_known_one(pictures) -> None:
    engine = Counting()
    encoder = Encoder(engine, Encoding(tiny_scorer(), CPU))
    encoder.look_ahead(["red", "blue"], pictures[:2])
    encoder.text_features(["red"])
    encoder.text_features(["redblue"])
    encoder.picture_features([pictures[1], pictures[0]])
    encoder.picture_features([one.convert("L").convert("RGB") for one in pictures[:2]])
    assert engine.given[1:] == [[1], [1], [2], [2]]


def test_torch_has_its_threads_back(pictures) -> None:
    import torch

    before = torch.get_num_threads()
    during: list[int] = []
    model = clip.load(tiny_scorer(), threads=1)
    model.model.vision_model.register_forward_pre_hook(lambda *_: during.append(torch.get_num_threads()))
    model.picture_features(pictures)
    assert during == [1, 1] and torch.get_num_threads() == before
