"""Names in adapter files: which layer of which component a tensor adapts, and what part it plays there.

Consumes the names that trainers write (kohya's with diffusers' or the original layers, diffusers' old and new, peft's)
and those of a checkpoint; produces module paths of the checkpoint. Opens no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from stages.checkpoints.original_names import original_to_diffusers

PARTS = {  # the end of a tensor's name, and its part: the matrices B (up) and A (down), a kernel between them, ...
    r"\.lora_down\.weight|\.lora_A(\.[^.]+)?\.weight|[._]lora\.down\.weight|\.lora_linear_layer\.down\.weight": "down",
    r"\.lora_up\.weight|\.lora_B(\.[^.]+)?\.weight|[._]lora\.up\.weight|\.lora_linear_layer\.up\.weight": "up",
    r"\.lora_mid\.weight": "mid",
    r"(_lora)?\.alpha": "alpha",
    r"\.diff": "diff",
    r"\.diff_b": "diff_b",
}
UNSUPPORTED = {  # tensors that only another kind of adapter has
    r"\.dora_scale$|\.lora_magnitude_vector\b": "DoRA",
    r"\.hada_[wt][12]": "LoHa",
    r"\.lokr_[wt][12]": "LoKr",
    r"\.on_input$|\.ia3_l\b": "(IA)^3",
    r"\.[ab][12]\.weight$": "GLoRA",
    r"\.b?oft_": "OFT",
    r"\.[wb]_norm$": "a LyCORIS adapter of norms",
    r"\.lora_embedding_[AB]\b": "a LoRA of embeddings",
    r"\.lora_B(\.[^.]+)?\.bias$": "a LoRA with biases",
}
PREFIXES = {  # the first that fits counts
    "lora_unet_": "unet",
    "lycoris_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "text_encoder_2.": "text_encoder_2",
    "text_encoder.": "text_encoder",
    "unet.": "unet",
    "diffusion_model.": "unet",
    "": "unet",
}
OLD_ATTENTION = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}


def split(tensor: str) -> tuple[str, str] | None:
    """A tensor's layer, as the file names it, and its part: a value of PARTS; None for what a LoRA does not hold."""
    for ending, part in PARTS.items():
        if found := re.fullmatch(rf"(.+?)(?:{ending})", tensor):
            return found[1], part
    return None


def unsupported(tensor: str) -> str | None:
    """The kind of adapter that a tensor gives away, where it is one that cannot be fused here."""
    return next((kind for pattern, kind in UNSUPPORTED.items() if re.search(pattern, tensor)), None)


def locate(layer: str) -> tuple[str, str]:
    """The component of a layer, and the layer's name within it, in whatever naming the file has."""
    layer = layer.replace("base_model.model.", "").replace(".processor.", ".")
    prefix, component = next(item for item in PREFIXES.items() if layer.startswith(item[0]))
    return component, layer.removeprefix(prefix)


def aliases(component: str, modules: Iterable[str], config: dict[str, Any]) -> dict[str, str]:
    """Every name under which a file may adapt one of the component's modules, and the module's path."""
    modules = list(modules)
    names = [pair for module in modules for pair in _own_names(component, module)]
    if component == "unet":
        originals = original_to_diffusers(config).items()
        names += [(original, module) for original, module in originals if module in set(modules)]
    table: dict[str, str] = {}
    for name, module in names:
        for alias in (name, name.replace(".", "_")):
            assert table.setdefault(alias, module) == module, f"{alias} may be {module} or {table[alias]}"
    return table


def _own_names(component: str, module: str) -> Iterator[tuple[str, str]]:
    yield module, module
    if component == "unet":
        if module.endswith(".to_out.0"):  # diffusers once named it by its list alone
            yield module.removesuffix(".0"), module
        return
    # Releases of transformers differ in whether the text model has a level of its own.
    bare = module.removeprefix("text_model.")
    for name in (bare, f"text_model.{bare}"):
        yield name, module
        for old, new in OLD_ATTENTION.items():
            if name.endswith(f".self_attn.{new}"):
                yield f"{name.removesuffix(new)}{old}", module
