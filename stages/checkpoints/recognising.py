"""Configurations of components out of the shapes of their tensors, in the original code's names.

Consumes shapes by name and the configurations to fall back on for what shapes do not show (heads, groups of norms,
activations, scaling of latents); produces a configuration whose module has exactly these tensors. Reads no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from stages.checkpoints import architectures, original, synthetic

HEAD_WIDTH = 64  # of every attention in the published family
Shapes = dict[str, tuple[int, ...]]
Settings = dict[str, Any]


def configuration(part: str, shapes: Shapes, given: Settings | None, pooled: int | None, refiner: bool) -> Settings:
    """The first of `given` and the published ones that has these shapes, else one read from the shapes themselves.

    `pooled` is the width of the pooled text embedding, which the UNet's projection of sizes and crops holds too.
    """
    for settings in (given, *_published(part)):
        if settings is not None and module_shapes(part, settings) == sizes(part, shapes, settings):
            return settings
    fallback = given or architectures.configurations("sdxl-refiner" if refiner else "sdxl")[part]
    try:
        if part == "unet":
            return fallback | _unet(shapes, fallback, pooled, 5 if refiner else 6)
        return fallback | (_vae(shapes, fallback) if part == "vae" else _text_encoder(shapes, fallback))
    except KeyError as error:
        raise ValueError(f"{part}: tensor {error.args[0]} is missing") from error
    except (IndexError, ArithmeticError) as error:
        raise ValueError(f"{part}: its blocks are not those of the SDXL family") from error


def _published(part: str) -> list[Settings | None]:
    return [architectures.configurations(name).get(part) for name in architectures.names()]


def module_shapes(part: str, settings: Settings) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in synthetic.empty(part, settings).state_dict().items()}


def sizes(part: str, shapes: Shapes, settings: Settings) -> Shapes:
    """Shapes by diffusers' names: thirds, transposed matrices, and 1 x 1 convolutions where linear layers are meant."""
    found = {}
    for name, origin in original.origins(part, shapes, settings).items():
        shape = shapes[origin.name]
        if origin.third is not None and shape[0] % 3 == 0:
            shape = (shape[0] // 3, *shape[1:])
        if part == "vae" and ".attentions." in name and shape[2:] == (1, 1):
            shape = shape[:2]
        found[name] = shape[::-1] if origin.transposed else shape
    return found


def _unet(shapes: Shapes, fallback: Settings, pooled: int | None, time_ids: int) -> Settings:
    down = [[_depth(shapes, f"input_blocks.{number}") for number in level] for level in original.down_levels(shapes)]
    up = [[_depth(shapes, f"output_blocks.{number}") for number in level] for level in original.up_levels(shapes)]
    channels = [shapes[f"input_blocks.{level[0]}.0.out_layers.3.weight"][0] for level in original.down_levels(shapes)]
    middle = _depth(shapes, "middle_block")
    depths = [_plain(level) if any(level) else 1 for level in down]
    if not any(down[-1]) and middle:
        depths[-1] = middle  # the middle block takes the depth of the deepest level
    pairs = zip(up[::-1], depths, down, strict=False)
    mirrored = all(_plain(above) == depth for above, depth, below in pairs if any(below))
    condition = next((shape[1] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")), 0)
    linear = all(len(shape) == 2 for name, shape in shapes.items() if name.endswith(".proj_in.weight"))
    embedded = shapes["label_emb.0.0.weight"][1]
    return {
        "in_channels": shapes["input_blocks.0.0.weight"][1],
        "out_channels": shapes["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": _plain([len(level) for level in down]),
        "down_block_types": ["CrossAttnDownBlock2D" if any(level) else "DownBlock2D" for level in down],
        "up_block_types": ["CrossAttnUpBlock2D" if any(level) else "UpBlock2D" for level in up],
        "mid_block_type": _middle_type(shapes, middle),
        "transformer_layers_per_block": depths,
        "reverse_transformer_layers_per_block": None
        if mirrored
        else [_plain(level) if any(level) else 1 for level in up],
        "cross_attention_dim": condition,
        "use_linear_projection": linear,
        "projection_class_embeddings_input_dim": embedded,
        "addition_time_embed_dim": (embedded - pooled) // time_ids if pooled else fallback["addition_time_embed_dim"],
        "attention_head_dim": _heads("unet", channels, fallback["block_out_channels"], fallback["attention_head_dim"]),
        "norm_num_groups": _groups("unet", channels, fallback),
        "time_cond_proj_dim": None,
    }


def _middle_type(shapes: Shapes, depth: int) -> str | None:
    if depth:
        return "UNetMidBlock2DCrossAttn"
    return "UNetMidBlock2D" if original.numbers(shapes, "middle_block") else None


def _depth(shapes: Shapes, block: str) -> int:
    """How many transformer layers the attention of a block has, none where it has no attention."""
    return len(original.numbers(shapes, f"{block}.1.transformer_blocks"))


def _vae(shapes: Shapes, fallback: Settings) -> Settings:
    levels = sorted(original.numbers(shapes, "encoder.down"))
    channels = [shapes[f"encoder.down.{level}.block.0.conv2.weight"][0] for level in levels]
    return {
        "in_channels": shapes["encoder.conv_in.weight"][1],
        "out_channels": shapes["decoder.conv_out.weight"][0],
        "latent_channels": shapes["decoder.conv_in.weight"][1],
        "block_out_channels": channels,
        "layers_per_block": len(original.numbers(shapes, "encoder.down.0.block")),
        "down_block_types": ["DownEncoderBlock2D"] * len(levels),
        "up_block_types": ["UpDecoderBlock2D"] * len(levels),
        "mid_block_add_attention": "encoder.mid.attn_1.q.weight" in shapes,
        "use_quant_conv": "quant_conv.weight" in shapes,
        "use_post_quant_conv": "post_quant_conv.weight" in shapes,
        "norm_num_groups": _groups("vae", channels, fallback),
    }


def _text_encoder(shapes: Shapes, fallback: Settings) -> Settings:
    """Of either encoder: both are CLIP's, under the same names once the second is translated."""
    part = "text_encoder" if "text_model.final_layer_norm.weight" in shapes else "text_encoder_2"
    shapes = sizes(part, shapes, fallback)
    vocabulary, width = (shapes["text_model.embeddings.token_embedding.weight"][axis] for axis in (0, 1))
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "max_position_embeddings": shapes["text_model.embeddings.position_embedding.weight"][0],
        "intermediate_size": shapes["text_model.encoder.layers.0.mlp.fc1.weight"][0],
        "num_hidden_layers": len(original.numbers(shapes, "text_model.encoder.layers")),
        "num_attention_heads": _heads(part, [width], [fallback["hidden_size"]], [fallback["num_attention_heads"]])[0],
        "projection_dim": shapes.get("text_projection.weight", (width,))[0],
    }


def _heads(part: str, channels: list[int], known: Iterable[int], heads: Any) -> list[int]:
    """Attention heads by level: the known ones where the widths are the same, else one for every 64 channels."""
    if list(known) == channels:
        return heads
    if any(width % HEAD_WIDTH for width in channels):
        raise ValueError(
            f"{part}: how many attention heads widths of {channels} have is not to be seen in weights, and they are "
            f"no multiples of {HEAD_WIDTH}: a configuration of it is needed"
        )
    return [width // HEAD_WIDTH for width in channels]


def _groups(part: str, channels: list[int], fallback: Settings) -> int:
    groups = fallback.get("norm_num_groups", 32)
    if math.gcd(*channels) % groups:
        raise ValueError(
            f"{part}: how many groups its norms have is not to be seen in weights, and {groups} do not divide "
            f"{channels}: a configuration of it is needed"
        )
    return groups


def _plain(values: list[int]) -> int | list[int]:
    return values[0] if len(set(values)) == 1 else values
