"""Tiny checkpoints of every architecture's block structure, and adapters for them in every naming of trainers.

Consumes module names of a checkpoint; produces adapter files, and the weights that fusing them must give, computed
apart from the code under test: in float64, with the convolutions' definition.
"""

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from stages.checkpoints import architectures
from stages.checkpoints.original_names import original_to_diffusers
from tests.tiny import TEXT_WIDTHS, TIME_WIDTH, tiny_checkpoint

STRUCTURES = ("sdxl", "ssd-1b", "vega", "sdxl-refiner")
FILES = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
    "text_encoder_2": "text_encoder_2/model.safetensors",
}
RANK = 3
MINIATURES = Path(__file__).parents[2] / "miniatures/weights"


def write_checkpoint(folder: Path, structure: str) -> Path:
    """A pipeline with a UNet that has the structure's blocks and layers, a few channels wide."""
    from diffusers import UNet2DConditionModel

    refiner = structure == "sdxl-refiner"
    tiny_checkpoint(folder, "refiner" if refiner else "base")
    config = architectures.configurations(structure)["unet"] | {
        "block_out_channels": [4, 8, 16, 16] if refiner else [4, 8, 16],
        "attention_head_dim": 2,
        "norm_num_groups": 2,
        "sample_size": 8,
        "cross_attention_dim": TEXT_WIDTHS[1] if refiner else sum(TEXT_WIDTHS),
        "addition_time_embed_dim": TIME_WIDTH,
        "projection_class_embeddings_input_dim": TEXT_WIDTHS[1] + (5 if refiner else 6) * TIME_WIDTH,
    }
    torch.manual_seed(1)
    UNet2DConditionModel.from_config(config).half().save_pretrained(folder / "unet")
    return folder


def load(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the components that can be adapted, as `unet.conv_in.weight`."""
    return {
        f"{component}.{name}": tensor
        for component, file in FILES.items()
        if (folder / file).exists()
        for name, tensor in load_file(folder / file).items()
    }


def load_folder(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for path in folder.glob("*.safetensors") for name, tensor in load_file(path).items()}


def layers(weights: dict[str, torch.Tensor], component: str = "unet") -> list[str]:
    """Linear layers and convolutions, as `unet.conv_in`."""
    return [
        name.removesuffix(".weight")
        for name, tensor in weights.items()
        if name.startswith(f"{component}.") and tensor.ndim > 1 and "embeddings" not in name
    ]


def matrices(weights: dict[str, torch.Tensor], names: list[str], dtype=torch.float32, seed=0) -> dict[str, dict]:
    """Random `down` and `up` of rank 3 for every layer, as a trainer shapes them: kernels in `down`."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return (torch.randn(shape, generator=generator) * 0.3).to(dtype)

    shapes = {name: tuple(weights[f"{name}.weight"].shape) for name in names}
    return {
        name: {"down": draw(RANK, *shape[1:]), "up": draw(shape[0], RANK, *(1 for _ in shape[2:]))}
        for name, shape in shapes.items()
    }


def _kohya(layer: str, part: str) -> str:
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te1", "text_encoder_2": "lora_te2"}
    component, _, module = layer.partition(".")
    endings = {"down": "lora_down.weight", "up": "lora_up.weight", "mid": "lora_mid.weight"}
    return f"{prefixes[component]}_{module.replace('.', '_')}.{endings.get(part, part)}"


def _dotted(down: str, up: str, prefix: str = "{component}."):
    def name(layer: str, part: str) -> str:
        component, _, module = layer.partition(".")
        return f"{prefix.format(component=component)}{module}.{dict(down=down, up=up).get(part, part)}"

    return name


def _processors(layer: str, part: str) -> str:
    """diffusers' first naming of attention: the matrices belonged to processors, to_out was not a list."""
    if ".attn" not in layer:
        return _dotted("lora.down.weight", "lora.up.weight")(layer, part)
    block, _, projection = layer.removesuffix(".0").rpartition(".")
    return f"{block}.processor.{projection}_lora.{f'{part}.weight' if part in ('down', 'up') else part}"


def _old_encoder(layer: str, part: str) -> str:
    old = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
    block, _, projection = layer.rpartition(".")
    return f"{block}.{old[projection]}_lora.{part}.weight"


KOHYA = _kohya
PEFT = _dotted("lora_A.weight", "lora_B.weight")
NAMINGS = {  # of a layer's matrices, from `unet.mid_block.resnets.0.conv1` and `down`, `up` or another part
    "kohya": KOHYA,
    "peft": PEFT,
    "diffusers": _dotted("lora.down.weight", "lora.up.weight"),
    "processors": _processors,
    "bare peft": _dotted("lora_A.weight", "lora_B.weight", prefix=""),
    "bare diffusers": _dotted("lora.down.weight", "lora.up.weight", prefix=""),
    "bare processors": lambda layer, part: _processors(layer, part).removeprefix("unet."),
    "peft's own": _dotted("lora_A.weight", "lora_B.weight", prefix="base_model.model."),
    "peft's adapter": _dotted("lora_A.default.weight", "lora_B.default.weight", prefix="base_model.model.{component}."),
    "lycoris": lambda layer, part: KOHYA(layer, part).replace("lora_unet_", "lycoris_"),
}
ENCODER_NAMINGS = {
    "kohya": KOHYA,
    "peft": PEFT,
    "diffusers": _dotted("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"),
    "old": _old_encoder,
}


def original_naming(checkpoint: Path, dotted: bool = False):
    """kohya's naming with the layers of the original implementation; or those layers as they are, as ComfyUI does."""
    config = json.loads((checkpoint / "unet/config.json").read_text())
    originals = {module: original for original, module in original_to_diffusers(config).items()}

    def name(layer: str, part: str) -> str:
        original = f"unet.{originals[layer.removeprefix('unet.')]}"
        return KOHYA(original, part).replace("lora_unet_", "diffusion_model.") if dotted else KOHYA(original, part)

    return name


def write(path: Path, adapter: dict[str, dict], naming, alpha: float | None = None, metadata=None) -> Path:
    """The adapter's file; `alpha` becomes a tensor for every layer, of its type."""
    tensors = {naming(layer, part): tensor for layer, parts in adapter.items() for part, tensor in parts.items()}
    if alpha is not None:
        tensors |= {
            naming(layer, "alpha"): torch.tensor(alpha).to(parts["up"].dtype) for layer, parts in adapter.items()
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)
    return path


def product(parts: dict[str, torch.Tensor]) -> np.ndarray:
    """B A in float64: the weight of the convolutions `down`, `mid` and `up` one after the other."""
    down, up = (parts[part].double().numpy() for part in ("down", "up"))
    down, up = (matrix.reshape(*matrix.shape, *(1,) * (4 - matrix.ndim)) for matrix in (down, up))
    if "mid" in parts:
        down = np.einsum("rshw,si->rihw", parts["mid"].double().numpy(), down[:, :, 0, 0])
    return np.einsum("or,rihw->oihw", up[:, :, 0, 0], down)


def expected(weights: dict[str, torch.Tensor], *summands: tuple[dict[str, dict], float]) -> dict[str, np.ndarray]:
    """The adapted weights in float64 after adding factor times B A for every (adapter, factor)."""
    sums = {}
    for adapter, factor in summands:
        for layer, parts in adapter.items():
            weight = weights[f"{layer}.weight"]
            before = sums.get(f"{layer}.weight", weight.double().numpy())
            sums[f"{layer}.weight"] = before + factor * product(parts).reshape(weight.shape)
    return sums


def check(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], sums: dict[str, np.ndarray]) -> None:
    """The sums, as near as float16 can be, and every other tensor as it was."""
    assert set(after) == set(before)
    for name, tensor in after.items():
        if name not in sums:
            assert torch.equal(tensor, before[name]), name
            continue
        assert tensor.dtype == torch.float16 and tensor.shape == before[name].shape
        # Half a step of float16, and what float32 loses where the summands, of the order of 1, cancel each other.
        step = np.spacing(np.abs(sums[name]).astype(np.float16)).astype(np.float64)
        error = np.abs(tensor.double().numpy() - sums[name])
        assert (error <= 0.5 * step + 1e-6).all(), f"{name}: {(error / step).max()} steps of float16"
        delta = sums[name] - before[name].double().numpy()
        assert np.linalg.norm(error) < 0.005 * np.linalg.norm(delta), name
