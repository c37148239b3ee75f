"""Pipelines of diffusers written as one file under the names of the original code, the way fine-tunes are published.

Produces that file out of a folder in diffusers layout. The names are computed from the configuration's numbers of
levels and layers, as diffusers' own scripts/convert_diffusers_to_original_sdxl.py has them listed for SDXL; the code
under test goes the other way, without a configuration.
"""

import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
CLIP = {
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.weight": "ln_final.weight",
    "text_model.final_layer_norm.bias": "ln_final.bias",
}


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a pipeline under the original names."""
    refiner = not (folder / "text_encoder").is_dir()
    found = {f"model.diffusion_model.{name}": tensor for name, tensor in unet(folder / "unet").items()}
    found |= {f"first_stage_model.{name}": tensor for name, tensor in vae(folder / "vae").items()}
    prefix = f"conditioner.embedders.{0 if refiner else 1}.model."
    found |= {f"{prefix}{name}": tensor for name, tensor in openclip(folder / "text_encoder_2").items()}
    if not refiner:
        clip = load_file(folder / "text_encoder/model.safetensors")
        found |= {f"conditioner.embedders.0.transformer.{name}": tensor for name, tensor in clip.items()}
    return found


def write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> Path:
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path, metadata=metadata)
    return path


def unet(folder: Path) -> dict[str, torch.Tensor]:
    settings = json.loads((folder / "config.json").read_text())
    loaded = load_file(folder / "diffusion_pytorch_model.safetensors")
    return {unet_name(name, settings): tensor for name, tensor in loaded.items()}


def unet_name(name: str, settings: dict) -> str:
    for new, old in ENDS.items():
        if name.startswith(f"{new}."):
            return name.replace(new, old, 1)
    side, *rest = name.split(".")
    if side == "mid_block":
        kind, number, *rest = rest
        head = f"middle_block.{2 * int(number) if kind == 'resnets' else 1}"
    else:
        level, kind, number, *rest = rest
        head = _place(settings, side, int(level), kind, int(number))
    if kind == "resnets":
        rest = [RESNET[rest[0]], *rest[1:]]
    elif kind == "downsamplers":
        rest = rest[1:]  # `conv` is called `op`, which is in the head
    return ".".join([head, *rest])


def _place(settings: dict, side: str, level: int, kind: str, number: int) -> str:
    step = settings["layers_per_block"] + 1
    attends = settings["up_block_types"][level].startswith("CrossAttn")
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * step}.0.op"
    if kind == "upsamplers":
        return f"output_blocks.{level * step + step - 1}.{2 if attends else 1}"
    block = (
        f"input_blocks.{1 + level * step + number}"
        if side == "down_blocks"
        else f"output_blocks.{level * step + number}"
    )
    return f"{block}.{0 if kind == 'resnets' else 1}"


def vae(folder: Path) -> dict[str, torch.Tensor]:
    last = len(json.loads((folder / "config.json").read_text())["block_out_channels"]) - 1
    found = {}
    for name, tensor in load_file(folder / "diffusion_pytorch_model.safetensors").items():
        name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0\.", r"down.\1.downsample.", name)
        name = re.sub(r"up_blocks\.(\d)\.", lambda match: f"up.{last - int(match[1])}.", name)
        name = name.replace(".resnets.", ".block.") if ".up." in name else name
        name = name.replace(".upsamplers.0.", ".upsample.").replace("conv_shortcut", "nin_shortcut")
        name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        name = name.replace("conv_norm_out", "norm_out").replace("mid_block.attentions.0", "mid.attn_1")
        if "attn_1" in name:
            name = name.replace("group_norm", "norm").replace("to_out.0", "proj_out")
            name = re.sub(r"to_([qkv])", r"\1", name)
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor  # convolutions of 1 x 1 there
        found[name] = tensor
    return found


def openclip(folder: Path) -> dict[str, torch.Tensor]:
    loaded = load_file(folder / "model.safetensors")
    found = {}
    for name, tensor in loaded.items():
        if name == "text_projection.weight":
            found["text_projection"] = tensor.T
        elif name in CLIP:
            found[CLIP[name]] = tensor
        elif "_proj." in name and ".out_proj." not in name:
            layer, letter, kind = re.fullmatch(r"(.*self_attn)\.([qkv])_proj\.(\w+)", name).groups()
            if letter == "q":
                fused = torch.cat([loaded[f"{layer}.{each}_proj.{kind}"] for each in "qkv"])
                found[f"{_layer(layer)}.in_proj_{kind}"] = fused
        else:
            found[_layer(name)] = tensor
    return found


def _layer(name: str) -> str:
    for new, old in (
        ("text_model.encoder.layers", "transformer.resblocks"),
        ("self_attn", "attn"),
        ("layer_norm", "ln_"),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
    ):
        name = name.replace(new, old)
    return name
