"""LoRAs fused: in every naming and type the sum computed apart and by diffusers, and refused where it would be less."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.checkpoints import lora, streaming
from stages.files import disk
from tests.checkpoints import adapters
from tests.checkpoints.adapters import ENCODER_NAMINGS, FILES, KOHYA, NAMINGS, PEFT, RANK, STRUCTURES

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
QUERY = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "unet.mid_block.resnets.0.conv1"


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    root = tmp_path_factory.mktemp("structures")
    return {name: adapters.write_checkpoint(root / name, name) for name in STRUCTURES}


@pytest.fixture
def vega(checkpoints, tmp_path):
    """A copy of the smallest structure, to be fused into."""
    return shutil.copytree(checkpoints["vega"], tmp_path / "vega")


def fused(checkpoint, folder, *files):
    """All tensors after fusing the files, (path, scale) each, into a copy of a checkpoint."""
    shutil.copytree(checkpoint, folder)
    lora.fuse(folder, list(files))
    return adapters.load(folder)


def some(weights) -> list[str]:
    """A layer of every sort: linear ones, convolutions, embeddings, the first and the last."""
    unet = (
        "conv_in",
        "conv_out",
        "time_embedding.linear_1",
        "add_embedding.linear_1",
        "down_blocks.0.downsamplers.0.conv",
    )
    unet += ("mid_block.resnets.0.conv1", "mid_block.resnets.0.time_emb_proj", "up_blocks.0.upsamplers.0.conv")
    names = [f"unet.{name}" for name in unet]
    names += [name for name in adapters.layers(weights) if "up_blocks.1" in name]
    assert {"attentions.0.proj_in", "ff.net.0.proj", "ff.net.2", "conv_shortcut", "attn2.to_out.0"} <= {
        ending for name in names for ending in (".".join(name.split(".")[-count:]) for count in range(1, 5))
    }
    return names


def by_diffusers(checkpoint, path, scale: float):
    """The same sum by diffusers: its loader, its fusing, in float32."""
    from diffusers import StableDiffusionXLImg2ImgPipeline, StableDiffusionXLPipeline

    refiner = not (checkpoint / "text_encoder").exists()
    pipeline_class = StableDiffusionXLImg2ImgPipeline if refiner else StableDiffusionXLPipeline
    pipeline = pipeline_class.from_pretrained(checkpoint, torch_dtype=torch.float32)
    pipeline.load_lora_weights(str(path))
    parts = [name for name in FILES if getattr(pipeline, name) is not None]
    pipeline.fuse_lora(components=parts, lora_scale=scale, safe_fusing=True)
    pipeline.unload_lora_weights()
    states = {name: getattr(pipeline, name).state_dict() for name in parts}
    return {f"{part}.{name}": tensor.half() for part, state in states.items() for name, tensor in state.items()}


# Namings and types


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("alpha", [None, 6.0])
@pytest.mark.parametrize("naming", NAMINGS)
def test_a_layer_of_every_sort_gets_the_product_in_every_naming(checkpoints, tmp_path, naming, alpha, dtype):
    before = adapters.load(checkpoints["vega"])
    adapter = adapters.matrices(before, some(before), DTYPES[dtype])
    path = adapters.write(tmp_path / "lora.safetensors", adapter, NAMINGS[naming], alpha)
    after = fused(checkpoints["vega"], tmp_path / "fused", (path, 0.7))
    adapters.check(before, after, adapters.expected(before, (adapter, 0.7 * (alpha or RANK) / RANK)))


@pytest.mark.parametrize("dotted", [False, True])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_every_layer_of_every_structure_is_found_by_its_original_name(checkpoints, tmp_path, structure, dotted):
    before = adapters.load(checkpoints[structure])
    adapter = adapters.matrices(before, adapters.layers(before))
    naming = adapters.original_naming(checkpoints[structure], dotted)
    path = adapters.write(tmp_path / "lora.safetensors", adapter, naming, alpha=1.0)
    after = fused(checkpoints[structure], tmp_path / "fused", (path, 1.0))
    adapters.check(before, after, adapters.expected(before, (adapter, 1 / RANK)))


@pytest.mark.parametrize("structure", STRUCTURES)
def test_kohyas_file_and_diffusers_of_the_same_matrices_give_the_same_bytes(checkpoints, tmp_path, structure):
    before = adapters.load(checkpoints[structure])
    adapter = adapters.matrices(before, adapters.layers(before))
    written = []
    for number, naming in enumerate((KOHYA, PEFT, adapters.original_naming(checkpoints[structure]))):
        path = adapters.write(tmp_path / f"{number}.safetensors", adapter, naming)
        fused(checkpoints[structure], tmp_path / str(number), (path, 0.5))
        written.append((tmp_path / str(number) / FILES["unet"]).read_bytes())
    assert written[0] == written[1] == written[2] != (checkpoints[structure] / FILES["unet"]).read_bytes()


@pytest.mark.parametrize("naming", ENCODER_NAMINGS)
@pytest.mark.parametrize("level", [True, False], ids=["text_model", "bare"])
def test_text_encoders_are_adapted_whether_or_not_their_names_have_a_level_more(checkpoints, tmp_path, naming, level):
    checkpoint = shutil.copytree(checkpoints["vega"], tmp_path / "vega")
    for component in ("text_encoder", "text_encoder_2"):
        tensors = {
            name.removeprefix("text_model."): tensor
            for name, tensor in load_file(checkpoint / FILES[component]).items()
        }
        renamed = {
            f"text_model.{name}" if level and "projection" not in name else name: t for name, t in tensors.items()
        }
        save_file(renamed, checkpoint / FILES[component], metadata={"format": "pt"})
    before = adapters.load(checkpoint)
    names = adapters.layers(before, "text_encoder") + adapters.layers(before, "text_encoder_2")
    if naming == "old":
        names = [name for name in names if "self_attn" in name]
    adapter = adapters.matrices(before, names)

    def with_level(layer: str, part: str) -> str:
        component, _, module = layer.partition(".")
        module = module if level or "projection" in module else f"text_model.{module}"
        return ENCODER_NAMINGS[naming](f"{component}.{module}", part)

    path = adapters.write(tmp_path / "lora.safetensors", adapter, with_level)
    after = fused(checkpoint, tmp_path / "fused", (path, 1.0))
    adapters.check(before, after, adapters.expected(before, (adapter, 1.0)))
    assert (tmp_path / "fused" / FILES["unet"]).read_bytes() == (checkpoint / FILES["unet"]).read_bytes()


# diffusers


@pytest.mark.parametrize(
    ("structure", "naming", "alpha"),
    [
        ("vega", "kohya", 6.0),
        ("vega", "peft", None),
        ("vega", "diffusers", None),
        ("vega", "processors", None),
        ("sdxl", "original", 6.0),
        ("ssd-1b", "original", None),
        ("vega", "original", 6.0),
        ("sdxl-refiner", "kohya", 6.0),  # by its original names diffusers fails: input_blocks_1 begins input_blocks_10
    ],
)
def test_diffusers_own_loading_and_fusing_gives_the_same(checkpoints, tmp_path, structure, naming, alpha):
    checkpoint = checkpoints[structure]
    before = adapters.load(checkpoint)
    names = [name for name in adapters.layers(before) if "attentions" in name or "resnets" in name]
    adapter = adapters.matrices(before, names)
    namings = NAMINGS | {"original": adapters.original_naming(checkpoint)}
    path = adapters.write(tmp_path / "lora.safetensors", adapter, namings[naming], alpha)
    after = fused(checkpoint, tmp_path / "fused", (path, -0.4))
    theirs = by_diffusers(checkpoint, path, -0.4)
    assert set(theirs) == set(after)
    for name, tensor in theirs.items():
        torch.testing.assert_close(after[name], tensor, rtol=0.001, atol=1e-6, msg=name)  # a step of float16
    assert sum(not torch.equal(after[name], before[name]) for name in after) == len(names)


def test_diffusers_own_loading_and_fusing_gives_the_same_text_encoders(checkpoints, tmp_path):
    checkpoint = checkpoints["vega"]
    before = adapters.load(checkpoint)
    names = [name for part in ("text_encoder", "text_encoder_2") for name in adapters.layers(before, part)]
    names = [name for name in names if "encoder.layers" in name]
    adapter = adapters.matrices(before, [QUERY, *names])
    path = adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA, alpha=6.0)
    after = fused(checkpoint, tmp_path / "fused", (path, 0.5))
    for name, tensor in by_diffusers(checkpoint, path, 0.5).items():
        torch.testing.assert_close(after[name], tensor, rtol=0.001, atol=1e-6, msg=name)
    assert sum(not torch.equal(after[name], before[name]) for name in after) == len(names) + 1


def test_diffusers_own_saver_is_understood_with_its_metadata(checkpoints, tmp_path):
    from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    checkpoint = checkpoints["vega"]
    unet = UNet2DConditionModel.from_pretrained(checkpoint / "unet", torch_dtype=torch.float32)
    torch.manual_seed(0)
    pattern = {"attn2.to_q": 4}
    config = LoraConfig(
        r=2, lora_alpha=8, target_modules=["to_q", "conv1"], init_lora_weights=False,
        rank_pattern=pattern, alpha_pattern={"attn2.to_q": 2}, use_rslora=True,
    )  # fmt: skip
    unet.add_adapter(config)
    StableDiffusionXLPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(unet),
        unet_lora_adapter_metadata=json.loads(json.dumps(config.to_dict(), default=list)),
    )
    path = tmp_path / "pytorch_lora_weights.safetensors"
    before, after = adapters.load(checkpoint), fused(checkpoint, tmp_path / "fused", (path, 1.0))
    unet.fuse_lora()
    unet.unload_lora()
    for name, tensor in unet.state_dict().items():
        torch.testing.assert_close(after[f"unet.{name}"], tensor.half(), rtol=0.001, atol=1e-6, msg=name)
    assert not torch.equal(before[f"{QUERY}.weight"], after[f"{QUERY}.weight"])


# Shapes


def test_a_convolution_of_three_factors_is_its_product(checkpoints, tmp_path):
    before = adapters.load(checkpoints["vega"])
    names = [name for name in adapters.layers(before) if before[f"{name}.weight"].shape[2:] == (3, 3)]
    assert {"unet.conv_in", "unet.conv_out", CONVOLUTION} < set(names)
    adapter = adapters.matrices(before, names)
    generator = torch.Generator().manual_seed(2)
    for parts in adapter.values():
        parts["mid"] = torch.randn(RANK, RANK, 3, 3, generator=generator)
        parts["down"] = parts["down"][:, :, :1, :1].contiguous()
    path = adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA, alpha=1.0)
    after = fused(checkpoints["vega"], tmp_path / "fused", (path, 2.0))
    adapters.check(before, after, adapters.expected(before, (adapter, 2 / RANK)))
    # The definition: the three convolutions one after the other are the convolution with what was added.
    parts, picture = adapter[CONVOLUTION], torch.randn(1, 16, 5, 5, generator=generator)
    once = torch.nn.functional.conv2d(picture, torch.from_numpy(adapters.product(parts)).float(), padding=1)
    down = torch.nn.functional.conv2d(picture, parts["down"])
    thrice = torch.nn.functional.conv2d(torch.nn.functional.conv2d(down, parts["mid"], padding=1), parts["up"])
    torch.testing.assert_close(once, thrice, rtol=1e-3, atol=1e-3)


def test_a_linear_layer_takes_a_convolution_of_one_place_and_the_reverse(checkpoints, tmp_path):
    before = adapters.load(checkpoints["vega"])
    linear = [name for name in adapters.layers(before) if name.endswith(("proj_in", "proj_out", "to_k"))]
    shortcuts = [name for name in adapters.layers(before) if name.endswith("conv_shortcut")]
    assert linear and shortcuts and before[f"{shortcuts[0]}.weight"].ndim == 4
    adapter = adapters.matrices(before, linear + shortcuts)
    sums = adapters.expected(before, (adapter, 1.0))
    for name, parts in adapter.items():
        for part, tensor in parts.items():
            parts[part] = tensor[:, :, None, None] if name in linear else tensor[:, :, 0, 0].contiguous()
    path = adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA)
    adapters.check(before, fused(checkpoints["vega"], tmp_path / "fused", (path, 1.0)), sums)


def test_differences_are_added_times_the_scale_alone(vega, tmp_path):
    before = adapters.load(vega)
    norm, projection = "unet.conv_norm_out", "unet.mid_block.resnets.0.time_emb_proj"
    tensors = {
        KOHYA(norm, "diff"): torch.full((4,), 0.5),
        KOHYA(norm, "diff_b"): torch.full((4,), -0.25),
        KOHYA(projection, "diff_b"): torch.full((16,), 2.0),
        KOHYA(QUERY, "diff"): torch.eye(8),
    }
    save_file(tensors, tmp_path / "lora.safetensors")
    lora.fuse(vega, [(tmp_path / "lora.safetensors", 0.5)])
    sums = {
        f"{norm}.weight": before[f"{norm}.weight"].double() + 0.25,
        f"{norm}.bias": before[f"{norm}.bias"].double() - 0.125,
        f"{projection}.bias": before[f"{projection}.bias"].double() + 1,
        f"{QUERY}.weight": before[f"{QUERY}.weight"].double() + 0.5 * torch.eye(8).double(),
    }
    adapters.check(before, adapters.load(vega), {name: tensor.numpy() for name, tensor in sums.items()})


# Strength


def metadata(component: str = "unet.", **config) -> dict[str, str]:
    """As diffusers' savers write it."""
    config = {"r": 2, "lora_alpha": 2, "rank_pattern": {}, "alpha_pattern": {}, "use_rslora": False} | config
    return {"format": "pt", "lora_adapter_metadata": json.dumps({f"{component}{key}": config[key] for key in config})}


def rank_2(before, *names):
    adapter = adapters.matrices(before, list(names))
    return {name: {"down": parts["down"][:2], "up": parts["up"][:, :2].contiguous()} for name, parts in adapter.items()}


@pytest.mark.parametrize(
    ("component", "config", "factor"),
    [
        ("unet.", {"lora_alpha": 8}, 4.0),
        ("", {"lora_alpha": 8}, 4.0),
        ("unet.", {"lora_alpha": 1.5}, 0.75),
        ("unet.", {"lora_alpha": 8, "use_rslora": True}, 8 / 2**0.5),
        ("unet.", {"lora_alpha": 8, "alpha_pattern": {"attn1.to_q": 6}}, 3.0),
        ("unet.", {"lora_alpha": 8, "alpha_pattern": {"attn2.to_q": 6}}, 4.0),
        ("unet.", {"lora_alpha": 8, "alpha_pattern": {r"^down_blocks\.1.*to_q": 2}}, 1.0),
        ("unet.", {"r": 16, "lora_alpha": 8, "rank_pattern": {"to_q": 2}}, 4.0),
        ("text_encoder.", {"lora_alpha": 8}, 1.0),
    ],
)
def test_alpha_is_read_from_the_metadata_of_diffusers(vega, tmp_path, component, config, factor):
    before = adapters.load(vega)
    adapter = rank_2(before, QUERY)
    path = adapters.write(tmp_path / "lora.safetensors", adapter, PEFT, metadata=metadata(component, **config))
    lora.fuse(vega, [(path, 1.0)])
    adapters.check(before, adapters.load(vega), adapters.expected(before, (adapter, factor)))


def test_an_alpha_tensor_counts_before_any_metadata(vega, tmp_path):
    before = adapters.load(vega)
    adapter = rank_2(before, QUERY)
    path = adapters.write(tmp_path / "lora.safetensors", adapter, PEFT, alpha=4.0, metadata=metadata(lora_alpha=8))
    lora.fuse(vega, [(path, 1.0)])
    adapters.check(before, adapters.load(vega), adapters.expected(before, (adapter, 2.0)))


def test_without_alpha_the_rank_is_taken_whatever_kohyas_metadata_says(vega, tmp_path):
    before = adapters.load(vega)
    adapter = rank_2(before, QUERY)
    path = adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA, metadata={"ss_network_alpha": "1"})
    lora.fuse(vega, [(path, 1.0)])
    adapters.check(before, adapters.load(vega), adapters.expected(before, (adapter, 1.0)))


def test_an_alpha_may_be_an_integer_in_a_list_of_one(vega, tmp_path):
    before = adapters.load(vega)
    adapter = rank_2(before, QUERY)
    tensors = {KOHYA(QUERY, part): tensor for part, tensor in adapter[QUERY].items()}
    save_file(tensors | {KOHYA(QUERY, "alpha"): torch.tensor([8])}, tmp_path / "lora.safetensors")
    lora.fuse(vega, [(tmp_path / "lora.safetensors", 1.0)])
    adapters.check(before, adapters.load(vega), adapters.expected(before, (adapter, 4.0)))


def test_adapters_add_up_and_a_negative_scale_subtracts(vega, tmp_path):
    before = adapters.load(vega)
    names = adapters.layers(before)
    one, two = adapters.matrices(before, names, seed=1), adapters.matrices(before, names[::2], torch.bfloat16, seed=2)
    files = [
        (adapters.write(tmp_path / "1.safetensors", one, KOHYA, alpha=6.0), 0.5),
        (adapters.write(tmp_path / "2.safetensors", two, PEFT), -1.25),
    ]
    lora.fuse(vega, files)
    adapters.check(before, adapters.load(vega), adapters.expected(before, (one, 1.0), (two, -1.25)))


def test_an_adapter_and_itself_subtracted_leave_nothing_but_float16s_rounding(vega, tmp_path):
    before = adapters.load(vega)
    path = adapters.write(tmp_path / "lora.safetensors", adapters.matrices(before, [QUERY]), KOHYA)
    lora.fuse(vega, [(path, 0.5), (path, -0.5)])
    torch.testing.assert_close(adapters.load(vega)[f"{QUERY}.weight"], before[f"{QUERY}.weight"], rtol=1e-3, atol=1e-6)


# Files


def test_only_the_components_that_are_adapted_are_written(vega, tmp_path):
    before = {name: (vega / file).stat().st_ino for name, file in FILES.items()}
    adapter = adapters.matrices(adapters.load(vega), [QUERY])
    lora.fuse(vega, [(adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA), 1.0)])
    after = {name: (vega / file).stat().st_ino for name, file in FILES.items()}
    assert {name for name in FILES if before[name] != after[name]} == {"unet"}


def test_shards_of_any_float_become_one_file_of_float16_and_integers_stay(vega, tmp_path):
    file = vega / FILES["text_encoder_2"]
    tensors = {name: tensor.bfloat16() for name, tensor in load_file(file).items()}
    numbers = torch.arange(16)[None]
    names = sorted(tensors)
    shards = [file.with_name(f"model-0000{number}-of-00002.safetensors") for number in (1, 2)]
    save_file({name: tensors[name] for name in names[::2]} | {"embeddings.position_ids": numbers}, shards[0])
    save_file({name: tensors[name].float() for name in names[1::2]}, shards[1])
    index = file.with_name("model.safetensors.index.json")
    index.write_text("{}")
    file.unlink()
    before = adapters.load_folder(vega / "text_encoder_2")
    layer = next(name for name in names if name.endswith("fc1.weight")).removesuffix(".weight")
    adapter = adapters.matrices(
        {f"text_encoder_2.{layer}.weight": tensors[f"{layer}.weight"]}, [f"text_encoder_2.{layer}"]
    )
    lora.fuse(vega, [(adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA), 1.0)])
    assert sorted(path.name for path in file.parent.iterdir()) == ["config.json", "model.safetensors"]
    after = load_file(file)
    assert torch.equal(after.pop("embeddings.position_ids"), before.pop("embeddings.position_ids"))
    assert {tensor.dtype for tensor in after.values()} == {torch.float16}
    changed = [name for name in before if not torch.equal(before[name].half(), after[name])]
    assert changed == [f"{layer}.weight"] and set(after) == set(before)


def test_a_file_that_is_linked_into_a_cache_keeps_its_bytes_there(vega, tmp_path):
    os.link(vega / FILES["unet"], tmp_path / "cached")
    bytes_before = (tmp_path / "cached").read_bytes()
    adapter = adapters.matrices(adapters.load(vega), [QUERY])
    lora.fuse(vega, [(adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA), 1.0)])
    assert (tmp_path / "cached").read_bytes() == bytes_before != (vega / FILES["unet"]).read_bytes()


def test_the_bytes_are_those_of_safetensors_own_writer(vega, tmp_path):
    adapter = adapters.matrices(adapters.load(vega), [QUERY])
    lora.fuse(vega, [(adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA), 1.0)])
    save_file(load_file(vega / FILES["unet"]), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert (vega / FILES["unet"]).read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_integers_stand_before_float16_as_safetensors_own_writer_has_them(tmp_path):
    tensors = {
        "a": torch.ones(3).half(),
        "b": torch.arange(5),
        "ü": torch.zeros(2, 2).half(),
        "c": torch.tensor([True]),
    }
    save_file(tensors, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    entries, _ = streaming.read_header(tmp_path / "theirs.safetensors")
    streaming.write(tmp_path / "ours.safetensors", entries, tensors.__getitem__)
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_the_miniature_adapter_gives_the_sum_of_the_miniature_unet(tmp_path):
    from stages.files import manifest

    root = adapters.MINIATURES
    fused(root / "vega", tmp_path / "vega", (root / "vegart/pytorch_lora_weights.safetensors", 1.0))
    assert manifest.sha256(tmp_path / "vega" / FILES["unet"]) == (
        "ec01a466bf1aa11f7bb071e55e753256cee7956cbad620a633d21af4ae0f567c"  # by diffusers' loader and fuse_lora
    )


def test_room_for_the_new_file_is_asked_for_first(vega, tmp_path, monkeypatch):
    adapter = adapters.matrices(adapters.load(vega), [QUERY])
    path = adapters.write(tmp_path / "lora.safetensors", adapter, KOHYA)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 1000)
    with pytest.raises(ValueError, match="unet needs 0.00 GB of disk, 0.00 GB are free"):
        lora.fuse(vega, [(path, 1.0)])


# Refusals


def refused(checkpoint, path, message: str, scale: float = 1.0) -> None:
    """The message, with the file's name before it, and a checkpoint that stays as it was to the last byte."""
    before = {file: file.read_bytes() for file in sorted(checkpoint.rglob("*.*"))}
    with pytest.raises(ValueError) as caught:
        lora.fuse(checkpoint, [(path, scale)])
    assert str(path) in str(caught.value) and message in str(caught.value), caught.value
    assert "\n" not in str(caught.value)
    assert {file: file.read_bytes() for file in sorted(checkpoint.rglob("*.*"))} == before


def query_tensors(**others: torch.Tensor) -> dict[str, torch.Tensor]:
    """A right adapter of one layer, and tensors beside it under the names of kohya's, after the last dot."""
    parts = {"down": torch.ones(2, 8), "up": torch.ones(8, 2)}
    named = {KOHYA(QUERY, part): tensor for part, tensor in parts.items()}
    return named | {KOHYA(QUERY, part): tensor for part, tensor in others.items()}


KQ = KOHYA(QUERY, "x").removesuffix(".x")


@pytest.mark.parametrize(
    ("tensor", "kind"),
    [
        (f"{KQ}.dora_scale", "DoRA"),
        (f"{QUERY}.lora_magnitude_vector", "DoRA"),
        (f"{QUERY}.lora_magnitude_vector.default.weight", "DoRA"),
        (f"{KQ}.hada_w1_a", "LoHa"),
        (f"{KQ}.hada_t1", "LoHa"),
        (f"{KQ}.lokr_w1", "LoKr"),
        (f"{KQ}.lokr_w2_b", "LoKr"),
        (f"{KQ}.on_input", "(IA)^3"),
        (f"{KQ}.a1.weight", "GLoRA"),
        (f"{KQ}.oft_blocks", "OFT"),
        (f"{KQ}.oft_diag", "OFT"),
        ("lora_unet_conv_norm_out.w_norm", "a LyCORIS adapter of norms"),
        ("text_encoder.text_model.embeddings.token_embedding.lora_embedding_A", "a LoRA of embeddings"),
        (f"{QUERY}.lora_B.bias", "a LoRA with biases"),
    ],
)
def test_other_kinds_of_adapters_are_refused_by_kind_and_tensor(vega, tmp_path, tensor, kind):
    path = tmp_path / "lora.safetensors"
    save_file(query_tensors() | {tensor: torch.ones(8)}, path)
    refused(vega, path, f"{tensor} belongs to {kind}, which is not supported")


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "holds no LoRA: it is empty"),
        ({"conv_in.weight": torch.ones(2)}, "holds no LoRA: its first tensor is conv_in.weight"),
        (query_tensors(scalar=torch.ones(1)), f"{KQ}.scalar is no tensor of a LoRA"),
        ({**query_tensors(), "emb_params": torch.ones(1)}, "emb_params is no tensor of a LoRA"),
        (
            {"lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.ones(2, 16)},
            "lora_te_text_model_encoder_layers_0_mlp_fc1 is of the one text encoder of Stable Diffusion 1 or 2",
        ),
        (
            {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": torch.ones(2, 4)},
            "layer lora_unet_down_blocks_0_attentions_0_proj_in is not in this checkpoint's unet: the file adapts",
        ),
        (
            {"lora_unet_middle_block_1_proj_in.lora_down.weight": torch.ones(2, 16)},
            "layer lora_unet_middle_block_1_proj_in is not in this checkpoint's unet",
        ),
        (
            {"transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight": torch.ones(2, 4)},
            "layer transformer.single_transformer_blocks.0.attn.to_q is not in this checkpoint's unet",
        ),
        (
            {"text_encoder_2.text_model.encoder.layers.9.mlp.fc1.lora_A.weight": torch.ones(2, 4)},
            "layer text_encoder_2.text_model.encoder.layers.9.mlp.fc1 is not in this checkpoint's text_encoder_2",
        ),
        ({f"{KQ}.lora_down.weight": torch.ones(2, 8)}, f"{KQ}.lora_down.weight is there without its up matrix"),
        ({f"{KQ}.lora_up.weight": torch.ones(8, 2)}, f"{KQ}.lora_up.weight is there without its down matrix"),
        ({f"{KQ}.alpha": torch.ones(())}, f"{KQ}.alpha is there without its down matrix"),
        (
            {**query_tensors(), f"{QUERY}.lora_A.weight": torch.ones(2, 8)},
            f"{KQ}.lora_down.weight and {QUERY}.lora_A.weight are two names for one thing",
        ),
        (
            query_tensors() | {f"{KQ}.lora_up.weight": torch.ones(8, 3)},
            f"{KQ}.lora_up.weight [8, 3], {KQ}.lora_down.weight [2, 8] do not fit the checkpoint's "
            f"{QUERY.removeprefix('unet.')}.weight [8, 8]",
        ),
        (query_tensors() | {f"{KQ}.lora_down.weight": torch.ones(2, 9)}, "lora_down.weight [2, 9] do not fit"),
        (query_tensors() | {f"{KQ}.lora_down.weight": torch.ones(2, 8, 3, 3)}, "[2, 8, 3, 3] do not fit"),
        (query_tensors() | {f"{KQ}.lora_up.weight": torch.ones(8, 2, 3, 3)}, "do not fit"),
        (query_tensors(mid=torch.ones(2, 2, 3, 3)), f"{KQ}.lora_mid.weight [2, 2, 3, 3], "),
        (query_tensors() | {f"{KQ}.lora_up.weight": torch.ones(8)}, "lora_up.weight [8], "),
        (
            query_tensors() | {f"{KQ}.lora_up.weight": torch.ones(8, 0), f"{KQ}.lora_down.weight": torch.ones(0, 8)},
            "[0, 8]",
        ),
        ({"lora_unet_conv_norm_out.diff": torch.ones(5)}, "lora_unet_conv_norm_out.diff [5] do not fit"),
        ({f"{KQ}.diff_b": torch.ones(8)}, f"layer {KQ} has no bias in this checkpoint's unet"),
        (
            query_tensors() | {f"{KQ}.lora_up.weight": torch.ones(8, 2).int()},
            "lora_up.weight is of type I32, allowed: F32",
        ),
        (
            query_tensors() | {f"{KQ}.lora_up.weight": torch.ones(8, 2).to(torch.float8_e4m3fn)},
            f"{KQ}.lora_up.weight is of type F8_E4M3, allowed: F32, F16, BF16",
        ),
        (query_tensors() | {f"{KQ}.lora_up.weight": torch.full((8, 2), np.nan)}, f"{KQ}.lora_up.weight holds NaN"),
        (
            query_tensors() | {f"{KQ}.lora_up.weight": torch.full((8, 2), np.inf).bfloat16()},
            f"tensor {KQ}.lora_up.weight holds NaN or infinite values",
        ),
        (query_tensors(alpha=torch.tensor(np.nan)), f"tensor {KQ}.alpha holds NaN"),
        (query_tensors(alpha=torch.tensor(0.0)), f"the alpha of layer {KQ} must be > 0, got 0"),
        (query_tensors(alpha=torch.ones(2)), f"{KQ}.alpha must be one number, it is [2]"),
        (query_tensors() | {f"{KQ}.lora_up.weight": torch.full((8, 2), 1e5)}, "leaves the range of float16"),
    ],
)
def test_what_cannot_be_added_whole_is_refused_with_the_reason(vega, tmp_path, tensors, message):
    save_file(tensors, tmp_path / "lora.safetensors")
    refused(vega, tmp_path / "lora.safetensors", message)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"use_dora": True}, "is DoRA, as its metadata says (use_dora)"),
        ({"init_lora_weights": "pissa_niter_4"}, "adapts weights that pissa_niter_4 has changed"),
        ({"r": 4}, f"layer {QUERY} has rank 2, 4 in its metadata lora_adapter_metadata"),
        ({"lora_alpha": "8"}, f"the alpha of layer {QUERY} must be a number > 0, got '8' in lora_adapter_metadata"),
        ({"lora_alpha": 0}, "must be a number > 0, got 0"),
        ({"rank_pattern": ["to_q"]}, "rank_pattern in its metadata lora_adapter_metadata must be an object, got"),
        ({"use_rslora": "no"}, "use_rslora in its metadata lora_adapter_metadata must be true or false, got 'no'"),
        ({"alpha_pattern": {"(": 2}}, "'(' in its metadata lora_adapter_metadata is no pattern"),
    ],
)
def test_metadata_that_cannot_be_followed_is_refused(vega, tmp_path, config, message):
    adapter = rank_2(adapters.load(vega), QUERY)
    path = adapters.write(tmp_path / "lora.safetensors", adapter, PEFT, metadata=metadata(**config))
    refused(vega, path, message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not valid JSON: it must hold a JSON object"),
        ('{"unet.r": 2, "unet.r": 4}', "is not valid JSON: it says 'unet.r' twice"),
    ],
)
def test_metadata_that_cannot_be_read_is_refused(vega, tmp_path, text, message):
    path = tmp_path / "lora.safetensors"
    save_file(query_tensors(), path, metadata={"lora_adapter_metadata": text})
    refused(vega, path, f"its metadata lora_adapter_metadata {message}")


def test_an_adapter_of_a_component_that_the_checkpoint_lacks_is_refused(checkpoints, tmp_path):
    path = tmp_path / "lora.safetensors"
    layer = "lora_te1_text_model_encoder_layers_0_mlp_fc1"
    save_file({f"{layer}.lora_down.weight": torch.ones(2, 16)}, path)
    refused(checkpoints["sdxl-refiner"], path, f"layer {layer} is of the text_encoder, which this checkpoint lacks")


def test_a_file_that_is_cut_off_is_refused(vega, tmp_path):
    path = tmp_path / "lora.safetensors"
    save_file(query_tensors(), path)
    path.write_bytes(path.read_bytes()[:-8])
    refused(vega, path, "is not a whole safetensors file")


def test_a_wrong_second_adapter_leaves_the_first_one_out_too(vega, tmp_path):
    right, wrong = tmp_path / "right.safetensors", tmp_path / "wrong.safetensors"
    save_file(query_tensors(), right)
    save_file(query_tensors(dora_scale=torch.ones(8, 1)), wrong)
    before = (vega / FILES["unet"]).read_bytes()
    with pytest.raises(ValueError, match="wrong.safetensors: .*DoRA"):
        lora.fuse(vega, [(right, 1.0), (wrong, 1.0)])
    assert (vega / FILES["unet"]).read_bytes() == before


def test_weights_that_are_there_in_two_variants_are_refused(vega, tmp_path):
    shutil.copy(vega / FILES["unet"], vega / "unet/diffusion_pytorch_model.fp16.safetensors")
    save_file(query_tensors(), tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="fp16.safetensors and in .*: weights in one variant are wanted"):
        lora.fuse(vega, [(tmp_path / "lora.safetensors", 1.0)])
