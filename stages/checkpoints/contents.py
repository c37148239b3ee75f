"""What a single safetensors file under the original code's names holds: which tensors are of which component.

Consumes the names of its tensors; produces them by component, or an error that says what the file is instead. Nothing
is dropped but what LEFT_OUT names. Reads no file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

PREFIXES = {
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
    "vae": "first_stage_model.",
    "unet": "model.diffusion_model.",
}
REFINER_PREFIXES = {
    "text_encoder_2": "conditioner.embedders.0.model.",
    "vae": PREFIXES["vae"],
    "unet": PREFIXES["unet"],
}
ALONE = {
    "unet": ("a UNet", "input_blocks.0.0.weight"),
    "vae": ("a VAE", "encoder.conv_in.weight"),
}  # and a tensor of it
AVERAGED = "model_ema."
LEFT_OUT = {  # pattern of a whole name: what the tensor is, and why nothing is lost without it
    r"betas|alphas_cumprod(_prev)?|(log|sqrt)_\w*alphas_cumprod|posterior_\w+": "noise schedule: the scheduler's own",
    r"sqrt_recipm1_alphas_cumprod|denoiser\.sigmas": "noise schedule: the scheduler's own",
    r"v_pred|ztsnr": "switches without values: they go into the scheduler's configuration",
    re.escape(AVERAGED)
    + ".*": "averaged weights: a second UNet to go on training with, told about where it is left out",
    r".*\.position_ids": "the numbers 0 to 76",
    r"(first_stage_model\.)?loss\..*": "the discriminator that the VAE was trained against",
    r"conditioner\.embedders\.\d\.(model\.|transformer\.)?logit_scale": "CLIP's temperature for comparing pictures",
    r"conditioner\.embedders\.0\.(transformer\.)?text_projection(\.weight)?": "CLIP-L's pooled text, unused in SDXL",
}
REFUSED = {  # pattern of a name's beginning: what such a file is
    r"cond_stage_model\.": "it is of Stable Diffusion 1 or 2, not of the SDXL family",
    r"lora_|.*\.lora_(down|up|A|B)\.": "it holds a LoRA: name it in source.adapters",
    r"control_model\.|controlnet": "it holds a ControlNet",
    r"edm_": "it was trained on EDM's noise levels (Playground v2.5, CosXL): take it as a diffusers folder",
    r"scaled_fp8$|.*\.(scale_weight|weight_scale)$": "its 8-bit weights have scales: the float16 file is wanted",
    r"(.*\.)?(down_blocks|up_blocks)\.": "it has the names of diffusers: its folder is wanted, with config.json",
}


def split(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Names without prefix, and in full, by component; a refiner has no first text encoder."""
    names = [name for name in names if not _is_left_out(name)]
    refiner = any(name.startswith(REFINER_PREFIXES["text_encoder_2"]) for name in names)
    prefixes = REFINER_PREFIXES if refiner else PREFIXES
    parts: dict[str, dict[str, str]] = {part: {} for part in prefixes}
    unknown = []
    for name in names:
        part = next((part for part, prefix in prefixes.items() if name.startswith(prefix)), None)
        if reason := next((reason for pattern, reason in REFUSED.items() if re.match(pattern, name)), None):
            raise ValueError(f"{reason} (tensor {name})")
        if part is None:
            unknown.append(name)
        else:
            parts[part][name.removeprefix(prefixes[part])] = name
    for part, (_, first) in ALONE.items():
        if first in unknown:
            return {part: {name: name for name in unknown}}
    if unknown:
        some = f"{', '.join(unknown[:3])}{', ...' if len(unknown) > 3 else ''}"
        raise ValueError(f"it holds {len(unknown)} tensors that belong to no component: {some}")
    return {part: tensors for part, tensors in parts.items() if tensors}


def check_whole(names: Iterable[str], parts: dict[str, dict[str, str]]) -> None:
    """Refuse what is no whole checkpoint, and say what it is and where it can stand."""
    if len(parts) == 1 and (part := next(iter(parts))) in ALONE:
        raise ValueError(f"it holds {ALONE[part][0]} alone, no whole checkpoint: it can stand as source.{part}")
    if "unet" not in parts and any(name.startswith(AVERAGED) for name in names):
        raise ValueError(f"it holds averaged weights alone ({AVERAGED}*): the file with the UNet itself is wanted")
    prefixes = PREFIXES if "text_encoder" in parts else REFINER_PREFIXES
    for part, prefix in prefixes.items():
        if part not in parts:
            raise ValueError(f"it has no {part}: none of its tensors is called {prefix}*")


def averaged(names: Iterable[str]) -> int:
    """How many averaged weights are left out."""
    return sum(name.startswith(AVERAGED) for name in names)


def _is_left_out(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in LEFT_OUT)
