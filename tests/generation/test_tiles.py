"""Tiled decoding against the whole one: by hand, with decoders that can be foreseen, and with a true VAE."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from stages.checkpoints import components
from stages.export import convert
from stages.generation import drawing, pipelines, tiles
from tests.tiny import SIZE_PX
from tests.tiny_ir import CPU, sampler, tiny_ir

ROOT = Path(__file__).parents[2]


class Nearest:
    """A decoder that repeats the first three channels, hands out the same memory every time, and notes its inputs."""

    def __init__(self, scale: int) -> None:
        self.scale, self.shapes, self.memory = scale, [], {}

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        self.shapes.append(latents.shape)
        assert latents.dtype == np.float32 and latents.flags.c_contiguous
        decoded = latents[:, :3].repeat(self.scale, 2).repeat(self.scale, 3)
        memory = self.memory.setdefault(decoded.shape, np.empty_like(decoded))
        memory[:] = decoded
        return memory


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, 4, height, width), np.float32)


# --- by hand


def test_tiles_begin_a_stride_apart_and_the_last_one_ends_with_the_side() -> None:
    assert tiles.starts(10, 4, 1) == [0, 3, 6]
    assert tiles.starts(9, 4, 1) == [0, 3, 5]
    assert tiles.starts(128, 64, 16) == [0, 48, 64]
    assert tiles.starts(8, 4, 0) == [0, 4]
    assert tiles.starts(4, 4, 1) == tiles.starts(3, 4, 1) == [0]


@pytest.mark.parametrize("overlap", [-1, 4])
def test_an_overlap_that_leaves_no_stride_is_refused(overlap: int) -> None:
    with pytest.raises(ValueError, match=f"overlap must be at least 0 and less than the tile of 4, got {overlap}"):
        tiles.decode(Nearest(1), noise(8, 8), tile=4, overlap=overlap, scale=1)


def test_weights_of_a_row_of_two_tiles_are_those_computed_by_hand() -> None:
    answers = iter([np.zeros((1, 3, 1, 3), np.float32), np.ones((1, 3, 1, 3), np.float32)])
    row = tiles.decode(lambda latents: next(answers), noise(1, 4), tile=3, overlap=2, scale=1)
    assert row[0, 0, 0].tolist() == [0, 0.25, 0.75, 1]


def test_weights_where_four_tiles_meet_are_the_products_of_both_directions() -> None:
    answers = iter([np.full((1, 3, 3, 3), value, np.float32) for value in (0, 0, 0, 1)])
    square = tiles.decode(lambda latents: next(answers), noise(4, 4), tile=3, overlap=2, scale=1)
    assert square[0, 0].tolist() == np.outer([0, 0.25, 0.75, 1], [0, 0.25, 0.75, 1]).tolist()


# --- decoders that can be foreseen


def test_all_tiles_have_one_shape_and_every_one_is_decoded_once() -> None:
    decoder = Nearest(8)
    picture = tiles.decode(decoder, noise(100, 128))
    assert decoder.shapes == [(1, 4, 64, 64)] * 6
    assert picture.shape == (1, 3, 800, 1024) and picture.dtype == np.float32


def test_a_picture_smaller_than_a_tile_is_decoded_whole_by_one_call_and_copied() -> None:
    decoder = Nearest(8)
    picture = tiles.decode(decoder, noise(64, 40))
    assert decoder.shapes == [(1, 4, 64, 40)]
    assert not np.shares_memory(picture, decoder.memory[picture.shape])


def test_a_side_shorter_than_a_tile_is_taken_whole() -> None:
    decoder = Nearest(2)
    tiles.decode(decoder, noise(5, 20), tile=8, overlap=2, scale=2)
    assert decoder.shapes == [(1, 4, 5, 8)] * 3


@pytest.mark.parametrize(("size", "tile", "overlap"), [((13, 29), 8, 2), ((16, 16), 5, 4), ((12, 18), 6, 0)])
def test_what_every_tile_decodes_alike_is_the_whole_picture_to_the_last_bit(size, tile, overlap) -> None:
    latents = noise(*size)
    tiled = tiles.decode(Nearest(4), latents, tile, overlap, scale=4)
    assert np.array_equal(tiled, Nearest(4)(latents))


def test_a_constant_stays_exactly_constant() -> None:
    tiled = tiles.decode(Nearest(8), np.full((1, 4, 50, 70), 0.1, np.float32), tile=16, overlap=5)
    assert (tiled == np.float32(0.1)).all()


def test_a_slope_keeps_to_itself_where_a_tile_knows_not_what_is_beyond_its_edge() -> None:
    """Bilinear upsampling is flat in the outer half pixel of a tile, 0.5 of the slope off at most: there the weight is
    at most 4 of 32 output pixels."""
    slope, scale, overlap = 1.0, 8, 4
    latents = np.broadcast_to(np.arange(40, dtype=np.float32) * slope, (1, 4, 40, 40))
    tiled = tiles.decode(_bilinear, latents, tile=16, overlap=overlap, scale=scale)
    difference = np.abs(tiled - _bilinear(latents))
    assert 0 < difference.max() <= 0.5 * slope * (scale / 2) / (overlap * scale)
    assert difference[..., :32].max() == 0, "nothing is shared there"


def _bilinear(latents: np.ndarray) -> np.ndarray:
    import torch

    colours = torch.from_numpy(latents[:, :3].copy())
    return torch.nn.functional.interpolate(colours, scale_factor=8, mode="bilinear").numpy()


# --- a trained VAE


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The tiny pipeline with the VAE of mini-SDXL, which is trained: a random one makes noise of any difference."""
    folder = shutil.copytree(tiny_ir("base"), tmp_path_factory.mktemp("tiles") / "ir")
    for component in components.COMPONENTS:
        if component.folder == "vae":
            shutil.rmtree(folder / component.name)
            convert(ROOT / "miniatures/weights/sdxl", component, folder / component.name)
    return pipelines.load(folder, "text-to-image", sampler(), CPU)


@pytest.fixture(scope="module")
def latents(pipeline) -> np.ndarray:
    """A picture that mini-SDXL drew, larger than it draws them: (1, 4, 48, 64), 4 pixels each."""
    from PIL import Image

    drawn = Image.open(ROOT / "miniatures/weights/sdxl/samples.webp").convert("RGB").crop((0, 0, 128, 128))
    picture = np.asarray(drawn.resize((256, 192)), np.float32).transpose(2, 0, 1)[None] / 127.5 - 1
    return pipeline.vae.encode(picture).latent_dist.mean.numpy().copy()


def decoded(pipeline, latents: np.ndarray, tile: int, overlap: int) -> np.ndarray:
    tiles.in_tiles(pipeline, tile, overlap)
    return pipeline.vae.decode(latents, return_dict=False)[0].numpy()


def steps(picture: np.ndarray) -> np.ndarray:
    """Mean step from each column of pixels to the next one."""
    return np.abs(np.diff(picture, axis=3)).mean((0, 1, 2))


def test_a_pipeline_in_tiles_decodes_close_to_the_whole_and_without_seams(pipeline, latents) -> None:
    whole = decoded(pipeline, latents, 64, 0).copy()
    tiled, cut = (decoded(pipeline, latents, 32, overlap) - whole for overlap in (8, 0))
    assert 20 * np.log10(2 / np.sqrt(np.mean(tiled**2))) > 33
    seam, borders = 127, [95, 96, 127, 128, 223, 224]
    assert steps(cut)[seam] > 10 * steps(cut).mean(), "tiles that do not overlap show where they meet"
    assert steps(tiled)[borders].max() < 2 * steps(tiled).mean()
    assert steps(tiled).max() < 0.5 * steps(whole).max(), "no step of tiling is as large as the picture's own"


def test_only_what_is_larger_than_a_tile_is_decoded_in_tiles_of_one_shape(pipeline, latents, monkeypatch) -> None:
    shapes: list[tuple[int, int]] = []
    pipeline.vae_decoder.compile()
    request = pipeline.vae_decoder.request

    def noting(inputs, **how):
        shapes.append(inputs["latent_sample"].shape[2:])
        return request(inputs, **how)

    monkeypatch.setattr(pipeline.vae_decoder, "request", noting)
    decoded(pipeline, latents, 32, 8)
    assert shapes == [(32, 32)] * 6
    shapes.clear()
    decoded(pipeline, latents, 64, 8)
    assert shapes == [(48, 64)]


def test_a_tiled_picture_stays_as_it_is_and_comes_as_optimum_gives_it(pipeline, latents) -> None:
    import torch

    first = decoded(pipeline, latents, 32, 8)
    kept = first.copy()
    decoded(pipeline, -latents, 32, 8)
    assert np.array_equal(first, kept)
    whole = type(pipeline.vae_decoder).forward(pipeline.vae_decoder, latents)
    tiled = pipeline.vae_decoder(torch.from_numpy(latents))
    assert type(tiled) is type(whole) and list(tiled) == list(whole)
    assert np.array_equal(tiled["sample"].numpy(), kept) and tiled["sample"].dtype == whole["sample"].dtype
    assert list(pipeline.vae_decoder(latents, return_dict=True)) == ["sample"]


def test_a_generated_picture_is_decoded_in_tiles(pipeline) -> None:
    tiles.in_tiles(pipeline, 4, 2)
    picture = drawing.generate(pipeline, "a red dog", sampler(), 7)
    finished = drawing.generate(pipeline, "a red dog", sampler(), 7, output="latent")
    assert picture.size == (SIZE_PX, SIZE_PX)
    assert np.array_equal(np.asarray(picture), np.asarray(drawing.decode(pipeline, finished)))


def test_tiles_that_cannot_be_are_refused_at_once(pipeline) -> None:
    with pytest.raises(ValueError, match="less than the tile of 8, got 8"):
        tiles.in_tiles(pipeline, 8, 8)
