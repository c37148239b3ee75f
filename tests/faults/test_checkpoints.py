"""Checkpoints with one thing wrong in them: refused in one line that names the file, or the very model that was meant.

A battery: every key of every configuration missing, of another type, out of range; every way in which a file of
weights, an index of shards or a vocabulary can be broken. What is accepted has to build the same model.
"""

from __future__ import annotations

import inspect
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.checkpoints import architectures, configurations, samplers, whole
from stages.download import download
from stages.export import export
from stages.files import manifest
from stages.machine import sizes
from tests.test_download import local
from tests.test_export import checkpoint
from tests.tiny import tiny_checkpoint
from tests.tiny_ir import as_exported

UNET, ENCODER = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"
SCHEDULER = "scheduler/scheduler_config.json"
CONFIGURATIONS = {
    "unet/config.json": "UNet2DConditionModel",
    "vae/config.json": "AutoencoderKL",
    "text_encoder/config.json": "CLIPTextModel",
    "text_encoder_2/config.json": "CLIPTextModelWithProjection",
}
OTHERS = (SCHEDULER, "model_index.json", "tokenizer/tokenizer_config.json", "tokenizer_2/tokenizer_config.json")
# Keys that no picture depends on, whatever they hold: training's, comments, numbers of tokens that a text encoder never
# looks at, the first one's projection, and a scheduler's class, which settings name.
WITHOUT_EFFECT = {
    "attention_dropout", "dropout", "initializer_factor", "initializer_range", "bos_token_id", "pad_token_id",
    "projection_dim", "backend", "is_local", "_class_name", "tokenizer_class",
}  # fmt: skip
# Keys of which two allowed values are two models, which nothing but their authors can tell apart.
ANOTHER_MODEL = {"sigma_min", "sigma_max", "steps_offset", "attention_head_dim", "scaling_factor"}
MISSING = object()
NOT_A_FILE = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
PAGE = b"<!DOCTYPE html><html><head><title>404</title></head></html>\n"


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("clean") / "base", "base")


@pytest.fixture
def copy(clean: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clean, tmp_path / "copy"))


def refusal(folder: Path, check: Callable[[Path], Any] = whole.check) -> str | None:
    """The one line that a checkpoint is refused with; None where it is accepted. Anything else is a fault."""
    try:
        check(folder)
    except (ValueError, FileNotFoundError) as error:
        assert "\n" not in str(error) and str(folder) in str(error), f"{type(error).__name__}: {error}"
        return str(error)
    return None


def wrong(value: Any) -> Iterator[Any]:
    """Values of other types and out of any range, in the place of `value`."""
    yield from (
        MISSING,
        None,
        float("nan"),
        float("inf"),
        -7,
        10**30,
        1e30,
        2.5,
        "",
        "nonsense",
        "../../x",
        {},
        {"a": 1},
    )
    yield from ([], [None], [-3, -3], ["x", "y"], [2.5, 2.5], [10**12] * 2, [[1]])
    if not isinstance(value, bool):
        yield True
    if isinstance(value, list):
        yield from (value[:-1], [*value, *value[-1:]], value[0])
    if isinstance(value, int | float):
        yield from (str(value), [value], -value - 1, 0)


def spoil(folder: Path, file: str, key: str, value: Any) -> None:
    content = json.loads((folder / file).read_text())
    content.pop(key) if value is MISSING else content.update({key: value})
    (folder / file).write_text(json.dumps(content))


# Configurations


@pytest.mark.parametrize("file", [*CONFIGURATIONS, *OTHERS])
def test_every_key_of_every_configuration_is_refused_or_without_effect(clean: Path, copy: Path, file: str) -> None:
    good = json.loads((clean / file).read_text())
    different = []
    for key, value in [(key, value) for key, right in good.items() for value in wrong(right)]:
        if value == good[key] and type(value) is type(good[key]):
            continue
        spoil(copy, file, key, value)
        said = refusal(copy, whole.check_files)
        if said is None and effect(file, good, key, value) != effect(file, good):
            said = refusal(copy)
            different += [(key, value)] if said is None else []
        assert said is None or (file.split("/")[0] in said and len(said) < 1000), said
        (copy / file).write_text(json.dumps(good))
    assert not [(key, value) for key, value in different if key not in ANOTHER_MODEL]


def effect(file: str, good: dict[str, Any], key: str | None = None, value: Any = None) -> dict[str, Any]:
    """What a class is given by a configuration with one value changed, its own defaults where something is missing."""
    import diffusers
    import transformers

    content = {name: one for name, one in (good | {key: value}).items() if one is not MISSING and name}
    if file in CONFIGURATIONS:
        name = CONFIGURATIONS[file]
        kind = getattr(diffusers, name, transformers.CLIPTextConfig)
        content = configurations.known(name, content)
    elif file == SCHEDULER:
        kind = diffusers.EulerDiscreteScheduler
    else:
        kind = dict
    if file not in CONFIGURATIONS:
        content = {n: one for n, one in content.items() if one is not None and not n.startswith("_")}
    defaults = {} if kind is dict else {n: p.default for n, p in inspect.signature(kind).parameters.items()}
    found = {n: listed(one) for n, one in (defaults | content).items() if n not in WITHOUT_EFFECT}
    return {n: bool(one) if n == "upcast_attention" else one for n, one in found.items()}


def listed(value: Any) -> Any:
    return list(map(listed, value)) if isinstance(value, tuple | list) else value


@pytest.mark.parametrize("file", [*CONFIGURATIONS, *OTHERS, "tokenizer/tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{spoilt", b"[]", b"\xff\xfe", b"[" * 100_000, NOT_A_FILE, PAGE, b"{}"])
def test_a_file_that_is_no_configuration_is_refused_by_name(copy: Path, file: str, content: bytes) -> None:
    (copy / file).write_bytes(content)
    assert file in refusal(copy, whole.check_files)


@pytest.mark.parametrize("depth", [3, 100, 450, 900, 5000])
def test_lists_within_lists_are_refused_however_deep(copy: Path, depth: int) -> None:
    path = copy / "unet/config.json"
    settings = json.loads(path.read_text()) | {"transformer_layers_per_block": "deep"}
    path.write_text(json.dumps(settings).replace('"deep"', "[" * depth + "1" + "]" * depth))
    assert "unet/config.json" in refusal(copy, whole.check_files)


def test_a_key_that_is_said_twice_or_is_not_a_number_is_named(copy: Path) -> None:
    path = copy / "unet/config.json"
    text = path.read_text()
    path.write_text(text.replace("{", '{"norm_num_groups": 4,', 1))
    assert "it says 'norm_num_groups' twice" in refusal(copy, whole.check_files)
    path.write_text(text.replace("{", '{"of_nobody": [1, NaN],', 1))
    assert "'of_nobody' is NaN or infinite" in refusal(copy, whole.check_files)


@pytest.mark.parametrize(
    ("file", "changes", "message"),
    [
        ("unet/config.json", {"norm_num_groups": 3}, "norm_num_groups must divide block_out_channels, got 3 for 16"),
        ("unet/config.json", {"attention_head_dim": [1, 5]}, "attention_head_dim must divide .*, got 5 for 32"),
        (
            "unet/config.json",
            {"cross_attention_dim": 32},
            "cross_attention_dim must be 48, the hidden_size of text_enc",
        ),
        ("unet/config.json", {"addition_time_embed_dim": 4}, "plus 5 or 6 times addition_time_embed_dim, got 80 with"),
        ("unet/config.json", {"in_channels": 9}, "in_channels must be 4, as the VAE's latents have, got 9"),
        ("unet/config.json", {"quantization_config": {}}, "quantization_config must not be there"),
        (
            "unet/config.json",
            {"mid_block_type": None},
            "holds 46 tensors that .* does not ask for: mid_block",
        ),
        ("unet/config.json", {"layers_per_block": 2}, "lacks 96 of 308 tensors that .*unet/config.json asks for"),
        ("unet/config.json", {"block_out_channels": [16, 48]}, "tensor .* is .*, by .*unet/config.json it must be"),
        ("vae/config.json", {"latents_mean": [0.5]}, "latents_mean must have a number for each of latent_channels"),
        ("text_encoder/config.json", {"vocab_size": 90}, "token_embedding.weight is .86, 16., by .* must be .90, 16."),
        ("text_encoder/config.json", {"num_attention_heads": 3}, "must divide hidden_size, got 3 for 16"),
        ("text_encoder/config.json", {"eos_token_id": 3}, "eos_token_id must be 85, the tokenizer's, got 3"),
        ("text_encoder/config.json", {"max_position_embeddings": 20}, "must have the same max_position_embeddings"),
        ("text_encoder_2/config.json", {"pad_token_id": 86}, "pad_token_id must be below vocab_size, 86, got 86"),
        (SCHEDULER, {"beta_start": 0.5}, "beta_start must be <= beta_end"),
        (SCHEDULER, {"trained_betas": [0.1]}, "trained_betas must hold num_train_timesteps = 1000 numbers, got 1"),
        ("model_index.json", {"tokenizer": None}, "has one of 'text_encoder' and 'tokenizer'"),
        ("model_index.json", {"force_zeros_for_empty_prompt": None}, "force_zeros_for_empty_prompt must be true or"),
    ],
)
def test_what_does_not_fit_together_is_named(copy: Path, file: str, changes: dict, message: str) -> None:
    path = copy / file
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ValueError, match=message):
        whole.check(copy)


@pytest.mark.parametrize("name", ["sdxl", "sdxl-refiner", "ssd-1b", "vega"])
@pytest.mark.parametrize(
    ("part", "class_name", "key"),
    [
        ("text_encoder_2", "CLIPTextModelWithProjection", "num_attention_heads"),
        ("unet", "UNet2DConditionModel", "attention_head_dim"),
    ],
)
def test_a_count_of_heads_that_no_tensor_shows_is_held_to_that_of_the_family(
    tmp_path: Path, name: str, part: str, class_name: str, key: str
) -> None:
    """Half as many divide every width as well, and draw something else."""
    sound = architectures.configurations(name)[part]
    configurations.check(tmp_path, class_name, sound)
    half = [count // 2 for count in sound[key]] if isinstance(sound[key], list) else sound[key] // 2
    with pytest.raises(ValueError, match=rf"{key} must be \d+ for .* of \d+, as in all SDXL models, got \d+"):
        configurations.check(tmp_path, class_name, sound | {key: half})


@pytest.mark.parametrize("name", ["sdxl", "sdxl-refiner", "ssd-1b", "vega"])
@pytest.mark.parametrize(
    ("part", "class_name", "changes"),
    [
        ("unet", "UNet2DConditionModel", {"norm_num_groups": 16}),
        ("unet", "UNet2DConditionModel", {"norm_eps": 5e-06}),
        ("unet", "UNet2DConditionModel", {"act_fn": "gelu"}),
        ("vae", "AutoencoderKL", {"norm_num_groups": 64}),
        ("vae", "AutoencoderKL", {"act_fn": "relu"}),
        ("text_encoder_2", "CLIPTextModelWithProjection", {"hidden_act": "quick_gelu"}),
        ("text_encoder_2", "CLIPTextModelWithProjection", {"layer_norm_eps": 1e-06}),
    ],
)
def test_what_no_tensor_shows_is_held_to_the_family(
    tmp_path: Path, name: str, part: str, class_name: str, changes: dict
) -> None:
    sound = architectures.configurations(name)[part]
    configurations.check(tmp_path, class_name, sound)
    ((key, value),) = changes.items()
    with pytest.raises(ValueError, match=rf"{key} must be .*got \"?{value}"):
        configurations.check(tmp_path, class_name, sound | changes)


def test_what_real_configurations_carry_along_is_accepted(copy: Path) -> None:
    """Old and new keys that classes do not take, schedulers of other classes, the end token of before 2023."""
    more = {"_name_or_path": "/home/me/sdxl", "torch_dtype": "float16", "transformers_version": "4.32.0.dev0"}
    for part in ("text_encoder", "text_encoder_2"):
        path = copy / part / "config.json"
        settings = json.loads(path.read_text()) | more | {"eos_token_id": 2, "bos_token_id": 0, "dropout": 0.0}
        path.write_text(json.dumps(settings))
    path = copy / "unet/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"upcast_attention": None, "of_a_later_diffusers": [1]}))
    solver = {"_class_name": "DPMSolverMultistepScheduler", "variance_type": None, "thresholding": False}
    text = json.dumps(json.loads((copy / SCHEDULER).read_text()) | solver)
    (copy / SCHEDULER).write_text(text.replace("}", ', "lambda_min_clipped": -Infinity}'))
    whole.check(copy)
    assert samplers.load(copy, as_exported().sampler).config.beta_end == 0.012


# Files of weights


def header_of(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def written(header: Any, body: bytes, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


BROKEN: dict[str, Callable[[dict, bytes, str, str], bytes]] = {
    "a pointer": lambda header, body, *_: NOT_A_FILE,
    "a web page": lambda header, body, *_: PAGE,
    "nothing": lambda header, body, *_: b"",
    "a few bytes": lambda header, body, *_: b"abc",
    "zeros": lambda header, body, *_: b"\0" * 8,
    "cut in the header": lambda header, body, *_: written(header, body)[:500],
    "cut in a tensor": lambda header, body, *_: written(header, body)[:-10],
    "more behind": lambda header, body, *_: written(header, body + b"xxxx"),
    "a header beyond the file": lambda header, body, *_: written(header, body, 10**7),
    "a header beyond memory": lambda header, body, *_: written(header, body, 2**62),
    "no JSON": lambda header, body, *_: written(b"{spoilt      ", body),
    "a list": lambda header, body, *_: written(b"[]  ", body),
    "deep lists": lambda header, body, *_: written(b"[" * 100_000, body),
    "no UTF-8": lambda header, body, *_: written(b'{"\xff":1}', body),
    "tensors that overlap": lambda header, body, one, two: written(
        header | {two: header[two] | {"data_offsets": header[one]["data_offsets"]}}, body
    ),
    "a negative shape": lambda header, body, one, _: written(header | {one: header[one] | {"shape": [-1]}}, body),
    "a text as shape": lambda header, body, one, _: written(header | {one: header[one] | {"shape": "x"}}, body),
    "a huge shape": lambda header, body, one, _: written(header | {one: header[one] | {"shape": [10**12]}}, body),
    "a tensor without type": lambda header, body, one, _: written(header | {one: {}}, body),
    "an unknown type": lambda header, body, one, _: written(header | {one: header[one] | {"dtype": "Q8"}}, body),
    "offsets that are text": lambda header, body, one, _: written(
        header | {one: header[one] | {"data_offsets": "x"}}, body
    ),
    "metadata that is text": lambda header, body, *_: written(header | {"__metadata__": "x"}, body),
    "a tensor twice": lambda header, body, one, _: written(
        json.dumps(header).encode()[:-1] + b"," + json.dumps({one: header[one]}).encode()[1:], body
    ),
    "no tensors": lambda header, body, *_: written({}, b""),
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("file", [UNET, ENCODER])
def test_a_broken_file_of_weights_is_refused_by_name(copy: Path, file: str, how: str) -> None:
    header, body = header_of(copy / file)
    first, second = list(header)[1:3]
    (copy / file).write_bytes(BROKEN[how](header, body, first, second))
    assert file.split("/")[0] in refusal(copy)
    sizes.of_checkpoint(copy)  # plans with what can be read


@pytest.mark.parametrize("how", ["a pointer", "a header beyond memory", "tensors that overlap", "a tensor twice"])
def test_a_broken_single_file_or_adapter_is_refused_by_name(clean: Path, tmp_path: Path, how: str) -> None:
    from stages.checkpoints import lora, single_file

    header, body = header_of(clean / UNET)
    file = tmp_path / "tuned.safetensors"
    file.write_bytes(BROKEN[how](header, body, *list(header)[1:3]))
    with pytest.raises(ValueError, match=r"tuned\.safetensors is not a whole safetensors file: "):
        single_file.unpack(file, tmp_path / "unpacked", clean)
    with pytest.raises(ValueError, match=r"tuned\.safetensors is not a whole safetensors file: "):
        lora.fuse(clean, [(file, 1.0)])


def names_of(tensors: dict[str, torch.Tensor]) -> str:
    """A tensor's name with more than one row."""
    return next(name for name, tensor in sorted(tensors.items()) if tensor.ndim > 1)


def cast(kind: torch.dtype) -> Callable[[dict, str], Any]:
    return lambda tensors, name: tensors.update({name: tensors[name].to(kind)})


def filled(value: float, kind: torch.dtype) -> Callable[[dict, str], Any]:
    return lambda tensors, name: tensors.update({name: torch.full_like(tensors[name], value, dtype=kind)})


TENSORS: dict[str, tuple[Callable[[dict, str], Any], str]] = {
    "one is missing": (lambda tensors, name: tensors.pop(name), "lacks 1 of "),
    "many are missing": (lambda tensors, _: [tensors.pop(one) for one in list(tensors)[:20]], "lacks 20 of "),
    "one is left over": (lambda tensors, _: tensors.update(foreign=torch.ones(3)), "does not ask for: foreign"),
    "one has another name": (lambda tensors, name: tensors.update({f"x.{name}": tensors.pop(name)}), "lacks 1 of "),
    "one has another shape": (lambda tensors, name: tensors.update({name: tensors[name][1:].clone()}), "it must be "),
    "int8": (cast(torch.int8), "is of type I8: weights must be float16"),
    "uint8": (cast(torch.uint8), "is of type U8"),
    "bool": (cast(torch.bool), "is of type BOOL"),
    "int64": (cast(torch.int64), "is of type I64"),
    "float8": (cast(torch.float8_e4m3fn), "is of type F8_E4M3"),
    "complex64": (cast(torch.complex64), "is of type C64"),
    "not a number": (filled(float("nan"), torch.float16), "holds NaN or infinite values"),
    "infinite in bfloat16": (filled(float("inf"), torch.bfloat16), "holds NaN or infinite values"),
    "beyond float16 in float32": (filled(-65520, torch.float32), r"holds numbers beyond float16, \+-65504"),
    "beyond float16 in bfloat16": (filled(1e6, torch.bfloat16), "holds numbers beyond float16"),
    "beyond float16 in float64": (filled(1e300, torch.float64), "holds numbers beyond float16"),
}


@pytest.mark.parametrize("how", TENSORS)
@pytest.mark.parametrize("file", [UNET, ENCODER])
def test_weights_that_are_not_the_models_are_refused_by_file_and_tensor(copy: Path, file: str, how: str) -> None:
    tensors = load_file(copy / file)
    change, message = TENSORS[how]
    change(tensors, names_of(tensors))
    save_file(tensors, copy / file, metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"{file.split('/')[0]}.*{message}"):
        whole.check(copy)


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.float64])
def test_floats_that_fit_into_float16_are_accepted(copy: Path, kind: torch.dtype) -> None:
    tensors = load_file(copy / UNET)
    save_file({name: tensor.to(kind) for name, tensor in tensors.items()}, copy / UNET)
    tensors["conv_in.weight"] = torch.full_like(tensors["conv_in.weight"], 65504).to(kind)
    whole.check(copy)


def test_well_known_leftovers_and_old_names_are_accepted(copy: Path) -> None:
    tensors = load_file(copy / ENCODER)
    tensors["text_model.embeddings.position_ids"] = torch.arange(16)[None]
    save_file(tensors, copy / ENCODER)
    tensors, old = load_file(copy / "vae" / Path(UNET).name), {"to_q": "query", "to_k": "key", "to_v": "value"}
    for name in [name for name in tensors if ".attentions.0.to_" in name]:
        new = name.replace("to_out.0", "proj_attn")
        for now, before in old.items():
            new = new.replace(f".{now}.", f".{before}.")
        tensors[new] = tensors.pop(name)
    assert any("proj_attn" in name for name in tensors)
    save_file(tensors, copy / "vae" / Path(UNET).name)
    whole.check(copy)


# Shards


def sharded(folder: Path, file: str) -> tuple[Path, dict[str, Any]]:
    """A component's file in two, and the index of them, which is not written yet."""
    path = folder / file
    tensors, stem = load_file(path), path.name.removesuffix(".safetensors")
    path.unlink()
    where = {}
    for number in (1, 2):
        name = f"{stem}-0000{number}-of-00002.safetensors"
        part = {tensor: tensors[tensor] for tensor in sorted(tensors)[number - 1 :: 2]}
        save_file(part, path.with_name(name), metadata={"format": "pt"})
        where |= dict.fromkeys(part, name)
    return path.with_name(f"{stem}.safetensors.index.json"), {"metadata": {}, "weight_map": where}


SHARDS: dict[str, tuple[Callable[[dict, Path], Any], str | None]] = {
    "right": (lambda where, path: None, None),
    "no map": (lambda where, path: where.clear(), "weight_map must hold the name of a file for every tensor"),
    "no names": (lambda where, path: where.update(dict.fromkeys(where)), "weight_map must hold the name of a file"),
    "a file that is gone": (
        lambda where, path: path.with_name(min(where.values())).unlink(),
        "is not a file beside it",
    ),
    "a file outside": (lambda where, path: where.update({min(where): "../vae/x.safetensors"}), "is refused: only safe"),
    "a tensor not listed": (lambda where, path: where.pop(min(where)), "which its weight_map does not say"),
    "a tensor elsewhere": (lambda where, path: where.update({min(where): max(where.values())}), "does not say"),
    "a tensor of nobody": (lambda where, path: where.update(foreign=max(where.values())), "foreign should be in"),
    "a whole file too": (lambda where, path: shutil.copyfile(path.with_name(min(where.values())), path), "only one of"),
}


def test_an_index_of_shards_without_metadata_is_refused(copy: Path) -> None:
    index, content = sharded(copy, UNET)
    index.write_text(json.dumps({"weight_map": content["weight_map"]}))
    assert "metadata must be an object" in refusal(copy)


@pytest.mark.parametrize("how", SHARDS)
def test_an_index_names_all_tensors_where_they_are(copy: Path, how: str) -> None:
    index, content = sharded(copy, UNET)
    change, message = SHARDS[how]
    change(content["weight_map"], copy / UNET)
    index.write_text(json.dumps(content))
    said = refusal(copy)
    assert said is None if message is None else message in said


# Tokenizers


def vocabulary(change: Callable[[dict], Any]) -> Callable[[Path], Any]:
    def spoil(folder: Path) -> None:
        (folder / "tokenizer.json").unlink()
        content = json.loads((folder / "vocab.json").read_text())
        change(content)
        (folder / "vocab.json").write_text(json.dumps(content))

    return spoil


def merges(text: str) -> Callable[[Path], Any]:
    return lambda folder: ((folder / "tokenizer.json").unlink(), (folder / "merges.txt").write_text(text))


def of_whole(**changes: Any) -> Callable[[Path], Any]:
    def spoil(folder: Path) -> None:
        content = json.loads((folder / "tokenizer.json").read_text())
        for key, value in changes.items():
            (content["model"] if key in content["model"] else content)[key] = value
        (folder / "tokenizer.json").write_text(json.dumps(content))

    return spoil


TOKENIZERS: dict[str, tuple[Callable[[Path], Any], str | None]] = {
    "vocabulary and merges": (vocabulary(lambda content: None), None),
    "tokenizer.json alone": (lambda folder: [(folder / name).unlink() for name in ("vocab.json", "merges.txt")], None),
    "no merges": (
        lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "merges.txt")],
        "merges.txt is",
    ),
    "no vocabulary": (
        lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "vocab.json")],
        "neither",
    ),
    "a letter is gone": (vocabulary(lambda content: content.pop("a")), "no token has the number 0"),
    "a merged token is gone": (vocabulary(lambda content: content.pop("red</w>")), "no token has the number"),
    "a negative number": (vocabulary(lambda content: content.update(a=-1)), "number of token 'a' must be a whole"),
    "a huge number": (vocabulary(lambda content: content.update(a=10**12)), "no token has the number 0"),
    "null": (vocabulary(lambda content: content.update(a=None)), "number of token 'a' must be a whole number"),
    "true": (vocabulary(lambda content: content.update(a=True)), "number of token 'a' must be a whole number"),
    "a number twice": (vocabulary(lambda content: content.update(a=1)), "no token has the number 0"),
    "a token too many": (vocabulary(lambda content: content.update(zz=86)), "has a vocab_size of 86: no such pair"),
    "empty merges": (merges(""), "no merge makes the token"),
    "merges of one": (merges("#version: 0.2\nr\n"), "merge 'r' is no pair of tokens"),
    "merges of nobody": (merges("#version: 0.2\nr e\nre d</w>\nq q\n"), "merge 'q q' is no pair of tokens"),
    "a merge is gone": (merges("#version: 0.2\nr e\n"), "no merge makes the token 'red</w>'"),
    "layouts that differ": (of_whole(merges=[["r", "e"]]), "holds another vocabulary or other merges than"),
    "another model": (of_whole(type="Unigram"), "model must be of type BPE"),
    "another unknown token": (of_whole(unk_token="a"), "model.unk_token must be '<|endoftext|>'"),
    "a prefix": (of_whole(continuing_subword_prefix="x"), "model.continuing_subword_prefix must be ''"),
    "no normalizer": (of_whole(normalizer=None), "tokenizes a text otherwise"),
    "no begin and end": (of_whole(post_processor=None), "tokenizes a text otherwise"),
    "nonsense for padding": (of_whole(padding=5), "makes no CLIP tokenizer: "),
    "no added tokens": (of_whole(added_tokens=None), "added_tokens must be a list of tokens"),
}


@pytest.mark.parametrize("how", TOKENIZERS)
def test_a_tokenizer_is_whole_and_tokenizes(copy: Path, how: str) -> None:
    change, message = TOKENIZERS[how]
    change(copy / "tokenizer")
    said = refusal(copy)
    assert said is None if message is None else message in said, said


# Where stages meet them


def test_links_and_what_is_no_file_are_followed_inside_and_refused_outside(copy: Path, tmp_path: Path) -> None:
    (copy / "unet").rename(copy / "my-unet")
    (copy / "unet").symlink_to("my-unet")
    (copy / "round").symlink_to(".")
    download("tiny", local(copy), "x", tmp_path)
    assert (tmp_path / "artifacts/checkpoints/tiny" / UNET).is_file()
    (copy / "my-unet").rename(tmp_path / "elsewhere")
    (copy / "unet").unlink()
    (copy / "unet").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="unet/config.json is refused: it is a link that leads out of"):
        download("tiny", local(copy), "x", tmp_path)


@pytest.mark.parametrize("file", [UNET, "unet/config.json", SCHEDULER, "tokenizer/vocab.json", "model_index.json"])
def test_a_fifo_is_refused_and_not_waited_for(copy: Path, tmp_path: Path, file: str) -> None:
    (copy / file).unlink()
    os.mkfifo(copy / file)
    assert f"{file} is a FIFO: a file is wanted" in refusal(copy)
    with pytest.raises(ValueError, match=f"{file} is a FIFO: a file is wanted"):
        download("tiny", local(copy), "x", tmp_path)


def test_an_export_refuses_before_it_converts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.export._convert", lambda *_: pytest.fail("converted"))
    folder = checkpoint(tmp_path, "base")
    tensors = load_file(folder / UNET)
    tensors.pop("conv_in.weight")
    save_file(tensors, folder / UNET)
    manifest.write(folder, stage="download", inputs={}, settings={})
    with pytest.raises(ValueError, match=r"unet lacks 1 of 212 tensors .* \(576 numbers\): conv_in.weight"):
        export("base", as_exported(), tmp_path)


def test_an_export_takes_nothing_that_its_manifest_does_not_list(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "base")
    (folder / "tokenizer").rename(tmp_path / "elsewhere")
    (folder / "tokenizer").symlink_to(tmp_path / "elsewhere")
    manifest.write(folder, stage="download", inputs={}, settings={})
    with pytest.raises(ValueError, match="tokenizer/.* is not in the manifest of its checkpoint"):
        export("base", as_exported(), tmp_path)


@pytest.mark.parametrize("name", CONFIGURATIONS.values())
def test_every_parameter_of_a_class_is_known(name: str) -> None:
    import diffusers
    import transformers

    kind = getattr(diffusers, name, transformers.CLIPTextConfig)
    takes = set(inspect.signature(kind).parameters)
    base = set(inspect.signature(transformers.PreTrainedConfig).parameters)
    takes -= base | {"initializer_range", "initializer_factor"} if kind is transformers.CLIPTextConfig else {"self"}
    assert takes <= configurations.known(name, dict.fromkeys(takes)).keys()
