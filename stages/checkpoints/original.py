"""Tensors under the names of the original code (LDM, SGM, OpenCLIP) beside those of diffusers and transformers.

Consumes the names of one component's tensors, without their prefix in the file; produces, for every tensor of the
diffusers component, where it comes from. The UNet's modules are original_names'. Knows no shapes and reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from stages.checkpoints.original_names import original_to_diffusers

VAE_BLOCKS = (
    (r"\.down\.(\d+)\.block\.(\d+)\.", r".down_blocks.\1.resnets.\2."),
    (r"\.down\.(\d+)\.downsample\.", r".down_blocks.\1.downsamplers.0."),
    (r"\.up\.(\d+)\.block\.(\d+)\.", r".up_blocks.\1.resnets.\2."),
    (r"\.up\.(\d+)\.upsample\.", r".up_blocks.\1.upsamplers.0."),
    (r"\.mid\.block_1\.", ".mid_block.resnets.0."),
    (r"\.mid\.block_2\.", ".mid_block.resnets.1."),
    (r"\.mid\.attn_1\.", ".mid_block.attentions.0."),
    (r"\.nin_shortcut\.", ".conv_shortcut."),
    (r"^(encoder|decoder)\.norm_out\.", r"\1.conv_norm_out."),
    (r"(attentions\.0)\.norm\.", r"\1.group_norm."),
    (r"(attentions\.0)\.([qkv])\.", r"\1.to_\2."),
    (r"(attentions\.0)\.proj_out\.", r"\1.to_out.0."),
)
OPENCLIP = (
    (r"^transformer\.resblocks\.", "text_model.encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.out_proj\.", ".self_attn.out_proj."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^token_embedding\.weight$", "text_model.embeddings.token_embedding.weight"),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
)
FUSED = re.compile(r"(transformer\.resblocks\.\d+)\.attn\.in_proj_(weight|bias)")  # queries, keys and values in one


@dataclass(frozen=True)
class Origin:
    """A tensor of the file: the whole of it, one third of its rows, or it transposed."""

    name: str
    third: int | None = None
    transposed: bool = False


def origins(part: str, names: Collection[str], settings: dict[str, Any]) -> dict[str, Origin]:
    """Where each tensor of the diffusers component comes from, by its name there; unknown names keep theirs.

    `settings` is the component's configuration: blocks of a UNet are numbered through in the original.
    """
    if part == "text_encoder_2":
        return _openclip(names)
    if part == "text_encoder":  # kept under transformers' own names
        return {name: Origin(name) for name in names}
    renamed = _unet(names, settings) if part == "unet" else _vae(names)
    return {new: Origin(old) for old, new in renamed.items()}


def down_levels(names: Collection[str]) -> list[list[int]]:
    """Numbers of a UNet's `input_blocks` by level, without the downsamplers between them, nor the first convolution."""
    levels: list[list[int]] = [[]]
    for number in range(1, _count(names, "input_blocks")):
        if f"input_blocks.{number}.0.op.weight" in names:
            levels.append([])
        else:
            levels[-1].append(number)
    return levels


def up_levels(names: Collection[str]) -> list[list[int]]:
    """Numbers of a UNet's `output_blocks` by level, deepest first: an upsampler is in the last block of its level."""
    levels: list[list[int]] = [[]]
    for number in range(_count(names, "output_blocks")):
        levels[-1].append(number)
        if any(f"output_blocks.{number}.{place}.conv.weight" in names for place in (1, 2)):
            levels.append([])
    return levels


def numbers(names: Collection[str], before: str) -> set[int]:
    """Numbers that follow `before.` in the names: `numbers(["a.0.b", "a.3.b"], "a")` is {0, 3}."""
    found = (re.match(re.escape(before) + r"\.(\d+)\.", name) for name in names)
    return {int(match[1]) for match in found if match}


def _count(names: Collection[str], before: str) -> int:
    return 1 + max(numbers(names, before), default=-1)


def _unet(names: Collection[str], settings: dict[str, Any]) -> dict[str, str]:
    modules = original_to_diffusers(settings)
    parted = {name: name.rpartition(".") for name in names}
    return {name: f"{modules.get(module, module)}.{kind}" for name, (module, _, kind) in parted.items()}


def _vae(names: Collection[str]) -> dict[str, str]:
    last = max(numbers(names, "decoder.up"), default=0)

    def turned(match: re.Match) -> str:  # the original counts the decoder's blocks from the picture's end
        return f"decoder.up.{last - int(match[1])}."

    return {name: _replace(re.sub(r"^decoder\.up\.(\d+)\.", turned, name), VAE_BLOCKS) for name in names}


def _openclip(names: Collection[str]) -> dict[str, Origin]:
    found = {}
    for name in names:
        if fused := FUSED.fullmatch(name):
            layer = _replace(f"{fused[1]}.", OPENCLIP)
            found |= {
                f"{layer}self_attn.{letter}_proj.{fused[2]}": Origin(name, "qkv".index(letter)) for letter in "qkv"
            }
        elif name == "text_projection":  # a matrix there, the weight of a linear layer here
            found["text_projection.weight"] = Origin(name, transposed=True)
        else:
            found[_replace(name, OPENCLIP)] = Origin(name)
    return found


def _replace(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern, replacement, name)
    return name
