"""Single files under the original code's names: unpacked bit for bit, recognised by shapes, or refused in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from stages import export
from stages.checkpoints import architectures, assembling, components, contents, recognising, single_file
from tests import original, tiny

WEIGHTS = Path(__file__).parents[2] / "miniatures/weights"
MINIATURES = ("vega", "ssd-1b", "sdxl", "sdxl-refiner")
UNET = components.COMPONENTS[-1]
FIRST = "model.diffusion_model.input_blocks.0.0.weight"
READ = {"_diffusers_version", "_name_or_path", "transformers_version"}  # what says who wrote a configuration


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Pipelines in diffusers layout: the miniatures, and random ones."""
    root = tmp_path_factory.mktemp("tiny")
    made = {f"tiny-{kind}": tiny.tiny_checkpoint(root / kind, kind) for kind in ("base", "refiner")}
    return made | {name: WEIGHTS / name for name in MINIATURES}


@pytest.fixture(scope="module")
def base(sources: dict[str, Path]) -> dict[str, torch.Tensor]:
    return original.tensors_of(sources["tiny-base"])


def unpacked(source: Path, tensors: dict[str, torch.Tensor], root: Path, metadata: dict | None = None) -> Path:
    """The folder that the tensors' file becomes, with the tokenizers and the configurations of `source`."""
    path = original.write(root / "model.safetensors", tensors, metadata)
    single_file.unpack(path, root / "unpacked", source, single_file.configurations(source))
    return root / "unpacked"


def weights(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return load_file(folder / part / f"{components.STEMS[part]}.safetensors")


def read(folder: Path, part: str) -> dict:
    return json.loads((folder / part / "config.json").read_text())


# The same tensors, configurations and IR


@pytest.mark.parametrize("name", [*MINIATURES, "tiny-base", "tiny-refiner"])
def test_a_pipeline_written_as_one_file_comes_back_bit_for_bit(sources, tmp_path, name):
    source = sources[name]
    folder = unpacked(source, original.tensors_of(source), tmp_path)
    parts = [part for part in components.STEMS if (source / part).is_dir()]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        path.name for path in source.iterdir() if path.is_dir() or path.name == components.INDEX
    )
    for part in parts:
        before, after = weights(source, part), weights(folder, part)
        assert before.keys() == after.keys()
        assert all(tensor.dtype == torch.float16 for tensor in after.values())
        assert all(torch.equal(before[key], after[key]) for key in before)
        assert read(folder, part) == read(source, part)
    index, wanted = components.read_index(folder), components.read_index(source)
    wanted = {key: value for key, value in wanted.items() if value != [None, None] and key not in components.COMMENTS}
    assert {key: value for key, value in index.items() if key not in components.COMMENTS} == wanted
    assert components.role(index) == components.role(wanted)
    for tokenizer in components.tokenizers(wanted):
        for path in (source / tokenizer).iterdir():
            if path.name in components.TOKENIZER_FILES:
                assert (folder / tokenizer / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("name", "other"), [("vega", "sdxl"), ("ssd-1b", "vega"), ("sdxl", "ssd-1b")])
def test_the_configuration_is_read_from_the_shapes_where_none_fits_and_gives_the_same_ir(
    sources, tmp_path, name, other
):
    path = original.write(tmp_path / "model.safetensors", original.tensors_of(sources[name]))
    single_file.unpack(path, tmp_path / "unpacked", sources[name], single_file.configurations(sources[other]))
    found, wanted = read(tmp_path / "unpacked", "unet"), read(sources[name], "unet")
    depths = {"transformer_layers_per_block", "reverse_transformer_layers_per_block"}
    assert {key for key in wanted if found[key] != wanted[key]} <= depths  # [2] for one block of 2 layers is the same
    if name != "vega":  # the others take a minute, and are the same too
        return
    for folder, target in ((sources[name], "before"), (tmp_path / "unpacked", "after")):
        export.convert(folder, UNET, tmp_path / target)
    for file in components.IR_FILES:
        assert (tmp_path / "before" / file).read_bytes() == (tmp_path / "after" / file).read_bytes()


def test_a_whole_unpacked_checkpoint_is_exported_as_the_original_is(sources, base, tmp_path):
    folder = unpacked(sources["tiny-base"], base, tmp_path)
    for component in components.COMPONENTS:
        for source, target in ((sources["tiny-base"], "before"), (folder, "after")):
            export.convert(source, component, tmp_path / target / component.name)
        for file in (*components.IR_FILES, "config.json"):
            names = [tmp_path / target / component.name / file for target in ("before", "after")]
            assert names[0].read_bytes() == names[1].read_bytes()


def test_diffusers_own_loader_reads_the_same_tensors(sources, base, tmp_path):
    from diffusers import StableDiffusionXLPipeline

    folder = unpacked(sources["tiny-base"], base, tmp_path)
    pipeline = StableDiffusionXLPipeline.from_single_file(
        tmp_path / "model.safetensors",
        config=str(sources["tiny-base"]),
        local_files_only=True,
        torch_dtype=torch.float16,
    )
    for part in components.STEMS:
        theirs, ours = getattr(pipeline, part).state_dict(), weights(folder, part)
        assert theirs.keys() == ours.keys()
        assert all(torch.equal(theirs[key], ours[key]) for key in theirs)


# Recognised at true size, without weights


def original_shapes(part: str, settings: dict) -> dict[str, tuple[int, ...]]:
    shapes = recognising.module_shapes(part, settings)
    if part == "unet":
        return {original.unet_name(name, settings): shape for name, shape in shapes.items()}
    return shapes


@pytest.mark.parametrize("name", ["sdxl", "ssd-1b", "vega", "sdxl-refiner"])
def test_published_unets_are_recognised_and_read_from_their_shapes_alike(name, monkeypatch):
    published = architectures.configurations(name)["unet"]
    shapes = original_shapes("unet", published)
    refiner = name == "sdxl-refiner"
    assert recognising.configuration("unet", shapes, None, 1280, refiner) == published
    monkeypatch.setattr(recognising, "_published", lambda part: [])
    derived = recognising.configuration("unet", shapes, None, 1280, refiner)
    assert recognising.module_shapes("unet", derived) == recognising.module_shapes("unet", published)
    kept = published.keys() - {"transformer_layers_per_block", "reverse_transformer_layers_per_block"}
    assert {key: derived[key] for key in kept} == {key: published[key] for key in kept}


def test_transformer_depths_are_read_by_level_and_by_layer():
    shapes = original_shapes("unet", architectures.configurations("ssd-1b")["unet"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recognising, "_published", lambda part: [])
        derived = recognising.configuration("unet", shapes, None, 1280, False)
    assert derived["transformer_layers_per_block"] == [1, 2, 4]
    assert derived["reverse_transformer_layers_per_block"] == [[4, 4, 10], [2, 1, 1], 1]
    assert derived["mid_block_type"] == "UNetMidBlock2D"
    assert derived["attention_head_dim"] == [5, 10, 20]


def test_a_family_member_of_another_width_gets_a_head_for_every_64_channels(tmp_path):
    changes = {"block_out_channels": [64, 128, 256], "transformer_layers_per_block": [1, 1, 3], "layers_per_block": 1}
    made = architectures.configurations("sdxl")["unet"] | changes | {"attention_head_dim": [1, 2, 4]}
    assert recognising.configuration("unet", original_shapes("unet", made), None, 1280, False) == made | {
        "reverse_transformer_layers_per_block": None
    }


def test_an_other_text_encoder_is_read_from_its_shapes(sources):
    wanted = read(sources["vega"], "text_encoder")
    shapes = recognising.module_shapes("text_encoder", wanted)
    given = wanted | {"num_hidden_layers": 12, "vocab_size": 49408, "intermediate_size": 7, "projection_dim": 1}
    assert recognising.configuration("text_encoder", shapes, given, None, False) == wanted
    with pytest.raises(
        ValueError, match=r"text_encoder: how many attention heads widths of \[96\] have is not to be s"
    ):
        recognising.configuration("text_encoder", {**shapes, TOKENS: (836, 96)}, None, None, False)


TOKENS = "text_model.embeddings.token_embedding.weight"


# Number formats


def test_wider_and_narrower_floats_become_float16(sources, base, tmp_path):
    kinds = [torch.bfloat16, torch.float32, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64]
    names = [name for name in base if name.startswith("model.diffusion_model.") and name.endswith("proj_in.weight")]
    names += [name for name in base if name.startswith("first_stage_model.decoder") and name.endswith("conv1.weight")]
    cast = {name: base[name].to(kind) for name, kind in zip(names, kinds, strict=False)}
    assert len(cast) == len(kinds)
    folder = unpacked(sources["tiny-base"], base | cast, tmp_path)
    exact = original.tensors_of(folder)
    for name, tensor in cast.items():
        assert exact[name].dtype == torch.float16
        assert torch.equal(exact[name].double(), tensor.double() if tensor.itemsize == 1 else tensor.half().double())


@pytest.mark.parametrize(
    ("value", "message"),
    [(7e4, "tensor model.* holds 70000, which is beyond float16"), (float("nan"), "tensor model.* holds NaN or inf")],
)
def test_a_value_that_float16_does_not_hold_is_refused_by_tensor(sources, base, tmp_path, value, message):
    wide = base[FIRST].float()
    wide[0, 0, 0, 0] = value
    with pytest.raises(ValueError, match=f"model.safetensors: {message}"):
        unpacked(sources["tiny-base"], base | {FIRST: wide}, tmp_path)


def test_integers_are_refused_by_tensor_before_anything_is_written(sources, base, tmp_path):
    with pytest.raises(ValueError, match=f"tensor {FIRST} is of type I8: quantized weights cannot be unpacked"):
        unpacked(sources["tiny-base"], base | {FIRST: base[FIRST].to(torch.int8)}, tmp_path)
    assert not (tmp_path / "unpacked").exists()


# Schedulers


@pytest.mark.parametrize(
    ("keys", "metadata", "changes"),
    [
        ([], None, {}),
        ([], {"modelspec.prediction_type": "epsilon"}, {}),
        (["v_pred"], None, {"prediction_type": "v_prediction"}),
        ([], {"modelspec.prediction_type": "v"}, {"prediction_type": "v_prediction"}),
        (
            ["v_pred", "ztsnr"],
            None,
            {
                "prediction_type": "v_prediction",
                "rescale_betas_zero_snr": True,
                "timestep_spacing": "trailing",
            },
        ),
    ],
)
def test_the_scheduler_is_sdxls_with_what_the_file_says_of_it(sources, base, tmp_path, keys, metadata, changes):
    from diffusers import EulerDiscreteScheduler

    folder = unpacked(sources["tiny-base"], base | {key: torch.tensor([]) for key in keys}, tmp_path, metadata)
    wanted = architectures.configurations("sdxl")["scheduler"] | changes
    assert json.loads((folder / "scheduler/scheduler_config.json").read_text()) == wanted
    made = EulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    assert {key: made.config[key] for key in wanted if key != "_class_name"} == {
        key: value for key, value in wanted.items() if key != "_class_name"
    }


# What else such a file may hold


def test_bookkeeping_is_left_out_and_averaged_weights_are_told_about(sources, base, tmp_path, capsys):
    extra = {
        "alphas_cumprod": torch.ones(1000),
        "sqrt_one_minus_alphas_cumprod": torch.ones(1000),
        "denoiser.sigmas": torch.ones(1000),
        "first_stage_model.loss.logvar": torch.ones(1),
        "conditioner.embedders.0.transformer.text_model.embeddings.position_ids": torch.arange(16)[None],
        "conditioner.embedders.0.transformer.text_projection.weight": torch.eye(16),
        "conditioner.embedders.1.model.logit_scale": torch.tensor(4.6),
        "model_ema.decay": torch.tensor(0.9),
        "model_ema.diffusion_modelinput_blocks00weight": base[FIRST],
    }
    folder = unpacked(sources["tiny-base"], base | extra, tmp_path)
    assert all(torch.equal(tensor, base[name]) for name, tensor in original.tensors_of(folder).items())
    assert "model.safetensors: 2 averaged weights (model_ema.*) are left out" in capsys.readouterr().out


def only(tensors: dict[str, torch.Tensor], *starts: str) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith(starts)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda base: base | {"mystery": base[FIRST]}, "it holds 1 tensors that belong to no component: mystery$"),
        (lambda base: base | {f"{FIRST}2": base[FIRST]}, f"unet: 1 tensors belong to nothing in it: {FIRST}2$"),
        (
            lambda base: {name: base[name] for name in base if name != FIRST},
            "unet: tensor input_blocks.0.0.weight is m",
        ),
        (lambda base: base | {FIRST: base[FIRST][:4]}, rf"unet: tensor {FIRST} is of shape \[4, 4, 3, 3\], not"),
        (lambda base: only(base, "model."), "it holds a UNet alone, no whole checkpoint: it can stand as source.unet"),
        (lambda base: only(base, "first_stage"), "it holds a VAE alone, no whole checkpoint: it can stand as source.v"),
        (lambda base: original_unet(base), "it holds a UNet alone, no whole checkpoint: it can stand as source.unet"),
        (lambda base: only(base, "model.", "cond"), r"it has no vae: none of its tensors is called first_stage_model"),
        (lambda base: only(base, "model.", "first"), "it has no text_encoder_2: none of its tensors is called conditi"),
        (lambda base: {"model_ema.decay": base[FIRST]}, "it holds averaged weights alone"),
        (lambda base: base | {"scaled_fp8": base[FIRST]}, "its 8-bit weights have scales: the float16 file is wanted"),
        (
            lambda base: {"lora_unet_input_blocks_1.lora_up.weight": base[FIRST]},
            "it holds a LoRA: name it in source.adapters",
        ),
        (lambda base: {"cond_stage_model.x": base[FIRST]}, "it is of Stable Diffusion 1 or 2"),
        (lambda base: {"down_blocks.0.resnets.0.conv1.weight": base[FIRST]}, "it has the names of diffusers"),
        (lambda base: base | {"edm_vpred.sigma_max": torch.ones(1)}, "EDM's noise levels"),
    ],
)
def test_what_is_no_whole_checkpoint_of_the_family_is_refused_in_one_line(sources, base, tmp_path, change, message):
    with pytest.raises(ValueError, match=f"^{tmp_path}/model.safetensors: .*{message}") as error:
        unpacked(sources["tiny-base"], change(base), tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "unpacked").exists()


def original_unet(base: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix("model.diffusion_model."): base[name] for name in only(base, "model.")}


def test_no_pattern_of_what_is_left_out_matches_a_tensor_that_is_used(sources):
    for source in sources.values():
        tensors = original.tensors_of(source)
        parts = contents.split(tensors)
        assert sum(len(part) for part in parts.values()) == len(tensors)


def test_files_that_cannot_be_read_are_named(sources, tmp_path):
    for name, message in (("a.ckpt", "a.ckpt is refused: a pickle"), ("b.safetensors", "b.safetensors is not a whole")):
        (tmp_path / name).write_bytes(b"short")
        with pytest.raises(ValueError, match=message):
            single_file.unpack(tmp_path / name, tmp_path / "unpacked", sources["tiny-base"])
    with pytest.raises(FileNotFoundError, match="c.safetensors is missing"):
        single_file.unpack(tmp_path / "c.safetensors", tmp_path / "unpacked", sources["tiny-base"])


def test_a_unet_or_a_vae_is_unpacked_alone_to_stand_in_anothers_place(sources, base, tmp_path):
    given = single_file.configurations(sources["tiny-base"])
    for part, tensors in (("unet", original_unet(base)), ("vae", base)):
        path = original.write(tmp_path / f"{part}.safetensors", tensors)
        single_file.unpack_part(path, part, tmp_path / part, given[part])
        assert read(tmp_path, part) == given[part]
        before, after = weights(sources["tiny-base"], part), weights(tmp_path, part)
        assert all(torch.equal(before[name], after[name]) for name in before | after)
    with pytest.raises(ValueError, match=r"unet.safetensors: it has no vae: none of its tensors is called first_stage"):
        single_file.unpack_part(tmp_path / "unet.safetensors", "vae", tmp_path / "vae")


# Tokenizers and configurations


def test_without_tokenizers_the_error_says_what_to_give(sources, base, tmp_path):
    path = original.write(tmp_path / "model.safetensors", base)
    with pytest.raises(
        ValueError, match="no tokenizers, .* a folder in diffusers layout that has tokenizer/ and tokeni"
    ):
        single_file.unpack(path, tmp_path / "unpacked")
    refiner = original.write(tmp_path / "refiner.safetensors", original.tensors_of(sources["tiny-refiner"]))
    with pytest.raises(ValueError, match="that has tokenizer_2/; any SDXL pipeline"):
        single_file.unpack(refiner, tmp_path / "unpacked")


def test_tokenizers_of_another_vocabulary_or_none_are_refused(sources, base, tmp_path):
    path = original.write(tmp_path / "model.safetensors", base)
    given = single_file.configurations(sources["tiny-base"])
    with pytest.raises(
        ValueError, match="vega/tokenizer/tokenizer.json holds 836 tokens, .*vocab_size of 86: no such pair"
    ):
        single_file.unpack(path, tmp_path / "unpacked", sources["vega"], given)
    with pytest.raises(
        FileNotFoundError, match="tiny0/refiner/tokenizer has neither tokenizer.json nor vocab.json with merges.txt"
    ):
        single_file.unpack(path, tmp_path / "unpacked", sources["tiny-refiner"], given)


@pytest.mark.parametrize(
    "gone", ["input_blocks.2.0.op.weight", "input_blocks.0.0.weight", "label_emb.0.0.weight", "out.2.weight"]
)
def test_a_file_that_lacks_a_tensor_which_its_blocks_are_told_by_is_refused(sources, base, tmp_path, gone):
    tensors = {name: tensor for name, tensor in base.items() if name != f"model.diffusion_model.{gone}"}
    path = original.write(tmp_path / "model.safetensors", tensors)
    given = single_file.configurations(sources["tiny-base"])
    with pytest.raises(ValueError, match=r"model\.safetensors: (unet|no UNet2DConditionModel)"):
        single_file.unpack(path, tmp_path / "unpacked", sources["tiny-base"], given)


def test_what_weights_do_not_show_is_asked_for_where_the_family_does_not_say(sources, base, tmp_path):
    path = original.write(tmp_path / "model.safetensors", base)
    with pytest.raises(ValueError, match="how many attention heads .* a configuration of it is needed"):
        single_file.unpack(path, tmp_path / "unpacked", sources["tiny-base"])


def test_a_configuration_of_a_class_that_no_single_file_holds_is_not_used(sources, base, tmp_path):
    given = single_file.configurations(sources["tiny-base"])
    path = original.write(tmp_path / "model.safetensors", base)
    with pytest.raises(ValueError, match="vae: how many groups its norms have"):
        single_file.unpack(path, tmp_path / "out", sources["tiny-base"], given | {"vae": {"_class_name": "Evil"}})


def test_a_placed_file_is_a_checkpoint_and_errors_name_it(sources, base, tmp_path):
    source = sources["tiny-base"]
    path = original.write(tmp_path / "model.safetensors", base)
    assembling.place_single_file(path, tmp_path / ".x.partial-1", source)
    assert components.read_index(tmp_path / ".x.partial-1")["unet"] == ["diffusers", "UNet2DConditionModel"]
    wide = torch.cat([base[FIRST]] * 3, dim=1)[:, :9]
    original.write(path, base | {FIRST: wide})
    with pytest.raises(ValueError, match=f"^{path}/unet/config.json: in_channels must be 4"):
        assembling.place_single_file(path, tmp_path / ".x.partial-2", source)
