"""Checkpoints: taken from folders and from a Hub on the loopback, swapped, fused, verified, or refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from stages import download as stage
from stages.checkpoints import components, repository
from stages.checkpoints.hub import cached_bytes
from stages.checkpoints.weights import check_weights
from stages.download import download
from stages.files import disk, manifest
from stages.settings.schema import AdapterSource, Source, SwapSource
from tests import original
from tests.hub_server import HubServer
from tests.tiny import KINDS, tiny_checkpoint, tiny_vae

UNET = "unet/diffusion_pytorch_model.safetensors"
LORA = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    root = tmp_path_factory.mktemp("weights")
    return {kind: tiny_checkpoint(root / kind, kind) for kind in KINDS}


@pytest.fixture
def copy(weights, tmp_path):
    """A copy of the tiny base pipeline that a test may spoil."""
    for name, path in ((path.relative_to(weights["base"]), path) for path in weights["base"].rglob("*.*")):
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "copy" / name).write_bytes(path.read_bytes())
    return tmp_path / "copy"


def local(folder, **changes) -> Source:
    fields = {"kind": "local", "architecture": None, "repo": str(folder), "revision": None, "variant": None}
    none = {"file": None, "tokenizers": None, "unet": None, "vae": None, "adapters": []}
    return Source(**{**fields, **none, **changes})


def nothing_left(root: Path) -> bool:
    """No checkpoint and no temporary folder."""
    return not list(root.glob("artifacts/checkpoints/*")) and not list(root.glob("artifacts/checkpoints/.*"))


# Local folders


def test_a_local_pipeline_arrives_whole_and_shares_no_file_with_its_source(weights, tmp_path):
    written = download("tiny", local(weights["base"]), "apache-2.0", tmp_path)
    folder = tmp_path / "artifacts/checkpoints/tiny"
    assert manifest.verify(folder, rerun="download@tiny") == written
    source = {"part": "pipeline", "kind": "local", "name": weights["base"].name}
    assert written["facts"] == {"licence": "apache-2.0", "sources": [source]}, "no path of this machine"
    assert {name.split("/")[0] for name in written["files"]} == {
        "model_index.json", "scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae"
    }  # fmt: skip
    assert not (folder / UNET).samefile(weights["base"] / UNET)


def test_two_downloads_of_one_source_are_equal_byte_for_byte(weights, tmp_path):
    for root in (tmp_path / "one", tmp_path / "two"):
        download("tiny", local(weights["refiner"]), "x", root)
    one, two = (tmp_path / name / "artifacts/checkpoints/tiny" for name in ("one", "two"))
    assert manifest.digest(one) == manifest.digest(two)


def test_a_swapped_unet_takes_the_place_of_the_pipelines(weights, tmp_path):
    source = local(weights["base"], unet=SwapSource("local", str(weights["lcm-unet"]), None, None, None, None))
    download("tiny", source, "x", tmp_path)
    folder = tmp_path / "artifacts/checkpoints/tiny"
    assert json.loads((folder / "unet/config.json").read_text())["time_cond_proj_dim"] == 8
    assert manifest.sha256(folder / UNET) == manifest.sha256(weights["lcm-unet"] / UNET.removeprefix("unet/"))


def test_a_pipeline_without_a_new_class_keeps_its_index_to_the_last_byte(weights, tmp_path):
    source = local(weights["base"], unet=SwapSource("local", str(weights["lcm-unet"]), None, None, None, None))
    download("tiny", source, "x", tmp_path)
    index = tmp_path / "artifacts/checkpoints/tiny/model_index.json"
    assert index.read_bytes() == (weights["base"] / "model_index.json").read_bytes()


def test_a_swapped_tiny_vae_takes_the_place_of_the_pipelines_and_is_named_in_the_index(weights, tmp_path):
    source = local(weights["base"], vae=SwapSource("local", str(weights["tiny-vae"]), None, None, None, None))
    written = download("tiny", source, "x", tmp_path)
    folder = tmp_path / "artifacts/checkpoints/tiny"
    before, after = components.read_index(weights["base"]), components.read_index(folder)
    assert after == before | {"vae": ["diffusers", "AutoencoderTiny"]}
    assert sorted(path.name for path in (folder / "vae").iterdir()) == sorted(
        ["config.json", "diffusion_pytorch_model.safetensors"]
    )
    assert f"{weights['tiny-vae']}/diffusion_pytorch_model.safetensors" in written["inputs"]
    assert manifest.sha256(folder / "vae/config.json") == manifest.sha256(weights["tiny-vae"] / "config.json")


@pytest.mark.parametrize(
    ("changes", "has"),
    [({"latent_channels": 16}, "16 channels and 2 pixels"), ({"blocks": 3}, "4 channels and 4 pixels")],
)
def test_a_vae_of_other_latents_is_refused(weights, tmp_path, changes, has):
    if blocks := changes.pop("blocks", 0):
        names = [f"{half}_block_out_channels" for half in ("encoder", "decoder")]
        counts = [f"num_{half}_blocks" for half in ("encoder", "decoder")]
        changes = dict.fromkeys(names, (8,) * blocks) | dict.fromkeys(counts, (1,) * blocks)
    tiny_vae(**changes).half().save_pretrained(tmp_path / "vae")
    source = local(weights["base"], vae=SwapSource("local", str(tmp_path / "vae"), None, None, None, None))
    with pytest.raises(ValueError, match=f"its latents have {has} a side, the pipeline's have 4 and 2: source.vae"):
        download("tiny", source, "x", tmp_path)
    assert nothing_left(tmp_path)


def test_a_part_of_another_class_is_refused_in_the_place_of_a_vae(weights, tmp_path):
    source = local(weights["base"], vae=SwapSource("local", str(weights["lcm-unet"]), None, None, None, None))
    with pytest.raises(ValueError, match="'UNet2DConditionModel', allowed: 'AutoencoderKL', 'AutoencoderTiny'"):
        download("tiny", source, "x", tmp_path)
    assert nothing_left(tmp_path)


def test_not_a_number_in_a_swapped_vae_is_found(weights, tmp_path):
    shutil.copytree(weights["tiny-vae"], tmp_path / "vae")
    weights_path = tmp_path / "vae/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights_path)
    tensors["decoder.layers.0.bias"][0] = np.nan
    save_file(tensors, weights_path)
    source = local(weights["base"], vae=SwapSource("local", str(tmp_path / "vae"), None, None, None, None))
    with pytest.raises(ValueError, match="tensor decoder.layers.0.bias holds NaN"):
        download("tiny", source, "x", tmp_path)


@pytest.mark.parametrize("naming", ["peft", "mixed"])
def test_a_fused_lora_is_the_sum_computed_by_hand_and_leaves_no_adapter(weights, tmp_path, naming):
    adapter = load_file(weights["lora"] / LORA)
    if naming == "mixed":  # as diffusers' own savers write it: attention one way, the rest another
        old = {"lora_A": "lora.down", "lora_B": "lora.up"}
        adapter = {
            name.replace("lora_A", old["lora_A"]).replace("lora_B", old["lora_B"]) if "to_q" in name else name: tensor
            for name, tensor in adapter.items()
        }
    (tmp_path / "lora").mkdir()
    save_file(adapter, tmp_path / "lora" / LORA)
    source = local(weights["base"], adapters=[AdapterSource("local", str(tmp_path / "lora"), None, LORA, 0.5)])
    download("tiny", source, "x", tmp_path)
    before, after = load_file(weights["base"] / UNET), load_file(tmp_path / "artifacts/checkpoints/tiny" / UNET)
    assert set(after) == set(before) and all(tensor.dtype == np.float16 for tensor in after.values())
    adapter = load_file(weights["lora"] / LORA)
    for name, tensor in before.items():
        layer = f"unet.{name.removesuffix('.weight')}"
        expected = tensor.astype(np.float32)
        if f"{layer}.lora_A.weight" in adapter:
            expected = expected + 0.5 * adapter[f"{layer}.lora_B.weight"] @ adapter[f"{layer}.lora_A.weight"]
            assert not np.array_equal(after[name], tensor)
        np.testing.assert_allclose(after[name].astype(np.float32), expected, atol=1e-3, rtol=1e-3)


def test_a_lora_of_another_unet_is_refused(weights, tmp_path):
    adapter = {name.replace("to_q", "to_nothing"): tensor for name, tensor in load_file(weights["lora"] / LORA).items()}
    (tmp_path / "lora").mkdir()
    save_file(adapter, tmp_path / "lora" / LORA)
    source = local(weights["base"], adapters=[AdapterSource("local", str(tmp_path / "lora"), None, LORA, 1.0)])
    with pytest.raises(ValueError, match="attn1.to_nothing is not in this checkpoint's unet: the file adapts another"):
        download("tiny", source, "x", tmp_path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number_or_infinity_in_weights_is_refused_by_file_and_tensor(copy, tmp_path, value):
    tensors = load_file(copy / UNET)
    tensors["conv_in.bias"][3] = value
    save_file(tensors, copy / UNET)
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model.safetensors: tensor conv_in.bias holds NaN or inf"):
        download("tiny", local(copy), "x", tmp_path)
    assert nothing_left(tmp_path)


def test_a_truncated_safetensors_file_is_refused_by_name(copy, tmp_path):
    (copy / UNET).write_bytes((copy / UNET).read_bytes()[:-100])
    with pytest.raises(ValueError, match="diffusion_pytorch_model.safetensors is not a whole safetensors file"):
        download("tiny", local(copy), "x", tmp_path)
    assert nothing_left(tmp_path)


def test_a_component_with_pickles_only_is_refused_with_the_reason(copy, tmp_path):
    (copy / UNET).rename(copy / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(ValueError, match="diffusion_pytorch_model.bin is refused: a pickle can run any code"):
        download("tiny", local(copy), "x", tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("unet", ["os", "system"], "'unet' names .*not allowed; allowed: diffusers.UNet2DConditionModel"),
        ("vae", ["diffusers", "DiffusionPipeline"], "allowed: diffusers.AutoencoderKL"),
        ("ov_config", {"CACHE_DIR": "/"}, "entry 'ov_config' is not allowed"),
        ("_class_name", "EvilPipeline", "pipeline class 'EvilPipeline' is not allowed"),
    ],
)
def test_an_index_that_names_other_classes_is_refused(copy, tmp_path, name, value, message):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps({**index, name: value}))
    with pytest.raises(ValueError, match=message):
        download("tiny", local(copy), "x", tmp_path)
    assert nothing_left(tmp_path)


@pytest.mark.parametrize(
    ("changes", "settled"),
    [
        ({"feature_extractor": ["transformers", "CLIPImageProcessor"], "image_encoder": [None, None]}, {}),
        ({"safety_checker": ["evil", "Checker"], "controlnet": None, "add_watermarker": "no"}, {}),
        ({"guidance_rescale": 0.7, "is_cosxl": True, "note": "mine", "nothing": None, "steps": 4}, {}),
        ({"scheduler": ["diffusers", "SchedulerOfNobody"]}, {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}),
        ({"scheduler": ["evil", "Scheduler"]}, {"scheduler": ["diffusers", "EulerDiscreteScheduler"]}),
        ({"scheduler": ["diffusers", "LCMScheduler"]}, {"scheduler": ["diffusers", "LCMScheduler"]}),
        ({"_class_name": "StableDiffusionXLInpaintPipeline"}, {"_class_name": "StableDiffusionXLPipeline"}),
        ({"_class_name": "StableDiffusionXLPAGImg2ImgPipeline"}, {"_class_name": "StableDiffusionXLPipeline"}),
    ],
)
def test_an_index_is_written_with_what_is_run_and_names_that_may_be_imported(copy, tmp_path, changes, settled):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | changes))
    download("tiny", local(copy), "x", tmp_path)
    written = json.loads((tmp_path / "artifacts/checkpoints/tiny/model_index.json").read_text())
    assert written == index | settled


def test_absent_parts_are_not_in_the_written_index_and_a_stray_folder_of_one_does_not_decide(weights, tmp_path):
    shutil.copytree(weights["refiner"], tmp_path / "refiner")
    (tmp_path / "refiner/text_encoder").mkdir()
    (tmp_path / "refiner/text_encoder/config.json").write_text("not even JSON")
    written = download("tiny", local(tmp_path / "refiner"), "x", tmp_path)
    index = components.read_index(tmp_path / "artifacts/checkpoints/tiny")
    assert not {"text_encoder", "tokenizer"} & {name.split("/")[0] for name in [*index, *written["files"]]}
    assert index["_class_name"] == "StableDiffusionXLImg2ImgPipeline" and components.role(index) == "refiner"


@pytest.mark.parametrize("name", ["StableDiffusionXLControlNetPipeline", ["mine", "StableDiffusionXLPipeline"], None])
def test_a_pipeline_that_gives_its_unet_more_than_we_do_is_refused(copy, tmp_path, name):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"_class_name": name}))
    with pytest.raises(ValueError, match=r"copy/model_index.json: pipeline class .* is not allowed; allowed: Stable"):
        download("tiny", local(copy), "x", tmp_path)


def test_a_written_index_is_held_to_the_names_that_are_loaded(copy):
    index = json.loads((copy / "model_index.json").read_text())
    (copy / "model_index.json").write_text(json.dumps(index | {"feature_extractor": ["evil", "Extractor"]}))
    with pytest.raises(ValueError, match="entry 'feature_extractor' is not allowed"):
        components.read_index(copy)


def test_an_inpainting_unet_is_refused(copy, tmp_path):
    config = json.loads((copy / "unet/config.json").read_text())
    (copy / "unet/config.json").write_text(json.dumps(config | {"in_channels": 9}))
    with pytest.raises(ValueError, match="copy/unet/config.json: in_channels must be 4, as .*, got 9"):
        download("tiny", local(copy), "x", tmp_path)


@pytest.mark.parametrize("spoilt", ["unet/diffusion_pytorch_model.safetensors", "model_index.json", "vae/config.json"])
def test_errors_name_the_source_and_no_vanished_folder(copy, weights, tmp_path, spoilt):
    (copy / spoilt).write_bytes(b"{spoilt")
    source = local(copy, vae=SwapSource("local", str(weights["tiny-vae"]), None, None, None, None))
    with pytest.raises(ValueError) as error:
        download("tiny", source, "x", tmp_path)
    assert str(error.value).startswith(f"{copy}/{spoilt} is not ") and ".partial-" not in str(error.value)


def test_errors_of_a_swapped_part_name_its_own_source(weights, tmp_path):
    shutil.copytree(weights["tiny-vae"], tmp_path / "other/part")
    (tmp_path / "other/part/diffusion_pytorch_model.safetensors").write_bytes(b"short")
    source = local(weights["base"], vae=SwapSource("local", str(tmp_path / "other"), None, "part", None, None))
    with pytest.raises(ValueError) as error:
        download("tiny", source, "x", tmp_path)
    assert str(error.value).startswith(f"{tmp_path}/other/part/diffusion_pytorch_model.safetensors is not a whole")


def test_a_snapshot_in_a_hub_cache_is_a_local_source(copy, weights, tmp_path):
    repo = tmp_path / "hub/models--me--tiny"
    (repo / "blobs").mkdir(parents=True)
    for number, path in enumerate(sorted(path for path in copy.rglob("*") if path.is_file())):
        link = repo / "snapshots" / ("a" * 40) / path.relative_to(copy)
        link.parent.mkdir(parents=True, exist_ok=True)
        path.rename(repo / f"blobs/{number}")
        link.symlink_to(os.path.relpath(repo / f"blobs/{number}", link.parent))
    snapshot = repo / "snapshots" / ("a" * 40)
    (source,) = download("tiny", local(snapshot), "x", tmp_path)["facts"]["sources"]
    assert source == {"part": "pipeline", "kind": "hub", "name": "me/tiny", "commit": "a" * 40}
    folder = tmp_path / "artifacts/checkpoints/tiny"
    assert manifest.sha256(folder / UNET) == manifest.sha256(weights["base"] / UNET)
    assert not [path for path in folder.rglob("*") if path.is_symlink()]
    source = local(weights["base"], unet=SwapSource("local", str(snapshot), None, "unet", None, None))
    download("tiny", source, "x", tmp_path)
    for outside in (tmp_path / "secret", tmp_path / "hub/models--me--other/blobs/0"):
        outside.parent.mkdir(parents=True, exist_ok=True)
        outside.write_text("{}")
        (snapshot / "unet/config.json").unlink()
        (snapshot / "unet/config.json").symlink_to(outside)
        with pytest.raises(ValueError, match="config.json is refused: it is a link that leads out"):
            download("tiny", local(snapshot), "x", tmp_path)


def test_a_link_out_of_the_folder_is_refused(copy, tmp_path):
    (tmp_path / "secret").write_text("{}")
    (copy / "unet/config.json").unlink()
    (copy / "unet/config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(ValueError, match="config.json is refused: it is a link that leads out"):
        download("tiny", local(copy), "x", tmp_path)


def test_a_variant_is_chosen_and_gets_the_plain_name():
    names = [f"unet/diffusion_pytorch_model{variant}.safetensors" for variant in ("", ".fp16")]
    assert repository.select_weights(names, "unet/", "diffusion_pytorch_model", "fp16") == [names[1]]
    assert repository.plain_name(names[1], "fp16") == names[0]


def test_a_component_without_the_variant_gives_its_plain_weights():
    names = [f"unet/diffusion_pytorch_model{variant}.safetensors" for variant in ("", ".fp16")]
    assert repository.select_weights(names, "unet/", "diffusion_pytorch_model", "bf16") == [names[0]]
    shards = ["model.safetensors.index.json", *(f"model-0000{number}-of-00002.safetensors" for number in (1, 2))]
    assert repository.select_weights([*shards, "model.non_ema.safetensors"], "", "model", "fp16") == shards


@pytest.mark.parametrize("asked", [None, "bf16"])
def test_a_variant_that_nobody_asked_for_is_not_taken_and_the_message_names_what_is_there(asked):
    names = ["unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.bin"]
    with pytest.raises(ValueError, match=r"unet/.* is missing: variant must match one of unet/.*fp16.safetensors$"):
        repository.select_weights(names, "unet/", "diffusion_pytorch_model", asked)


def test_components_of_one_pipeline_may_have_the_variant_or_not(copy, tmp_path):
    (copy / UNET).rename((copy / UNET).with_suffix(".fp16.safetensors"))
    for stray in ("unet/diffusion_pytorch_model.non_ema.safetensors", "text_encoder/pytorch_model.bin"):
        (copy / stray).write_bytes(b"never opened")
    (copy / "vae_decoder").mkdir()
    (copy / "vae_decoder/model.onnx").write_bytes(b"never opened")
    written = download("tiny", local(copy, variant="fp16"), "x", tmp_path)
    assert f"{copy}/unet/diffusion_pytorch_model.fp16.safetensors" in written["inputs"]
    assert f"{copy}/text_encoder/model.safetensors" in written["inputs"]
    files = {name for name in written["files"] if name.endswith((".safetensors", ".bin", ".onnx"))}
    assert files == {UNET, *(f"{name}/model.safetensors" for name in ("text_encoder", "text_encoder_2"))} | {
        "vae/diffusion_pytorch_model.safetensors"
    }


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        ("unet/config.json", "copy: unet/config.json is missing; unet/ holds diffusion_pytorch_model.safetensors"),
        ("vae/diffusion_pytorch_model.safetensors", "copy: vae/.*safetensors is missing; vae/ holds config.json"),
        ("scheduler/scheduler_config.json", "copy: scheduler/scheduler_config.json is missing; scheduler/ holds notes"),
        ("model_index.json", "copy: model_index.json is missing"),
    ],
)
def test_what_a_component_lacks_is_named_with_the_source_and_with_what_is_there(copy, tmp_path, gone, message):
    (copy / "scheduler/notes").write_text("mine")
    (copy / gone).unlink()
    with pytest.raises(ValueError, match=message):
        download("tiny", local(copy), "x", tmp_path)


def test_a_part_that_the_index_names_and_the_source_lacks_is_named(copy, tmp_path):
    shutil.rmtree(copy / "vae")
    with pytest.raises(FileNotFoundError, match="copy: it has no vae, which its model_index.json names"):
        download("tiny", local(copy), "x", tmp_path)


def test_a_tokenizer_without_a_vocabulary_is_refused(copy, tmp_path):
    for path in [*copy.glob("tokenizer_2/vocab*"), *copy.glob("tokenizer_2/tokenizer.json")]:
        path.unlink()
    with pytest.raises(ValueError, match="tokenizer_2/vocab.json and tokenizer.json are missing; tokenizer_2/ holds"):
        download("tiny", local(copy), "x", tmp_path)


def test_shards_are_taken_with_their_index_and_keep_the_names_it_uses():
    shards = [f"unet/diffusion_pytorch_model.fp16-0000{number}-of-00002.safetensors" for number in (1, 2)]
    index = "unet/diffusion_pytorch_model.safetensors.index.fp16.json"
    assert repository.select_weights([*shards, index], "unet/", "diffusion_pytorch_model", "fp16") == [index, *shards]
    assert repository.plain_name(index, "fp16") == "unet/diffusion_pytorch_model.safetensors.index.json"
    assert repository.plain_name(shards[0], "fp16") == shards[0]


def test_an_index_of_shards_that_leads_out_of_its_folder_is_refused(copy):
    index = {"weight_map": {"conv_in.bias": "../vae/diffusion_pytorch_model.safetensors"}}
    (copy / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ValueError, match="is refused"):
        check_weights(copy)


# A Hub on the loopback


@pytest.fixture
def hub(copy, weights, tmp_path, monkeypatch):
    """The tiny pipeline as `me/tiny` with fp16 files, pickles and other things beside them."""
    for path in copy.rglob("*.safetensors"):
        path.rename(path.with_name(path.name.replace(".safetensors", ".fp16.safetensors")))
    (copy / "unet/diffusion_pytorch_model.bin").write_bytes(b"pickle")
    (copy / "train.py").write_text("print('never fetched')")
    repositories = {"me/tiny": copy, "me/lora": weights["lora"], "me/tiny-vae": weights["tiny-vae"]}
    with HubServer(repositories) as server:
        server.stand_in(monkeypatch, tmp_path / "cache")
        yield server


def from_hub(**changes) -> Source:
    return local("me/tiny", **{"kind": "hub", "revision": "main", "variant": "fp16", **changes})


def test_a_hub_pipeline_arrives_under_plain_names_and_nothing_else_is_fetched(hub, weights, tmp_path):
    written = download("tiny", from_hub(), "x", tmp_path)
    folder = tmp_path / "artifacts/checkpoints/tiny"
    assert manifest.sha256(folder / UNET) == manifest.sha256(weights["base"] / UNET)
    assert not [name for name in written["files"] if name.endswith((".py", ".bin"))]
    assert not hub.fetched("train.py") and not hub.fetched("diffusion_pytorch_model.bin")
    assert components.read_index(folder)["_class_name"] == "StableDiffusionXLPipeline"


def test_main_is_resolved_once_recorded_and_kept_when_it_moves(hub, tmp_path):
    download("tiny", from_hub(), "x", tmp_path)
    record = tmp_path / "artifacts/revisions/tiny.json"
    assert json.loads(record.read_text())["me/tiny"]["main"]["commit"] == "a" * 40
    hub.commits["me/tiny"] = "b" * 40
    before = record.read_bytes()
    download("tiny", from_hub(), "x", tmp_path)
    assert record.read_bytes() == before
    assert not [path for _, path, _ in hub.requests if "b" * 40 in path]


def test_a_second_run_fetches_nothing_again_and_works_without_the_hub(hub, tmp_path, monkeypatch):
    first = download("tiny", from_hub(), "x", tmp_path)
    hub.requests.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert download("tiny", from_hub(), "x", tmp_path)["files"] == first["files"]
    assert hub.requests == []


def test_a_full_disk_refuses_what_is_not_in_the_cache_and_nothing_else(hub, tmp_path, monkeypatch):
    free = disk.free_bytes
    monkeypatch.setattr(disk, "free_bytes", lambda target: 0 if "cache" in target.parts else free(target))
    with pytest.raises(ValueError, match=r"cache needs 0.00 GB of disk, 0.00 GB are free there"):
        download("tiny", from_hub(), "x", tmp_path)
    assert not hub.fetched(UNET.replace(".s", ".fp16.s"))
    monkeypatch.setattr(disk, "free_bytes", free)
    download("tiny", from_hub(), "x", tmp_path)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 0)
    download("tiny", from_hub(), "x", tmp_path)


def test_what_the_cache_holds_is_counted_once(hub, tmp_path):
    assert cached_bytes(["me/tiny"]) == 0
    written = download("tiny", from_hub(), "x", tmp_path)
    sizes = {file["sha256"]: file["size"] for file in written["files"].values()}
    assert cached_bytes(["me/tiny", "me/tiny", "me/lora"]) == sum(sizes.values())


def test_the_need_of_disk_is_less_by_what_the_cache_holds(hub, monkeypatch):
    source = from_hub(architecture="vega")
    monkeypatch.setattr("stages.checkpoints.hub.cached_bytes", lambda repos: 1e9)
    whole = stage._need(from_hub(kind="synthetic", architecture="vega")).disk_gb
    assert stage._need(source).disk_gb == pytest.approx(whole - 1)


def test_offline_without_the_file_names_what_is_missing(hub, tmp_path, monkeypatch):
    download("tiny", from_hub(), "x", tmp_path)
    next((tmp_path / "cache").glob(f"*/snapshots/*/{UNET.replace('.s', '.fp16.s')}")).unlink()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"unet/diffusion_pytorch_model.fp16.safetensors is not in the cache"):
        download("tiny", from_hub(), "x", tmp_path)


def test_a_wrong_byte_of_the_right_size_is_found_thrown_away_and_fetched_again(hub, tmp_path):
    name = UNET.replace(".safetensors", ".fp16.safetensors")
    hub.flipped.add(name)
    with pytest.raises(ValueError, match="diffusion_pytorch_model.fp16.safetensors has not the SHA-256"):
        download("tiny", from_hub(), "x", tmp_path)
    assert nothing_left(tmp_path)
    hub.flipped.clear()
    download("tiny", from_hub(), "x", tmp_path)
    assert hub.fetched(name) == 2
    assert hub.fetched("text_encoder/model.fp16.safetensors") == 1


def test_a_wrong_byte_in_a_small_file_is_found_too(hub, tmp_path):
    hub.flipped.add("scheduler/scheduler_config.json")
    with pytest.raises(ValueError, match="scheduler_config.json has not the hash"):
        download("tiny", from_hub(), "x", tmp_path)


def test_a_cut_connection_is_resumed_where_it_broke(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 50_000)
    name = UNET.replace(".safetensors", ".fp16.safetensors")
    hub.cut_after[name] = [100_000]
    download("tiny", from_hub(), "x", tmp_path)
    ranges = [wanted for method, path, wanted in hub.requests if method == "GET" and path.endswith(name)]
    assert ranges == [None, "bytes=100000-"]
    manifest.verify(tmp_path / "artifacts/checkpoints/tiny", rerun="download@tiny")


def test_a_connection_that_stays_cut_leaves_nothing_and_a_rerun_completes(hub, tmp_path):
    name = UNET.replace(".safetensors", ".fp16.safetensors")
    hub.cut_after[name] = [0] * 20
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model.fp16.safetensors was not fetched: .*run again"):
        download("tiny", from_hub(), "x", tmp_path)
    assert nothing_left(tmp_path)
    hub.cut_after.clear()
    download("tiny", from_hub(), "x", tmp_path)


@pytest.mark.parametrize("name", ["../evil.json", "/etc/evil.json", "unet/../../evil", "C:/evil", "a\\b"])
def test_names_that_leave_the_repository_are_refused(hub, tmp_path, name):
    hub.extra_names.append(name)
    with pytest.raises(ValueError, match="is refused: only relative names"):
        download("tiny", from_hub(), "x", tmp_path)
    assert nothing_left(tmp_path)


def test_an_unknown_repository_is_named(hub, tmp_path):
    with pytest.raises(ValueError, match="me/other is not a repository on http://127.0.0.1"):
        download("tiny", from_hub(repo="me/other"), "x", tmp_path)


def test_a_hub_lora_is_fused(hub, tmp_path):
    adapters = [AdapterSource("hub", "me/lora", "main", LORA, 0.5)]
    written = download("tiny", from_hub(adapters=adapters), "x", tmp_path)
    record = json.loads((tmp_path / "artifacts/revisions/tiny.json").read_text())
    assert set(record) == {"me/tiny", "me/lora"}
    pipeline, adapter = written["facts"]["sources"]
    assert pipeline == {"part": "pipeline", "kind": "hub", "name": "me/tiny", "commit": "a" * 40}
    assert adapter.pop("sha256") == written["inputs"][f"me/lora/{LORA}"]
    assert adapter == {
        "part": "adapter", "kind": "hub", "name": "me/lora", "commit": "a" * 40, "file": LORA, "scale": 0.5
    }  # fmt: skip


def test_a_hub_vae_is_swapped_and_the_cache_keeps_the_pipelines_own_index(hub, tmp_path):
    written = download("tiny", from_hub(vae=SwapSource("hub", "me/tiny-vae", "main", None, None, None)), "x", tmp_path)
    record = json.loads((tmp_path / "artifacts/revisions/tiny.json").read_text())
    assert set(record) == {"me/tiny", "me/tiny-vae"}
    assert components.read_index(tmp_path / "artifacts/checkpoints/tiny")["vae"][1] == "AutoencoderTiny"
    assert download("tiny", from_hub(), "x", tmp_path)["files"] != written["files"]
    assert components.read_index(tmp_path / "artifacts/checkpoints/tiny")["vae"][1] == "AutoencoderKL"


def test_kill_9_leaves_nothing_and_a_rerun_fetches_only_what_is_missing(hub, tmp_path, monkeypatch):
    monkeypatch.undo()
    script = (
        "import pathlib, sys\nfrom stages.download import download\nfrom tests.test_download import from_hub\n"
        "download('tiny', from_hub(), 'x', pathlib.Path(sys.argv[1]))\n"
    )
    environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-c", script, str(tmp_path)]
    repository, name = Path(__file__).parent.parent, UNET.replace(".safetensors", ".fp16.safetensors")
    hub.stalled.add(name)
    child = subprocess.Popen(command, env=environment, cwd=repository, stderr=subprocess.PIPE, text=True)
    while not hub.stalling.wait(0.1):
        assert child.poll() is None, child.communicate()[1]
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    target = tmp_path / "artifacts/checkpoints/tiny"
    assert list(target.parent.glob(".tiny.partial-*")) and not target.exists()
    hub.stalled.clear()
    subprocess.run(command, env=environment, cwd=repository, check=True, capture_output=True)
    manifest.verify(target, rerun="download@tiny")
    assert list(target.parent.iterdir()) == [target]
    assert hub.fetched(name) == 2 and hub.fetched("text_encoder/model.fp16.safetensors") == 1


# One file, and parts of several kinds


def test_one_file_with_another_sources_tokenizers_is_the_checkpoint_it_was_made_of(weights, tmp_path):
    (tmp_path / "mine").mkdir()
    original.write(tmp_path / "mine/tuned.safetensors", original.tensors_of(weights["base"]))
    described = SwapSource("local", str(weights["base"]), None, None, None, None)
    source = local(tmp_path / "mine", file="tuned.safetensors", tokenizers=described)
    written = download("tiny", source, "x", tmp_path)
    folder = tmp_path / "artifacts/checkpoints/tiny"
    for part, stem in components.STEMS.items():
        before, after = (load_file(one / part / f"{stem}.safetensors") for one in (weights["base"], folder))
        assert before.keys() == after.keys()
        assert all((before[name] == after[name]).all() for name in before)
    assert written["inputs"][f"{tmp_path}/mine/tuned.safetensors"]
    assert written["inputs"][f"{weights['base']}/tokenizer/tokenizer.json"]
    assert not [path for path in folder.parent.iterdir() if path != folder], "no scratch is left"


def test_one_file_alone_says_that_it_has_no_tokenizers(weights, tmp_path):
    original.write(tmp_path / "tuned.safetensors", original.tensors_of(weights["base"]))
    with pytest.raises(ValueError, match=r"tuned\.safetensors.*tokenizer"):
        download("tiny", local(tmp_path, file="tuned.safetensors"), "x", tmp_path)
    assert nothing_left(tmp_path)


def test_a_file_that_is_not_there_is_named_with_those_that_are(hub, weights, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no safetensors file 'absent.safetensors'$"):
        download("tiny", local(weights["base"], file="absent.safetensors"), "x", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"me/tiny has no safetensors file 'x.safetensors'; it has .*unet"):
        download("tiny", from_hub(file="x.safetensors"), "x", tmp_path)
    with pytest.raises(ValueError, match="only safetensors are opened"):
        download("tiny", local(tmp_path, file="model.ckpt"), "x", tmp_path)


@pytest.mark.parametrize("part", ["unet", "vae"])
@pytest.mark.parametrize("names", ["diffusers", "original"])
def test_a_part_may_be_one_file_under_either_names(weights, tmp_path, part, names):
    stem = f"{part}/{components.STEMS[part]}.safetensors"
    changed = {name: tensor + np.float16(1) for name, tensor in load_file(weights["base"] / stem).items()}
    folder = shutil.copytree(weights["base"], tmp_path / "changed")
    save_file(changed, folder / stem)
    file = tmp_path / "part.safetensors"
    save_file(changed, file) if names == "diffusers" else original.write(file, original.tensors_of(folder))
    swap = SwapSource("local", str(tmp_path), None, None, None, "part.safetensors")
    download("tiny", local(weights["base"], **{part: swap}), "x", tmp_path)
    found = load_file(tmp_path / "artifacts/checkpoints/tiny" / stem)
    assert found.keys() == changed.keys() and all((found[name] == changed[name]).all() for name in changed)


def test_each_part_has_a_kind_of_its_own(hub, weights, tmp_path):
    own = [AdapterSource("local", str(weights["lora"]), None, LORA, 1.0)]
    theirs = [AdapterSource("hub", "me/lora", "main", LORA, 1.0)]
    for name, source in (("a", from_hub(adapters=own)), ("b", local(weights["base"], adapters=theirs))):
        download(name, source, "x", tmp_path)
    unets = [(tmp_path / "artifacts/checkpoints" / name / UNET).read_bytes() for name in ("a", "b")]
    assert unets[0] == unets[1]


def test_an_adapter_taken_away_again_leaves_the_weights_as_they_were(weights, tmp_path):
    adapters = [AdapterSource("local", str(weights["lora"]), None, LORA, scale) for scale in (0.5, -0.5)]
    download("tiny", local(weights["base"], adapters=adapters), "x", tmp_path)
    before, after = load_file(weights["base"] / UNET), load_file(tmp_path / "artifacts/checkpoints/tiny" / UNET)
    assert all(np.allclose(before[name], after[name], atol=1e-3) for name in before)


@pytest.mark.parametrize("kind", ["int8", "bool", "float8"])
def test_weights_that_are_no_floats_are_named_with_their_type(copy, tmp_path, kind):
    import torch
    from safetensors.torch import load_file as load
    from safetensors.torch import save_file as save

    tensors = load(copy / UNET)
    types = {"int8": torch.int8, "bool": torch.bool, "float8": torch.float8_e4m3fn}
    tensors["conv_in.weight"] = tensors["conv_in.weight"].to(types[kind])
    save(tensors, copy / UNET)
    with pytest.raises(ValueError, match=r"unet/.*: tensor conv_in.weight is of type (I8|BOOL|F8_E4M3): weights"):
        download("tiny", local(copy), "x", tmp_path)
    assert nothing_left(tmp_path)
