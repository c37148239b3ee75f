"""A LoRA fused into a UNet: W + scale * (alpha / rank) * B A for every layer that the adapter names.

Consumes a UNet's folder and an adapter's safetensors; produces the UNet's float16 tensors without any trace of the
adapter. An adapter that would be applied in part is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import components, weights
from stages.checkpoints.quiet import quiet
from stages.checkpoints.repository import Repository
from stages.files import manifest

if TYPE_CHECKING:
    from stages.settings.schema import AdapterSource


def fuse(kind: str, lora: AdapterSource, folder: Path, record: Path) -> dict[str, str]:
    """Add the adapter to the UNet's weights in float32 and write them back in float16, without any trace of it."""

    def select(names: list[str]) -> list[str]:
        if lora.file not in names or not lora.file.endswith(".safetensors"):
            raise ValueError(f"{lora.repo} has no safetensors file {lora.file!r}: see source.lora.file")
        return [lora.file]

    path = Repository(kind, lora.repo, lora.revision, record).take(select)[lora.file]
    weights.check_file(path)
    _write_unet(fused_weights(folder / "unet", path, lora.scale), folder / "unet")
    return {f"{lora.repo}/{lora.file}": manifest.sha256(path)}


def fused_weights(unet_folder: Path, lora: Path, scale: float) -> dict[str, Any]:
    """The UNet's float16 tensors after W + scale * (alpha / rank) * B A for every layer that the adapter names."""
    with quiet():
        import torch
        from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

        unet = UNet2DConditionModel.from_pretrained(unet_folder, torch_dtype=torch.float32, use_safetensors=True)
        names = set(unet.state_dict())
        state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(lora), unet_config=unet.config)
        state = _peft_names(state)
        others = sorted(name for name in state if not name.startswith("unet."))
        if others or not state:
            raise ValueError(f"{lora} must adapt the UNet alone, it holds {others[0] if others else 'nothing'}")
        unet.load_lora_adapter(state, network_alphas=alphas, prefix="unet")
        _check_all_adapted(unet, state, lora)
        unet.fuse_lora(lora_scale=scale, safe_fusing=True)
        unet.unload_lora()
        tensors = {name: tensor.half().contiguous() for name, tensor in unet.state_dict().items()}
    assert set(tensors) == names, "fusing changed the UNet's tensors' names"
    return tensors


def _peft_names(state: dict[str, Any]) -> dict[str, Any]:
    """One naming for all layers: diffusers' savers mix two, and its loader then silently drops the attentions."""
    renamed = {".lora.down.": ".lora_A.", ".lora.up.": ".lora_B."}
    return {re.sub(r"\.lora\.(down|up)\.", lambda found: renamed[found[0]], name): state[name] for name in state}


def _check_all_adapted(unet: Any, state: dict[str, Any], lora: Path) -> None:
    named = {name.removeprefix("unet.").split(".lora_")[0] for name in state}
    adapted = {name for name, module in unet.named_modules() if hasattr(module, "lora_A")}
    if named != adapted:
        raise ValueError(f"{lora} does not fit this UNet: {sorted(named ^ adapted)[0]} is not in both")


def _write_unet(tensors: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    for old in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
        old.unlink()
    save_file(tensors, folder / f"{components.STEMS['unet']}.safetensors", metadata={"format": "pt"})
