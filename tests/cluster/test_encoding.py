"""CLIP sees the same, to the last bit, on the workers of a cluster."""

from __future__ import annotations

import numpy as np
from PIL import Image

from stages.engines.crew import Crew
from stages.engines.engine import LOCAL
from stages.measurement import clip
from stages.measurement.encoding import Encoder, Encoding
from tests.cluster.conftest import ONE_THREAD
from tests.tiny import SIZE_PX
from tests.tiny_ir import tiny_scorer


def test_features_are_the_same_bytes_and_none_is_made_here(lasting: Crew) -> None:
    count = 3 * clip.BATCH + 1
    noise = np.random.default_rng(0).integers(0, 256, (count, SIZE_PX, SIZE_PX, 3), dtype=np.uint8)
    pictures, texts = [Image.fromarray(one) for one in noise], ["red", "a red cat, a red dog"] * clip.BATCH
    here, work = Encoder(LOCAL, Encoding(tiny_scorer(), ONE_THREAD)), Encoding(tiny_scorer(), ONE_THREAD)
    there = Encoder(lasting, work)
    there.look_ahead(texts, pictures)
    np.testing.assert_array_equal(there.picture_features(pictures), here.picture_features(pictures))
    np.testing.assert_array_equal(there.text_features(texts), here.text_features(texts))
    assert work._loaded is None
