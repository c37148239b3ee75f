"""Pictures inside a page: lossless while they fit, then smaller, the first groups last, never more than the room."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stages.report import embedding
from stages.report.embedding import FORMS, LOSSLESS


def noise(side: int, seed: int = 0) -> Image.Image:
    """What compresses worst."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8))


def opened(one: embedding.Embedded) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(one.uri.partition(",")[2]))).convert("RGB")


def test_small_pictures_are_there_to_the_last_bit():
    groups = [[noise(64, seed), noise(64, seed + 10)] for seed in range(3)]
    fitted = embedding.fit(groups, room=200_000)
    assert all(one.exact and one.form is LOSSLESS for group in fitted for one in group)
    assert opened(fitted[1][0]).tobytes() == groups[1][0].tobytes()


@pytest.mark.parametrize("room", [60_000, 150_000, 400_000, 900_000])
def test_what_does_not_fit_is_made_smaller_the_first_groups_last(room):
    groups = [[noise(512, seed), noise(512, seed + 10)] for seed in range(4)]
    fitted = embedding.fit(groups, room)
    assert sum(map(embedding.size, fitted)) <= room and not any(one.exact for group in fitted for one in group)
    used = [FORMS.index(group[0].form) if group else len(FORMS) for group in fitted]
    assert used == sorted(used) and used[0] < len(FORMS)
    assert all(len({one.form for one in group}) == 1 for group in fitted if group)
    whole = [one for group in fitted for one in group if one.whole]
    assert all((one.width, one.height) == (512, 512) for one in whole) and (room < 900_000 or whole)


def test_no_picture_is_ever_enlarged():
    found = embedding.embed(noise(40), embedding.Form(80, 512))
    assert (found.width, found.height) == (40, 40) and found.whole and not found.exact
