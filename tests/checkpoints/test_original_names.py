"""Names of the original UNet: complete for every architecture, and what diffusers' own converters make of them."""

import pytest

from stages.checkpoints import architectures, synthetic
from stages.checkpoints.original_names import original_to_diffusers

KINDS = architectures.names()
NOT_IN_THE_ORIGINAL = {"time_embedding.cond_proj"}  # of LCM UNets, which came after it


@pytest.fixture(scope="module")
def weights():
    """The names of the weights of every architecture's UNet, at true size and without memory."""
    configs = {kind: architectures.configurations(kind)["unet"] for kind in KINDS}
    return {kind: list(synthetic.empty("unet", config).state_dict()) for kind, config in configs.items()}


def names(kind: str) -> dict[str, str]:
    return original_to_diffusers(architectures.configurations(kind)["unet"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_module_with_weights_has_one_original_name_and_no_other_module_has(weights, kind):
    modules = {name.rpartition(".")[0] for name in weights[kind]} - NOT_IN_THE_ORIGINAL
    assert set(names(kind).values()) == modules
    assert len(names(kind)) == len(modules)


@pytest.mark.parametrize("kind", KINDS)
def test_diffusers_converts_an_original_checkpoint_to_the_same_names(weights, kind):
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    expected = {}
    for original, module in names(kind).items():
        for part in ("weight", "bias"):
            if f"{module}.{part}" in weights[kind]:
                expected[f"{module}.{part}"] = f"{original}.{part}"
    checkpoint = {f"model.diffusion_model.{original}": original for original in expected.values()}
    assert convert_ldm_unet_checkpoint(checkpoint, architectures.configurations(kind)["unet"]) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_diffusers_converts_kohyas_names_to_the_same_layers(kind):
    from types import SimpleNamespace

    from diffusers.loaders import lora_conversion_utils as diffusers
    from diffusers.utils.state_dict_utils import convert_unet_state_dict_to_peft

    # diffusers takes the upsampler that follows a resnet without attention, of the refiner, for an attention; and it
    # knows no norms, which no LoRA adapts.
    adapted = {
        original: module
        for original, module in names(kind).items()
        if "norm" not in module and (kind, original) != ("sdxl-refiner", "output_blocks.2.1.conv")
    }
    layers = SimpleNamespace(layers_per_block=2)
    found = {}
    for original in adapted:
        key = f"lora_unet_{original.replace('.', '_')}.lora_down.weight"
        (key,) = diffusers._maybe_map_sgm_blocks_to_diffusers({key: None}, layers)
        (name,) = convert_unet_state_dict_to_peft({diffusers._convert_unet_lora_key(key): None})
        found[original] = name.removesuffix(".lora_A.weight")
    assert found == adapted


def test_the_names_that_the_papers_code_has():
    found = names("sdxl")
    expected = {
        "input_blocks.0.0": "conv_in",
        "time_embed.0": "time_embedding.linear_1",
        "label_emb.0.2": "add_embedding.linear_2",
        "input_blocks.3.0.op": "down_blocks.0.downsamplers.0.conv",
        "input_blocks.4.0.skip_connection": "down_blocks.1.resnets.0.conv_shortcut",
        "input_blocks.4.1.transformer_blocks.0.attn1.to_q": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
        ),
        "input_blocks.8.0.emb_layers.1": "down_blocks.2.resnets.1.time_emb_proj",
        "middle_block.1.transformer_blocks.9.ff.net.0.proj": (
            "mid_block.attentions.0.transformer_blocks.9.ff.net.0.proj"
        ),
        "middle_block.2.in_layers.2": "mid_block.resnets.1.conv1",
        "output_blocks.2.2.conv": "up_blocks.0.upsamplers.0.conv",
        "output_blocks.8.0.out_layers.3": "up_blocks.2.resnets.2.conv2",
        "out.0": "conv_norm_out",
        "out.2": "conv_out",
    }
    assert {original: found[original] for original in expected} == expected


def test_a_mid_block_of_one_resnet_has_no_other_layer():
    layers = ("in_layers.0", "in_layers.2", "emb_layers.1", "out_layers.0", "out_layers.3")
    found = {name for name in names("vega") if name.startswith("middle_block")}
    assert found == {f"middle_block.0.{layer}" for layer in layers}


def test_an_unknown_block_is_refused_by_name():
    config = architectures.configurations("vega")["unet"] | {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}
    with pytest.raises(ValueError, match="'UNetMidBlock2DSimpleCrossAttn' has no original name, known: DownBlock2D"):
        original_to_diffusers(config)
