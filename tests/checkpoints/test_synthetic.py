"""Checkpoints of the true architectures with random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.numpy import load_file

from stages import download
from stages.checkpoints import architectures, components, synthetic, weights
from stages.settings import composing, schema

ROOT = Path(__file__).parents[2]
PUBLISHED = {"sdxl": 2567.46, "ssd-1b": 1331.33, "lcm-ssd-1b": 1331.42, "vega": 745.23, "sdxl-refiner": 2259.53}
SHARED = {"text_encoder": 123.06, "text_encoder_2": 694.66, "vae": 83.65}
SMALL = {  # of the same kind as SDXL, a few thousand parameters
    "unet": {
        "block_out_channels": [8, 16, 16],
        "attention_head_dim": [1, 2, 2],
        "cross_attention_dim": 24,
        "transformer_layers_per_block": [1, 1, 1],
        "projection_class_embeddings_input_dim": 64,
        "addition_time_embed_dim": 8,
        "norm_num_groups": 4,
    },
    "vae": {"block_out_channels": [8, 8, 8, 8], "norm_num_groups": 4},
    "text_encoder": {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 1},
    "text_encoder_2": {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 1,
        "projection_dim": 16,
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name: str) -> None:
    parts = architectures.configurations(name)
    found = {part: synthetic.count_parameters(parts, part) / 1e6 for part in parts if part in components.STEMS}
    expected = SHARED | {"unet": PUBLISHED[name]}
    assert found == pytest.approx({part: expected[part] for part in found}, abs=0.005)
    assert ("text_encoder" in found) == (name != "sdxl-refiner")


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """architectures.yaml with one architecture, `small`."""
    whole = architectures.configurations("sdxl")
    parts = {part: settings | SMALL.get(part, {}) for part, settings in whole.items()}
    file = tmp_path / "architectures.yaml"
    file.write_text(yaml.safe_dump({"configurations": {"small": parts}}))
    monkeypatch.setattr(architectures, "FILE", file)
    architectures._read.cache_clear()
    monkeypatch.setattr(synthetic, "BLOCK", 1000)
    yield tmp_path
    architectures._read.cache_clear()


def test_a_checkpoint_loads_as_a_pipeline_and_is_the_same_every_time(small: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    for name in ("first", "second"):
        synthetic.build("small", small / name)
    files = {path.relative_to(small / "first") for path in (small / "first").rglob("*") if path.is_file()}
    assert all((small / "first" / file).read_bytes() == (small / "second" / file).read_bytes() for file in files)
    components.read_index(small / "first")
    weights.check_weights(small / "first")
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        small / "first", torch_dtype=torch.float32, add_watermarker=False
    )
    picture = pipeline("a lighthouse", height=32, width=32, num_inference_steps=2, output_type="np").images
    assert np.isfinite(picture).all() and picture.std() > 0


def test_weights_have_the_variance_that_keeps_activations_finite(small: Path) -> None:
    synthetic.build("small", small / "built")
    tensors = load_file(small / "built/unet/diffusion_pytorch_model.safetensors")
    assert all(tensor.dtype == np.float16 for tensor in tensors.values())
    wide = tensors["up_blocks.0.resnets.0.conv1.weight"].astype(np.float32)
    assert wide.std() == pytest.approx(wide[0].size ** -0.5, rel=0.1)
    assert (tensors["conv_norm_out.weight"] == 1).all() and (tensors["conv_out.bias"] == 0).all()


def test_the_tokenizer_is_of_clips_size_and_reads_any_caption(small: Path) -> None:
    from transformers import CLIPTokenizer

    synthetic.build("small", small / "built")
    tokenizers = [CLIPTokenizer.from_pretrained(small / "built" / name) for name in components.TOKENIZERS]
    assert [len(tokenizer) for tokenizer in tokenizers] == [49408, 49408]
    assert [tokenizer.pad_token for tokenizer in tokenizers] == ["<|endoftext|>", "!"]
    caption = "a red fox jumps over 3 lazy dogs; naïve, 漢字"
    ids = tokenizers[0](caption).input_ids
    assert ids[0] == 49406 and ids[-1] == 49407 and len(ids) > 10
    assert tokenizers[0].decode(ids[1:-1]).replace(" ", "") == caption.replace(" ", "")


def test_an_unknown_architecture_is_refused_with_the_known_ones(small: Path) -> None:
    with pytest.raises(ValueError, match="source.architecture 'sdx' is not known; allowed: small"):
        synthetic.build("sdx", small / "built")


def test_the_download_says_that_weights_are_random(small: Path) -> None:
    source = object.__new__(schema.Source)
    none = dict.fromkeys(("repo", "revision", "variant", "file", "tokenizers", "unet", "vae"))
    vars(source).update(kind="synthetic", architecture="small", adapters=[], **none)
    made = download.download("synthetic-small", source, "Apache-2.0", small)
    sources = [{"kind": "synthetic", "name": "small", "part": "pipeline"}]
    assert made["facts"] == {"licence": "Apache-2.0", "random_weights": True, "sources": sources}
    assert json.loads((small / "artifacts/checkpoints/synthetic-small/model_index.json").read_text())


def test_the_family_is_composed_of_six_models() -> None:
    params = yaml.safe_load(composing.compose(["family=synthetic"], ROOT / "conf"))
    assert len(params["model"]) == 6
    assert all(model["source"]["architecture"] in architectures.names() for model in params["model"].values())
    assert params["clip"]["kind"] == "none"
