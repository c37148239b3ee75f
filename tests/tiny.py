"""Random-weight SDXL pipelines of a few hundred kilobytes, in true diffusers layout, written in about a second.

Produces `base` and `refiner` pipelines, `lcm-unet` and `tiny-vae` (parts at the folder's root), `lora` (an adapter
for `base`) and `clip` (a CLIPModel with its processors).
Only structure is true: the pictures are noise.
"""

import json
from pathlib import Path

SIZE_PX = 32
TOKENS = 16
TEXT_WIDTHS = (16, 32)
TIME_WIDTH = 8
KINDS = ("base", "refiner", "lcm-unet", "tiny-vae", "lora", "clip")


def tiny_checkpoint(folder: Path, kind: str, seed: int = 0) -> Path:
    """Write one of KINDS to `folder`, the same for the same seed, and return `folder`."""
    import torch

    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "lora":
        _write_lora(folder)
    elif kind == "clip":
        _write_clip(folder)
    elif kind == "lcm-unet":
        _save(_unet("base", time_cond_proj_dim=8), folder)
    elif kind == "tiny-vae":
        _save(tiny_vae(), folder)
    elif kind in ("base", "refiner"):
        _write_pipeline(folder, kind)
    else:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    return folder


def _write_pipeline(folder: Path, kind: str) -> None:
    from diffusers import EulerDiscreteScheduler

    base = kind == "base"
    _save(_unet(kind), folder / "unet")
    _save(_vae(), folder / "vae")
    _save(_text_encoder(1), folder / "text_encoder_2")
    _write_tokenizer(folder / "tokenizer_2")
    if base:
        _save(_text_encoder(0), folder / "text_encoder")
        _write_tokenizer(folder / "tokenizer")
    scheduler = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    scheduler.register_to_config(steps_offset=1, timestep_spacing="leading")
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionXLPipeline" if base else "StableDiffusionXLImg2ImgPipeline",
        "_diffusers_version": "0.39.0",
        "force_zeros_for_empty_prompt": base,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"] if base else [None, None],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"] if base else [None, None],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    if not base:
        index["requires_aesthetics_score"] = True
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))


def _unet(kind: str, **changes):
    from diffusers import UNet2DConditionModel

    time_ids = 6 if kind == "base" else 5
    return UNet2DConditionModel(
        sample_size=SIZE_PX // 2,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=1,
        attention_head_dim=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=TIME_WIDTH,
        projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + time_ids * TIME_WIDTH,
        cross_attention_dim=sum(TEXT_WIDTHS) if kind == "base" else TEXT_WIDTHS[1],
        norm_num_groups=8,
        **changes,
    )


def _vae():
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=SIZE_PX,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        norm_num_groups=4,
        scaling_factor=0.13025,
    )


def tiny_vae(**changes):
    """diffusers' AutoencoderTiny with the latents of the pipeline's own VAE."""
    from diffusers import AutoencoderTiny

    settings = {
        "encoder_block_out_channels": (8, 8),
        "decoder_block_out_channels": (8, 8),
        "num_encoder_blocks": (1, 1),
        "num_decoder_blocks": (1, 1),
    }
    return AutoencoderTiny(**settings | changes)


def _text_encoder(index: int):
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    return (CLIPTextModel, CLIPTextModelWithProjection)[index](_text_config(index))


def _text_config(index: int):
    from transformers import CLIPTextConfig

    width, end = TEXT_WIDTHS[index], len(_vocabulary()) - 1
    return CLIPTextConfig(
        vocab_size=end + 1,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=TOKENS,
        hidden_act=("quick_gelu", "gelu")[index],
        bos_token_id=end - 1,
        eos_token_id=end,
        pad_token_id=end,
    )


def _write_clip(folder: Path) -> None:
    from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPVisionConfig

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = CLIPVisionConfig(**sizes, image_size=SIZE_PX, patch_size=8, projection_dim=16)
    _save(CLIPModel(CLIPConfig(text_config=_text_config(0), vision_config=vision, projection_dim=16)), folder)
    _write_tokenizer(folder)
    square = {"height": SIZE_PX, "width": SIZE_PX}
    CLIPImageProcessorPil(size={"shortest_edge": SIZE_PX}, crop_size=square).save_pretrained(folder)


def _vocabulary() -> dict[str, int]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789-',.!"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "re", "red</w>", "<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}


def _write_tokenizer(folder: Path) -> None:
    from transformers import CLIPTokenizer

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(_vocabulary()))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nre d</w>\n")
    files = str(folder / "vocab.json"), str(folder / "merges.txt")
    CLIPTokenizer(*files, model_max_length=TOKENS, pad_token="<|endoftext|>").save_pretrained(folder)


def _write_lora(folder: Path) -> None:
    """Rank-2 matrices for the queries and values of every attention, named as diffusers names them."""
    import torch
    from safetensors.torch import save_file

    unet, tensors = _unet("base"), {}
    for name, module in unet.named_modules():
        if name.endswith(("to_q", "to_v")):
            tensors[f"unet.{name}.lora_A.weight"] = torch.randn(2, module.in_features) * 0.1
            tensors[f"unet.{name}.lora_B.weight"] = torch.randn(module.out_features, 2) * 0.1
    save_file(tensors, folder / "pytorch_lora_weights.safetensors", metadata={"format": "pt"})


def _save(module, folder: Path) -> None:
    module.half().save_pretrained(folder)
