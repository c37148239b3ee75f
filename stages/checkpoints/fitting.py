"""Whether a checkpoint's parts are what their configurations say: every tensor there, of its shape and type, no other.

Consumes checked configurations and headers of safetensors; produces nothing but an error that names file and tensor.
The list of tensors is that of the class itself, built without memory for its weights. Reads no numbers.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from stages.checkpoints import components, configurations, synthetic, weights
from stages.checkpoints.streaming import Entry, read_header

OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}  # VAEs of before 2023
TIME_IDS = {"base": 6, "refiner": 5}  # original size, crop, target size; a score takes the place of the last two
LONGEST = 3  # tensors that an error names
Shapes = dict[str, tuple[int, ...]]


def check_tensors(folder: Path, class_name: str, settings: dict[str, Any]) -> None:
    """Check the weights of one component against its checked configuration; its folder is one of components.STEMS."""
    path = folder / "config.json"
    wanted = _shapes(path, class_name, settings)
    found: dict[str, tuple[Path, Entry]] = {}
    for file in weights.component_files(folder, components.STEMS[folder.name]):
        found |= {_current(folder.name, name): (file, entry) for name, entry in read_header(file)[0].items()}
    _check_names(folder, wanted, found)
    for name, shape in wanted.items():
        file, entry = found[name]
        if entry.shape != shape:
            raise ValueError(f"{file}: tensor {name} is {list(entry.shape)}, by {path} it must be {list(shape)}")
        weights.check_type(file, name, entry)


def check_together(folder: Path, settings: dict[str, dict[str, Any]]) -> None:
    """Check components against each other: `settings` are their configurations by the name of their folder."""
    unet, vae = settings["unet"], components.vae_config(settings["vae"])
    encoders = {part: found for part, found in settings.items() if part.startswith("text_encoder")}
    where = folder / "unet/config.json"
    if unet.get("in_channels", 4) != (latents := vae.get("latent_channels", 4)):
        raise ValueError(
            f"{where}: in_channels must be {latents}, as the VAE's latents have, got {unet['in_channels']}"
        )
    width = sum(found["hidden_size"] for found in encoders.values())
    if unet["cross_attention_dim"] != width:
        raise ValueError(
            f"{where}: cross_attention_dim must be {width}, the hidden_size of {' and '.join(encoders)}, "
            f"got {unet['cross_attention_dim']}"
        )
    lengths = {part: found["max_position_embeddings"] for part, found in encoders.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{folder}: text encoders must have the same max_position_embeddings, got {lengths}")
    time_ids(folder, unet, settings["text_encoder_2"])


def time_ids(folder: Path, unet: dict[str, Any], encoder: dict[str, Any]) -> int:
    """How many numbers describe size and crop: six, or five where the last is an aesthetic score (the refiner)."""
    embedded, pooled, each = "projection_class_embeddings_input_dim", "projection_dim", "addition_time_embed_dim"
    count, rest = divmod(unet[embedded] - encoder[pooled], unet[each])
    if rest or count not in TIME_IDS.values():
        raise ValueError(
            f"{folder}/unet/config.json: {embedded} must be the text encoder's {pooled} plus 5 or 6 times {each}, "
            f"got {unet[embedded]} with {encoder[pooled]} and {unet[each]}"
        )
    return count


def _shapes(path: Path, class_name: str, settings: dict[str, Any]) -> Shapes:
    """Shapes of all tensors that a component has, by name."""
    try:
        module = synthetic.built(class_name, settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def _check_names(folder: Path, wanted: Shapes, found: dict[str, tuple[Path, Entry]]) -> None:
    config = folder / "config.json"
    if missing := [name for name in wanted if name not in found]:
        size = sum(math.prod(wanted[name]) for name in missing)
        raise ValueError(
            f"{folder} lacks {len(missing)} of {len(wanted)} tensors that {config} asks for ({size} numbers): "
            f"{_some(missing)}"
        )
    unknown = [name for name in found if name not in wanted and not _is_explained(folder.name, name)]
    if unknown:
        file, _ = found[unknown[0]]
        raise ValueError(f"{file} holds {len(unknown)} tensors that {config} does not ask for: {_some(unknown)}")


def _is_explained(part: str, name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in configurations.leftovers(part))


def _current(part: str, name: str) -> str:
    """The name that diffusers gives a tensor today, as its own loader does for old VAEs."""
    if part != "vae" or ".attentions." not in name:
        return name
    start, _, kind = name.rpartition(".")
    module, _, last = start.rpartition(".")
    return f"{module}.{OLD_ATTENTION[last]}.{kind}" if last in OLD_ATTENTION else name


def _some(names: list[str]) -> str:
    return ", ".join(names[:LONGEST]) + (", ..." if len(names) > LONGEST else "")
