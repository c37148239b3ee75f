"""CLIP's features: pictures prepared as the model says, texts cut at its limit, no weights made up."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from stages.measurement import clip
from tests.tiny import SIZE_PX, TOKENS, tiny_checkpoint

MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
RANDOM = np.random.default_rng(0)
# As openai's repositories have it: older than the form that transformers writes today.
OLD = {
    "crop_size": SIZE_PX, "size": SIZE_PX, "do_center_crop": True, "do_normalize": True, "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": MEAN.tolist(), "image_std": STD.tolist(),
    "resample": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("clip") / "clip", "clip")


@pytest.fixture(scope="module")
def model(folder):
    return clip.load(folder)


@pytest.fixture
def copy(folder, tmp_path):
    """A copy of the tiny model that a test may spoil."""
    return shutil.copytree(folder, tmp_path / "copy")


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(RANDOM.integers(0, 256, (height, width, 3), dtype=np.uint8))


def normalized(picture: Image.Image) -> np.ndarray:
    return ((np.asarray(picture) / 255 - MEAN) / STD).transpose(2, 0, 1)


@pytest.mark.parametrize("form", ["new", "old"])
def test_pictures_are_resized_cropped_and_normalized_as_computed_by_hand(copy, form):
    if form == "old":
        (copy / "preprocessor_config.json").write_text(json.dumps(OLD))
    picture = noise(2 * SIZE_PX, 4 * SIZE_PX)
    half = picture.resize((SIZE_PX, 2 * SIZE_PX), Image.Resampling.BICUBIC)
    middle = half.crop((0, SIZE_PX // 2, SIZE_PX, SIZE_PX + SIZE_PX // 2))
    found = clip.load(copy).processor([picture], return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(found, normalized(middle)[None], atol=1e-5)


def test_features_are_those_of_the_model_alone_whatever_the_batch(model):
    import torch

    pictures = [noise(SIZE_PX, SIZE_PX) for _ in range(clip.BATCH + 2)]
    found = model.picture_features(pictures)
    assert found.shape == (len(pictures), 16) and found.dtype == np.float32
    pixels = torch.from_numpy(normalized(pictures[-1])[None]).float()
    expected = model.model.visual_projection(model.model.vision_model(pixel_values=pixels).pooler_output)
    np.testing.assert_allclose(found[-1:], expected.detach().numpy(), atol=1e-5)
    texts = ["red", "a red cat, a red dog", *["red red"] * clip.BATCH]
    together = model.text_features(texts)
    np.testing.assert_allclose(together[:1], model.text_features(["red"]), atol=1e-5)
    np.testing.assert_allclose(together[-1], together[2], atol=1e-5)


def test_texts_longer_than_the_limit_are_cut_off(model):
    long, full, short = (model.text_features(["red " * count])[0] for count in (50, TOKENS - 2, TOKENS - 3))
    np.testing.assert_array_equal(long, full)  # all but the start and the end of the text
    assert not np.allclose(long, short)


def test_weights_that_do_not_fit_the_configuration_are_named_not_made_up(copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"projection_dim": 24}))
    with pytest.raises(ValueError, match="text_projection.weight are missing or of another shape"):
        clip.load(copy)
    config["vision_config"]["num_hidden_layers"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"vision_model\.encoder\.layers\.2\..* are missing"):
        clip.load(copy)
