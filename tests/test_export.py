"""FP16 IR: equal to torch, with the interface of optimum-intel's own export, deterministic, loadable as it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from stages import export as stage
from stages.checkpoints import components
from stages.export import export
from stages.files import manifest
from tests.tiny import SIZE_PX, TOKENS, tiny_checkpoint
from tests.tiny_ir import as_exported, tiny_ir, tiny_root

KINDS = ("base", "refiner", "lcm")


def checkpoint(root: Path, kind: str) -> Path:
    """A tiny checkpoint as `download` leaves it; lcm is the base with the guided UNet."""
    folder = tiny_checkpoint(root / "artifacts/checkpoints" / kind, "base" if kind == "lcm" else kind)
    if kind == "lcm":
        tiny_checkpoint(folder / "unet", "lcm-unet")
    manifest.write(folder, stage="download", inputs={}, settings={}, facts={"licence": "apache-2.0"})
    return folder


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Checkpoints and IR folders of all kinds."""
    root = tmp_path_factory.mktemp("export")
    for kind in KINDS:
        checkpoint(root, kind)
        export(kind, as_exported("refiner" if kind == "refiner" else "base"), root)
    return root


def ir(root: Path, kind: str) -> Path:
    return root / "artifacts/ir" / kind / "fp16"


def compiled(path: Path):
    import openvino as ov

    return ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def ports(path: Path) -> dict[str, tuple[str, str]]:
    import openvino as ov

    model = ov.Core().read_model(path)
    return {port.get_any_name(): (str(port.partial_shape), str(port.element_type)) for port in model.inputs} | {
        f"-> {port.get_any_name()}": (str(port.partial_shape), str(port.element_type)) for port in model.outputs
    }


def sqnr_db(reference: np.ndarray, other: np.ndarray) -> float:
    return 10 * np.log10((reference**2).sum() / ((reference - other) ** 2).sum())


def unet_inputs(model, timestep: int, batch: int = 2, latent: int = SIZE_PX // 2) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    shapes = {
        port.get_any_name(): [latent if dim.is_dynamic else dim.get_length() for dim in port.partial_shape]
        for port in model.inputs
    }
    inputs = {name: random.standard_normal([batch, *shape[1:]], np.float32) for name, shape in shapes.items()}
    ids = shapes["time_ids"][1]
    return {**inputs, "timestep": np.array([timestep]), "time_ids": np.full((batch, ids), 32, np.float32)}


@pytest.mark.parametrize("kind", KINDS)
def test_the_folder_is_whole_and_every_component_is_there(exported, kind):
    folder = ir(exported, kind)
    names = set(manifest.verify(folder, rerun=f"export@{kind}")["files"])
    expected = components.present(components.read_index(folder))
    assert len(expected) == (4 if kind == "refiner" else 5)
    for component in expected:
        assert {f"{component.name}/{file}" for file in (*components.IR_FILES, "config.json")} <= names
    assert "tokenizer_2/openvino_tokenizer.xml" in names and "scheduler/scheduler_config.json" in names
    assert {"README.md", "LICENSE"} <= names


@pytest.mark.parametrize(("kind", "extra"), [("base", {}), ("refiner", {}), ("lcm", {"timestep_cond": "[?,8]"})])
def test_the_unet_has_the_inputs_that_optimum_gives_it(exported, kind, extra):
    width, ids = (32, 5) if kind == "refiner" else (48, 6)
    shapes = {name: shape for name, (shape, _) in ports(ir(exported, kind) / "unet/openvino_model.xml").items()}
    assert shapes == {
        "sample": "[?,4,?,?]",
        "timestep": "[?]",
        "encoder_hidden_states": f"[?,{TOKENS},{width}]",
        **extra,
        "text_embeds": "[?,32]",
        "time_ids": f"[?,{ids}]",
        "-> out_sample": "[?,4,1..,1..]",
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("latent", [SIZE_PX // 2, 9])
def test_the_unet_computes_what_torch_computes_at_late_and_early_steps_and_any_size(exported, kind, latent):
    import torch
    from diffusers import UNet2DConditionModel

    model = compiled(ir(exported, kind) / "unet/openvino_model.xml")
    unet = UNet2DConditionModel.from_pretrained(exported / "artifacts/checkpoints" / kind / "unet")
    unet = unet.float().eval()
    for timestep in (981, 21):
        inputs = unet_inputs(model, timestep, latent=latent)
        tensors = {name: torch.from_numpy(value) for name, value in inputs.items()}
        conditions = {name: tensors.pop(name) for name in ("text_embeds", "time_ids")}
        with torch.no_grad():
            expected = unet(**tensors, added_cond_kwargs=conditions).sample.numpy()
        assert sqnr_db(expected, model(inputs, share_inputs=False)[0]) > 90  # optimum's own export reaches 49


@pytest.mark.parametrize(("name", "kind"), [("text_encoder", "base"), ("text_encoder_2", "base")])
def test_text_encoders_compute_what_torch_computes_for_any_length(exported, name, kind):
    import torch
    import transformers

    second = name.endswith("2")
    model_class = transformers.CLIPTextModelWithProjection if second else transformers.CLIPTextModel
    encoder = model_class.from_pretrained(exported / "artifacts/checkpoints" / kind / name, dtype=torch.float32).eval()
    model = compiled(ir(exported, kind) / name / "openvino_model.xml")
    for tokens in np.array([[84, 3, 4, 85] + [85] * 12]), np.array([[84, 9, 85], [84, 85, 85], [84, 1, 85]]):
        with torch.no_grad():
            states = encoder(input_ids=torch.from_numpy(tokens), output_hidden_states=True)
        outputs = model({"input_ids": tokens}, share_inputs=False)
        first = "text_embeds" if second else "pooler_output"
        np.testing.assert_allclose(outputs[first], states[first].numpy(), atol=1e-4)
        np.testing.assert_allclose(outputs["last_hidden_state"], states["last_hidden_state"].numpy(), atol=1e-4)
        for layer, hidden in enumerate(states.hidden_states):
            np.testing.assert_allclose(outputs[f"hidden_states.{layer}"], hidden.numpy(), atol=1e-4)


def test_both_halves_of_the_vae_compute_what_torch_computes(exported):
    import torch
    from diffusers import AutoencoderKL

    vae = AutoencoderKL.from_pretrained(exported / "artifacts/checkpoints/base/vae").float().eval()
    picture = np.random.default_rng(0).uniform(-1, 1, (1, 3, 48, 32)).astype(np.float32)
    with torch.no_grad():
        latents = vae.encode(torch.from_numpy(picture)).latent_dist
        decoded = vae.decode(latents.mean).sample.numpy()
    paths = [ir(exported, "base") / f"vae_{half}/openvino_model.xml" for half in ("encoder", "decoder")]
    encoder, decoder = map(compiled, paths)
    assert sqnr_db(latents.parameters.numpy(), encoder({"sample": picture}, share_inputs=False)[0]) > 90
    assert sqnr_db(decoded, decoder({"latent_sample": latents.mean.numpy()}, share_inputs=False)[0]) > 90


@pytest.fixture(scope="module")
def tiny_vae_halves() -> tuple:
    """The tiny VAE in torch, and its encoder and decoder as IR."""
    from diffusers import AutoencoderTiny

    vae = AutoencoderTiny.from_pretrained(tiny_root() / "artifacts/checkpoints/tiny-vae/vae").float().eval()
    paths = [tiny_ir("tiny-vae") / f"vae_{half}/openvino_model.xml" for half in ("encoder", "decoder")]
    return vae, *map(compiled, paths)


@pytest.mark.parametrize("size", [(48, 32), (34, 50)])
def test_both_halves_of_a_tiny_vae_compute_what_torch_computes_at_any_size(tiny_vae_halves, size):
    import torch

    vae, encoder, decoder = tiny_vae_halves
    picture = np.random.default_rng(0).uniform(-1, 1, (2, 3, *size)).astype(np.float32)
    with torch.no_grad():
        latents = vae.encode(torch.from_numpy(picture)).latents
        decoded = vae.decode(3 * latents).sample.numpy()
    parameters = encoder({"sample": picture}, share_inputs=False)[0]
    mean, variance = np.split(parameters, 2, axis=1)
    np.testing.assert_allclose(mean, latents.numpy(), atol=1e-5)
    assert (variance == -30).all()
    found = decoder({"latent_sample": 3 * latents.numpy()}, share_inputs=False)[0]
    assert sqnr_db(decoded, found) > 70  # OpenVINO folds 3 tanh(x / 3) into the first weights: rounded to halves anew


def test_a_tiny_vae_has_the_interface_of_the_pipelines_own_one():
    for half in ("encoder", "decoder"):
        tiny, own = (ports(tiny_ir(model) / f"vae_{half}/openvino_model.xml") for model in ("tiny-vae", "base"))
        assert tiny.keys() == own.keys()
        assert {name: kind for name, (_, kind) in tiny.items()} == {name: kind for name, (_, kind) in own.items()}
        inputs = {name: shape for name, (shape, _) in tiny.items() if not name.startswith("->")}
        assert inputs == {name: shape for name, (shape, _) in own.items() if not name.startswith("->")}
    parameters = ports(tiny_ir("tiny-vae") / "vae_encoder/openvino_model.xml")["-> latent_parameters"][0]
    assert parameters.startswith("[?,8,")


def test_a_tiny_vaes_configuration_answers_what_pipelines_ask_even_where_the_checkpoint_leaves_it_out():
    for half in ("encoder", "decoder"):
        written = json.loads((tiny_ir("tiny-vae") / f"vae_{half}/config.json").read_text())
        asked = {name: written[name] for name in ("scaling_factor", "latent_channels", "force_upcast")}
        assert asked == {"scaling_factor": 1.0, "latent_channels": 4, "force_upcast": False}
        assert len(written["block_out_channels"]) == 2
    bare = components.vae_config({"_class_name": "AutoencoderTiny"})
    assert len(bare["block_out_channels"]) == 4 and bare["scaling_factor"] == 1.0 and bare["force_upcast"] is False
    assert components.vae_config({"_class_name": "AutoencoderKL"}) == {"_class_name": "AutoencoderKL"}


def test_a_checkpoint_with_a_tiny_vae_is_exported_whole_and_twice_the_same(tmp_path):
    import shutil

    source, copy = tiny_root() / "artifacts/checkpoints/tiny-vae", tmp_path / "artifacts/checkpoints/tiny-vae"
    shutil.copytree(source, copy)
    (copy / "LICENSE.md").write_text("the authors' own")
    (copy / "NOTICE").write_text("by the authors")
    manifest.write(copy, stage="download", inputs={}, settings={}, facts={"licence": "mit"})
    export("tiny-vae", as_exported(), tmp_path)
    folder = ir(tmp_path, "tiny-vae")
    assert (folder / "LICENSE.md").read_text() == "the authors' own" and not (folder / "LICENSE").exists()
    assert "> by the authors" in (folder / "README.md").read_text()
    for half in ("encoder", "decoder"):
        for file in (*components.IR_FILES, "config.json"):
            name = f"vae_{half}/{file}"
            assert (folder / name).read_bytes() == (tiny_ir("tiny-vae") / name).read_bytes(), name
    assert components.read_index(folder)["vae"] == ["diffusers", "AutoencoderTiny"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_component_holds_integer_weights_and_all_weights_are_halves(exported, kind):
    import openvino as ov

    for path in ir(exported, kind).glob("*/openvino_model.xml"):
        constants = [op for op in ov.Core().read_model(path).get_ops() if op.get_type_name() == "Constant"]
        types = [op.get_element_type().get_type_name() for op in constants]
        assert not {"i8", "u8", "i4", "u4"} & set(types), path
        large = {
            op.get_element_type().get_type_name()
            for op in constants
            if np.prod(list(op.get_output_shape(0))) > 64 and op.get_element_type().is_real()
        }
        assert large == {"f16"}, path


def test_the_irs_weights_are_the_checkpoints_weights_bit_for_bit(exported):
    import openvino as ov

    model = ov.Core().read_model(ir(exported, "base") / "unet/openvino_model.xml")
    constants = {
        (tuple(op.get_output_shape(0)), op.get_data().tobytes())
        for op in model.get_ops()
        if op.get_type_name() == "Constant" and op.get_element_type().get_type_name() == "f16"
    }
    weights = load_file(exported / "artifacts/checkpoints/base/unet/diffusion_pytorch_model.safetensors")
    matrices = {name: value for name, value in weights.items() if value.ndim in (2, 4)}
    assert len(matrices) > 40
    assert not [name for name, value in matrices.items() if (value.shape, value.tobytes()) not in constants]


def test_another_process_with_the_unet_in_a_third_one_writes_the_same_bytes_without_chatter(exported, tmp_path):
    script = (
        "import pathlib, sys\nfrom stages import export\nfrom tests.test_export import as_exported, checkpoint\n"
        "root, export.HEAVY_BYTES = pathlib.Path(sys.argv[1]), 400_000\n"
        "apart = export.apart.run\n"
        "export.apart.run = lambda *given: (print(given[0]), apart(*given))\n"
        "if __name__ == '__main__':\n    checkpoint(root, 'base')\n    export.export('base', as_exported(), root)\n"
    )
    repository = Path(__file__).parent.parent
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    first, second = (json.loads((ir(root, "base") / "manifest.json").read_text()) for root in (exported, tmp_path))
    assert first == second
    assert done.stdout == "converting unet\n"
    assert not [line for line in done.stderr.splitlines() if "Warning" in line or "distributions" in line]


@pytest.mark.parametrize("kind", KINDS)
def test_optimum_loads_the_folder_generates_with_it_and_writes_nothing_into_it(exported, kind):
    import optimum.intel
    import PIL.Image
    import torch

    before = manifest.digest(ir(exported, kind)), sorted(ir(exported, kind).rglob("*"))
    refiner = kind == "refiner"
    name = "OVStableDiffusionXLImg2ImgPipeline" if refiner else "OVStableDiffusionXLPipeline"
    pipeline = getattr(optimum.intel, name).from_pretrained(ir(exported, kind), device="CPU", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    size = {"height": SIZE_PX, "width": SIZE_PX}
    changes = {"image": PIL.Image.new("RGB", (SIZE_PX, SIZE_PX)), "strength": 1.0} if refiner else size
    generator = torch.Generator().manual_seed(0)
    picture = pipeline("a red cat", num_inference_steps=2, generator=generator, output_type="np", **changes).images[0]
    assert picture.shape == (SIZE_PX, SIZE_PX, 3) and np.isfinite(picture).all() and picture.std() > 0
    manifest.verify(ir(exported, kind), rerun=f"export@{kind}")
    assert before == (manifest.digest(ir(exported, kind)), sorted(ir(exported, kind).rglob("*")))


def test_tokenizer_irs_give_the_tokens_that_transformers_gives(exported):
    import openvino as ov
    import openvino_tokenizers  # noqa: F401  (registers the operations)
    from transformers import CLIPTokenizer

    folder = ir(exported, "base") / "tokenizer"
    model = ov.compile_model(folder / "openvino_tokenizer.xml", "CPU")
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    for text in ("a red cat", "RED apple, on 3 moons!"):
        expected = tokenizer(text, truncation=True, return_tensors="np")["input_ids"]
        assert model([text])["input_ids"].tolist() == expected.tolist()


def test_a_role_that_the_checkpoint_has_not_is_refused(exported):
    with pytest.raises(ValueError, match="model role is 'base'.*5 time ids.*that is a refiner"):
        export("refiner", as_exported("base"), exported)


def test_a_missing_or_spoilt_checkpoint_names_the_stage_to_rerun(tmp_path):
    with pytest.raises(FileNotFoundError, match="run 'dvc repro download@base' first"):
        export("base", as_exported(), tmp_path)
    weights = checkpoint(tmp_path, "base") / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match="other contents.*run 'dvc repro download@base'"):
        export("base", as_exported(), tmp_path)
    assert not os.path.exists(ir(tmp_path, "base"))


def test_heavy_components_are_converted_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "HEAVY_BYTES", 10)
    for folder, size in (("text_encoder", 5), ("text_encoder_2", 20), ("vae", 5), ("unet", 30)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "model.safetensors").write_bytes(bytes(size))
    order = [component.name for component in stage._heavy_first(tmp_path, list(components.COMPONENTS))]
    assert order == ["text_encoder_2", "unet", "text_encoder", "vae_encoder", "vae_decoder"]
