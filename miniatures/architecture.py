"""The six architectures in miniature: the real ones' block structure at a hundredth of their width.

Holds configurations and builders only; weights come from `miniatures.train`. Widths, depths and token counts are scaled
down, what distinguishes the six from each other is kept: transformer depths (1, 2, 10) against (4, 10) against (1, 2),
the plain mid block of SSD-1B and Vega, the refiner's single text encoder and five time ids, LCM's guidance embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SIZE_PX = 64
LATENT_PX = 16  # the VAE halves the picture twice
TOKENS = 16  # the longest caption is 12 tokens with its two ends
TEXT_WIDTHS = (64, 96)  # text encoders 1 and 2; SDXL: 768 and 1280
TIME_WIDTH = 32  # width of each embedded time id; SDXL: 256

COMMON: dict[str, Any] = dict(
    sample_size=LATENT_PX,
    in_channels=4,
    out_channels=4,
    layers_per_block=1,
    block_out_channels=[32, 48, 64],
    attention_head_dim=[2, 3, 4],  # the number of heads, as in SDXL's own configuration
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    transformer_layers_per_block=[1, 2, 10],
    use_linear_projection=True,
    addition_embed_type="text_time",
    addition_time_embed_dim=TIME_WIDTH,
    projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + 6 * TIME_WIDTH,
    cross_attention_dim=sum(TEXT_WIDTHS),
    norm_num_groups=8,
)
SSD_1B = dict(
    mid_block_type="UNetMidBlock2D",
    transformer_layers_per_block=[1, [2], [4]],
    reverse_transformer_layers_per_block=[[4, 10], [2, 1], 1],
)
UNETS: dict[str, dict[str, Any]] = {
    "sdxl": {},
    "sdxl-shallow": dict(transformer_layers_per_block=[1, 1, 2]),  # never published: what the base is grown from
    "ssd-1b": SSD_1B,
    "lcm-ssd-1b": {**SSD_1B, "time_cond_proj_dim": 32},
    "vega": dict(mid_block_type="UNetMidBlock2D", transformer_layers_per_block=[1, 1, 2]),
    "sdxl-refiner": dict(
        block_out_channels=[32, 48, 64, 64],
        attention_head_dim=[2, 3, 4, 4],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
        transformer_layers_per_block=4,
        cross_attention_dim=TEXT_WIDTHS[1],
        projection_class_embeddings_input_dim=TEXT_WIDTHS[1] + 5 * TIME_WIDTH,
    ),
}


def build_unet(name: str) -> Any:
    """UNet of one member with random weights; `name` is a key of UNETS."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_config({**COMMON, **UNETS[name]})


def build_vae() -> Any:
    """(N, 3, 64, 64) pictures in [-1, 1] to (N, 4, 16, 16) latents and back."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        sample_size=SIZE_PX,
        block_out_channels=(24, 48, 80),
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=4,
        norm_num_groups=8,
    )


def build_tiny_vae() -> Any:
    """The same latents, scaled, and back by a fraction of the work."""
    from diffusers import AutoencoderTiny

    widths = (24, 24, 24)
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=(1, 2, 2),
        num_decoder_blocks=(2, 2, 1),
        latent_channels=4,
    )


def text_config(vocabulary: int, end_token: int, width: int, activation: str) -> Any:
    """A CLIP text tower; SDXL reads the last but one of its three layers."""
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=3,
        num_attention_heads=width // 32,
        max_position_embeddings=TOKENS,
        hidden_act=activation,
        bos_token_id=end_token - 1,
        eos_token_id=end_token,
        pad_token_id=end_token,
    )


def build_clip(vocabulary: int, end_token: int) -> tuple[Any, Any]:
    """A CLIP model of the wider text tower and an image tower of 8-pixel patches, and the narrower text tower."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextModel, CLIPVisionConfig

    first, second = TEXT_WIDTHS
    image = CLIPVisionConfig(
        hidden_size=second,
        intermediate_size=2 * second,
        projection_dim=second,
        num_hidden_layers=4,
        num_attention_heads=second // 32,
        image_size=SIZE_PX,
        patch_size=8,
    )
    text = text_config(vocabulary, end_token, second, "gelu")
    config = CLIPConfig(text_config=text.to_dict(), vision_config=image.to_dict(), projection_dim=second)
    return CLIPModel(config), CLIPTextModel(text_config(vocabulary, end_token, first, "quick_gelu"))


def second_text_encoder(clip: Any) -> Any:
    """The text tower of `clip` with its projection, as SDXL's second text encoder is stored."""
    from transformers import CLIPTextModelWithProjection

    tower = CLIPTextModelWithProjection(clip.config.text_config)
    own = tower.state_dict()
    tower.load_state_dict({name: weight for name, weight in clip.state_dict().items() if name in own})
    return tower


def tokenizer(captions: list[str], folder: Path) -> Any:
    """The tokenizer in `folder`; where there is none yet, one with a vocabulary learnt from `captions`.

    Which of two equally frequent pairs gets the lower id is chance, and the text encoders know only the ids that they
    were trained with: it is built once, and every later run and every other process loads it.
    """
    from transformers import CLIPTokenizer

    if not (folder / "tokenizer_config.json").exists():
        build_tokenizer(captions, folder)
    return CLIPTokenizer.from_pretrained(folder)


def build_tokenizer(captions: list[str], folder: Path) -> None:
    """Write CLIP's tokenizer with a byte-pair vocabulary learnt from `captions` to `folder`."""
    import json

    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    alphabet = sorted(set("abcdefghijklmnopqrstuvwxyz0123456789-',.!&"))
    trainer = trainers.BpeTrainer(
        vocab_size=2000, min_frequency=1, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(captions, trainer)
    state = json.loads(bpe.to_str())["model"]
    vocabulary = dict(state["vocab"])
    # A character must be readable at the end of a word as well as inside it.
    for letter in alphabet:
        for token in (letter, f"{letter}</w>"):
            vocabulary.setdefault(token, len(vocabulary))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    merges = [" ".join(pair) if isinstance(pair, list) else pair for pair in state["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    tokenizer = CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=TOKENS, pad_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
