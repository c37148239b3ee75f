"""The UNet's layers by the names of the original implementation (LDM, SGM) and by those of diffusers.

Consumes a UNet2DConditionModel's configuration of the SDXL family; produces a map of module paths, for every module
that holds weights. Derived from the block structure alone: opens no file and converts no tensor.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

DEFAULTS = {  # what diffusers takes for a field that a configuration leaves out
    "layers_per_block": 2,
    "transformer_layers_per_block": 1,
    "reverse_transformer_layers_per_block": None,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "addition_embed_type": None,
}
ATTENDS = {  # block types, and whether a transformer follows each of their resnets
    "DownBlock2D": False,
    "CrossAttnDownBlock2D": True,
    "UpBlock2D": False,
    "CrossAttnUpBlock2D": True,
    "UNetMidBlock2D": False,
    "UNetMidBlock2DCrossAttn": True,
}
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
}
TRANSFORMER_BLOCK = (  # named alike by both
    *(f"attn{number}.{layer}" for number in (1, 2) for layer in ("to_q", "to_k", "to_v", "to_out.0")),
    *("ff.net.0.proj", "ff.net.2", "norm1", "norm2", "norm3"),
)


def original_to_diffusers(config: dict[str, Any]) -> dict[str, str]:
    """Module paths, e.g. input_blocks.4.1.proj_in: down_blocks.1.attentions.0.proj_in; ValueError for unknown blocks.

    What the original never had (an LCM UNet's time_embedding.cond_proj) is not in the map.
    """
    config = {**DEFAULTS, **config}
    for kind in (*config["down_block_types"], *config["up_block_types"], config["mid_block_type"]):
        if kind not in ATTENDS:
            raise ValueError(f"the UNet's block type {kind!r} has no original name, known: {', '.join(ATTENDS)}")
    return dict([*_outside(config), *_down(config), *_middle(config), *_up(config)])


def _outside(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "input_blocks.0.0", "conv_in"
    yield "time_embed.0", "time_embedding.linear_1"
    yield "time_embed.2", "time_embedding.linear_2"
    if config["addition_embed_type"] == "text_time":
        yield "label_emb.0.0", "add_embedding.linear_1"
        yield "label_emb.0.2", "add_embedding.linear_2"
    yield "out.0", "conv_norm_out"
    yield "out.2", "conv_out"


def _down(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kinds, channels = config["down_block_types"], config["block_out_channels"]
    layers = _per_block(config["layers_per_block"], len(kinds))
    depths = _per_block(config["transformer_layers_per_block"], len(kinds))
    number = 1  # input_blocks.0 is conv_in
    for block, kind in enumerate(kinds):
        widens = channels[block] != channels[max(block - 1, 0)]
        for layer, depth in enumerate(_per_block(depths[block], layers[block])):
            here, there = f"input_blocks.{number}", f"down_blocks.{block}"
            yield from _resnet(f"{here}.0", f"{there}.resnets.{layer}", shortcut=widens and layer == 0)
            if ATTENDS[kind]:
                yield from _transformer(f"{here}.1", f"{there}.attentions.{layer}", depth)
            number += 1
        if block < len(kinds) - 1:
            yield f"input_blocks.{number}.0.op", f"down_blocks.{block}.downsamplers.0.conv"
            number += 1


def _middle(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from _resnet("middle_block.0", "mid_block.resnets.0", shortcut=False)
    if ATTENDS[config["mid_block_type"]]:
        depths = _per_block(config["transformer_layers_per_block"], len(config["down_block_types"]))
        yield from _transformer("middle_block.1", "mid_block.attentions.0", _per_block(depths[-1], 1)[0])
        yield from _resnet("middle_block.2", "mid_block.resnets.1", shortcut=False)


def _up(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    kinds = config["up_block_types"]
    layers = _per_block(config["layers_per_block"], len(kinds))[::-1]
    mirrored = _per_block(config["transformer_layers_per_block"], len(kinds))[::-1]
    depths = config["reverse_transformer_layers_per_block"] or mirrored
    number = 0
    for block, kind in enumerate(kinds):
        for layer, depth in enumerate(_per_block(depths[block], layers[block] + 1)):
            here, there = f"output_blocks.{number}", f"up_blocks.{block}"
            # What a skip connection brings is concatenated: no resnet here has as many channels in as out.
            yield from _resnet(f"{here}.0", f"{there}.resnets.{layer}", shortcut=True)
            if ATTENDS[kind]:
                yield from _transformer(f"{here}.1", f"{there}.attentions.{layer}", depth)
            number += 1
        if block < len(kinds) - 1:  # it has no number of its own, unlike a downsampler
            yield f"{here}.{2 if ATTENDS[kind] else 1}.conv", f"{there}.upsamplers.0.conv"


def _resnet(original: str, diffusers: str, shortcut: bool) -> Iterator[tuple[str, str]]:
    for here, there in RESNET.items():
        yield f"{original}.{here}", f"{diffusers}.{there}"
    if shortcut:
        yield f"{original}.skip_connection", f"{diffusers}.conv_shortcut"


def _transformer(original: str, diffusers: str, depth: int) -> Iterator[tuple[str, str]]:
    layers = [f"transformer_blocks.{number}.{layer}" for number in range(depth) for layer in TRANSFORMER_BLOCK]
    for layer in ("norm", "proj_in", *layers, "proj_out"):
        yield f"{original}.{layer}", f"{diffusers}.{layer}"


def _per_block(value: int | list, count: int) -> list:
    return list(value) if isinstance(value, (list, tuple)) else [value] * count
