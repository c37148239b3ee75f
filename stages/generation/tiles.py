"""Tiled decoding: latents are decoded in overlapping squares that fade into each other, so that the decoder's memory
is bounded by the tile and not by the picture.

Consumes a decoder and latents; produces the picture. All tiles have one shape, so that OpenVINO prepares for one only.
Does not promise the whole decoder's picture: what a VAE takes from everywhere (its attention, the means of its norms)
it takes from the tile, which shifts tones a little between tiles. Knows no model.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def decode(
    decoder: Callable[[np.ndarray], np.ndarray], latents: np.ndarray, tile: int = 64, overlap: int = 16, scale: int = 8
) -> np.ndarray:
    """The picture (n, 3, scale x h, scale x w) of latents (n, 4, h, w), as a new array.

    `decoder` maps (n, 4, th, tw) to (n, 3, scale x th, scale x tw) and may hand out the same memory at every call.
    `tile` and `overlap` are in latent pixels; a side that is shorter than a tile is taken whole. Raises ValueError
    unless 0 <= overlap < tile.
    """
    height, width = latents.shape[2:]
    tops, lefts = starts(height, tile, overlap), starts(width, tile, overlap)

    def strip(top: int) -> np.ndarray:
        row = latents[:, :, top : top + tile]
        pieces = (decoder(np.ascontiguousarray(row[..., left : left + tile])) for left in lefts)
        return _joined(pieces, [scale * left for left in lefts], scale * width, axis=3)

    return _joined(map(strip, tops), [scale * top for top in tops], scale * height, axis=2)


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin along a side: `starts(10, 4, 1)` is [0, 3, 6], `starts(9, 4, 1)` is [0, 3, 5].

    The last tile is moved inwards to end with the side, where it shares more than `overlap` with the one before.
    """
    _require_stride(tile, overlap)
    last = max(length - tile, 0)
    return [*range(0, last, tile - overlap), last]


def ramp(shared: int) -> np.ndarray:
    """Weights of a tile over the pixels that it shares with what is there: `ramp(2)` is [0.25, 0.75]."""
    return ((np.arange(shared) + 0.5) / max(shared, 1)).astype(np.float32)


def in_tiles(pipeline: Any, tile: int, overlap: int) -> None:
    """Make a pipeline of optimum-intel decode in tiles whatever is larger than one; `tile` in latent pixels.

    And those made from it by `pipelines.also`, which share the decoder. A second call replaces the first. Raises
    ValueError unless 0 <= overlap < tile.
    """
    _require_stride(tile, overlap)
    decoder, scale = pipeline.vae_decoder, pipeline.vae_scale_factor
    whole = functools.partial(type(decoder).forward, decoder)
    decoder.forward = functools.partial(_forward, whole, tile, overlap, scale)


def _forward(
    whole: Callable[..., Any],
    tile: int,
    overlap: int,
    scale: int,
    latent_sample: Any,
    timestep: Any = None,
    generator: Any = None,
    return_dict: bool = False,
) -> Any:
    """OVModelVaeDecoder's forward, tile by tile; its answer is the same kind of object, with memory of its own."""
    import torch
    from transformers.modeling_outputs import ModelOutput

    if max(latent_sample.shape[2:]) <= tile:
        return whole(latent_sample, timestep, generator, return_dict)

    def piece(latents: np.ndarray) -> np.ndarray:
        return whole(latents, timestep, generator, return_dict=True)["sample"].numpy()

    picture = decode(piece, np.asarray(latent_sample), tile, overlap, scale)
    answer = {"sample": torch.from_numpy(picture)}
    return answer if return_dict else ModelOutput(**answer)


def _require_stride(tile: int, overlap: int) -> None:
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must be at least 0 and less than the tile of {tile}, got {overlap}")


def _joined(pieces: Iterable[np.ndarray], starts: list[int], length: int, axis: int) -> np.ndarray:
    """Pieces laid along `axis` at `starts`, each fading in over what it shares with those before it.

    A step of w x (new - old) is 0 where both agree: what is constant stays so to the last bit.
    """
    joined, filled = None, 0
    for start, piece in zip(starts, pieces, strict=True):
        if joined is None:
            joined = np.empty([*piece.shape[:axis], length, *piece.shape[axis + 1 :]], np.float32)
        target, source = np.moveaxis(joined, axis, -1), np.moveaxis(piece, axis, -1)
        shared, end = filled - start, start + source.shape[-1]
        target[..., start:filled] += ramp(shared) * (source[..., :shared] - target[..., start:filled])
        target[..., filled:end] = source[..., shared:]
        filled = end
    assert joined is not None and filled == length, "pieces must cover the whole side"
    return joined
