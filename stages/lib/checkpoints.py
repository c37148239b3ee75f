"""One plain diffusers checkpoint out of whatever a model's source names: a folder or a repository, with its UNet
or VAE swapped or a LoRA fused where the source says so, or an architecture to be filled with random weights.

Consumes a `Source`; produces folders of configurations, tokenizers and safetensors that were looked into: allowed
classes, whole files, finite numbers. Pickles are never opened.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.lib import components, hub, manifest, synthetic

if TYPE_CHECKING:
    from stages.lib.config import LoraSource, Source, SwapSource

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
NOTICES = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
Select = Callable[[list[str]], list[str]]


def assemble(source: Source, folder: Path, record: Path) -> dict[str, str]:
    """Fill `folder` with the checkpoint and return the SHA-256 of every file taken, by repository and name."""
    if source.kind == "synthetic":
        taken = synthetic.build(source.repo, folder)
        components.read_index(folder)
        return taken
    repository = Repository(source.kind, source.repo, source.revision, record)
    taken = repository.place(lambda names: select_pipeline(names, source.variant), folder, source.variant)
    for part, swap in (("unet", source.unet), ("vae", source.vae)):
        if swap is not None:
            taken |= _swap(source.kind, part, swap, folder, record)
    components.read_index(folder)
    check_weights(folder)
    if source.lora is not None:
        taken |= _fuse_lora(source.kind, source.lora, folder, record)
        check_weights(folder / "unet")
    return taken


class Repository:
    """A local folder or a Hub repository; files of a local one are copied, so that no later stage shares them."""

    def __init__(self, kind: str, repo: str, revision: str | None, record: Path) -> None:
        self.kind, self.repo, self.revision, self.record = kind, repo, revision, record

    def take(self, select: Select) -> dict[str, Path]:
        """Names and verified paths of the files that `select` picks."""
        if self.kind == "hub":
            return hub.fetch(self.repo, self.revision, self.record, select)
        root = Path(self.repo)
        if not root.is_dir():
            raise FileNotFoundError(f"repo {self.repo!r} is not a folder")
        names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
        return {name: _inside(root, name) for name in select(sorted(names))}

    def place(self, select: Select, folder: Path, variant: str | None, prefix: str = "") -> dict[str, str]:
        """Copy or link the picked files into `folder` under plain names, without `prefix` and variant."""
        files = self.take(select)
        for name, path in files.items():
            target = folder / plain_name(name.removeprefix(prefix), variant)
            target.parent.mkdir(parents=True, exist_ok=True)
            if self.kind == "hub":
                manifest.link(path, target)
            else:
                shutil.copyfile(path, target)
        return {f"{self.repo}/{name}": manifest.sha256(path) for name, path in files.items()}


def select_pipeline(names: list[str], variant: str | None) -> list[str]:
    """Index, configurations, tokenizers, scheduler, notices, and the weights of each component; nothing else."""
    if components.INDEX not in names:
        raise ValueError(f"{components.INDEX} is missing: a pipeline in diffusers layout is wanted")
    wanted = {components.INDEX, "scheduler/scheduler_config.json", *NOTICES}
    wanted |= {f"{folder}/{file}" for folder in components.TOKENIZERS for file in components.TOKENIZER_FILES}
    wanted |= {f"{folder}/config.json" for folder in components.STEMS}
    weights = [
        name
        for folder, stem in components.STEMS.items()
        if f"{folder}/config.json" in names
        for name in select_weights(names, f"{folder}/", stem, variant)
    ]
    return sorted(wanted.intersection(names)) + weights


def select_weights(names: list[str], prefix: str, stem: str, variant: str | None) -> list[str]:
    """One safetensors file, or an index with its shards; raises where there are only pickles or no such variant."""
    infix = f".{variant}" if variant else ""
    single = f"{prefix}{stem}{infix}.safetensors"
    if single in names:
        return [single]
    index = f"{prefix}{stem}.safetensors.index{infix}.json"
    shard = re.compile(re.escape(f"{prefix}{stem}{infix}") + r"-\d{5}-of-\d{5}" + r"\.safetensors")
    shards = [name for name in names if shard.fullmatch(name)]
    if index in names and shards:
        return [index, *shards]
    here = [name for name in names if name.startswith(prefix) and "/" not in name.removeprefix(prefix)]
    found = [name for name in here if name.endswith(".safetensors")]
    if found:
        raise ValueError(f"{single} is missing: variant must match one of {', '.join(found)}")
    pickles = [name for name in here if name.endswith(PICKLES)]
    if pickles:
        raise ValueError(f"{pickles[0]} is refused: a pickle can run any code when it is opened, only safetensors are")
    raise ValueError(f"{single} is missing")


def plain_name(name: str, variant: str | None) -> str:
    """`unet/model.fp16.safetensors` is `unet/model.safetensors`; shards keep the names that their index uses."""
    if not variant:
        return name
    return re.sub(rf"\.{re.escape(variant)}\.(safetensors|json)$", r".\1", name)


def check_weights(folder: Path) -> None:
    """Refuse safetensors that cannot be read or hold a NaN or an infinity, naming file and tensor."""
    _check_shards(folder)
    for path in sorted(folder.rglob("*.safetensors")):
        for name, finite in _finite_tensors(path):
            if not finite:
                raise ValueError(f"{path}: tensor {name} holds NaN or infinite values")


def _check_shards(folder: Path) -> None:
    for path in folder.rglob("*.safetensors.index.json"):
        for name in sorted(set(components.read_json(path).get("weight_map", {}).values())):
            if "/" in manifest.safe_name(name) or not (path.parent / name).is_file():
                raise ValueError(f"{path} names {name!r}, which is not a file beside it")


def _finite_tensors(path: Path) -> Iterator[tuple[str, bool]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            bfloat = any(file.get_slice(name).get_dtype() == "BF16" for name in names)
        framework, isfinite = _torch_isfinite() if bfloat else _numpy_isfinite()
        with safe_open(path, framework=framework) as file:
            for name in names:
                yield name, bool(isfinite(file.get_tensor(name)).all())
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error


def _numpy_isfinite() -> tuple[str, Callable]:
    import numpy as np

    return "np", np.isfinite


def _torch_isfinite() -> tuple[str, Callable]:
    """numpy has no bfloat16; torch takes seconds to import, so it is used for that alone."""
    import torch

    return "pt", torch.isfinite


def _inside(root: Path, name: str) -> Path:
    path = root / manifest.safe_name(name)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} is refused: it is a link that leads out of {root}")
    return path


def _swap(kind: str, part: str, swap: SwapSource, folder: Path, record: Path) -> dict[str, str]:
    """Put what `swap` names in the place of the pipeline's own `part`, a key of components.STEMS, and of its class."""
    prefix = f"{swap.subfolder}/" if swap.subfolder else ""

    def select(names: list[str]) -> list[str]:
        if f"{prefix}config.json" not in names:
            raise ValueError(f"{swap.repo} has no {prefix}config.json: source.{part} must name a {part}'s folder")
        return [f"{prefix}config.json", *select_weights(names, prefix, components.STEMS[part], swap.variant)]

    own = components.read_json(folder / part / "config.json")
    shutil.rmtree(folder / part)
    taken = Repository(kind, swap.repo, swap.revision, record).place(select, folder / part, swap.variant, prefix)
    found = components.read_json(folder / part / "config.json")
    allowed = [name for _, name in components.CLASSES[part]]
    if found.get("_class_name") not in allowed:
        raise ValueError(
            f"{swap.repo}: {prefix}config.json describes {found.get('_class_name')!r}, allowed: {str(allowed)[1:-1]}"
        )
    if part == "vae":
        _check_same_latents(own, found, swap.repo)
    _enter(folder / components.INDEX, part, found["_class_name"])
    return taken


def _check_same_latents(own: dict[str, Any], found: dict[str, Any], repo: str) -> None:
    """The UNet was trained on latents of one shape; that they mean the same cannot be seen from a configuration."""
    has, wanted = (
        (config.get("latent_channels"), 2 ** (len(config.get("block_out_channels", [])) - 1))
        for config in (components.vae_config(found), components.vae_config(own))
    )
    if has != wanted:
        raise ValueError(
            f"{repo}: its latents have {has[0]} channels and {has[1]} pixels a side, "
            f"the pipeline's have {wanted[0]} and {wanted[1]}: source.vae must fit the UNet"
        )


def _enter(path: Path, part: str, class_name: str) -> None:
    """Name the class in the index, which stays as it is where it names it already."""
    index = components.read_json(path)
    if index.get(part) != ["diffusers", class_name]:
        manifest.write_text(path, json.dumps({**index, part: ["diffusers", class_name]}, indent=2) + "\n")


def _fuse_lora(kind: str, lora: LoraSource, folder: Path, record: Path) -> dict[str, str]:
    """Add the adapter to the UNet's weights in float32 and write them back in float16, without any trace of it."""

    def select(names: list[str]) -> list[str]:
        if lora.file not in names or not lora.file.endswith(".safetensors"):
            raise ValueError(f"{lora.repo} has no safetensors file {lora.file!r}: see source.lora.file")
        return [lora.file]

    path = Repository(kind, lora.repo, lora.revision, record).take(select)[lora.file]
    for name, finite in _finite_tensors(path):
        if not finite:
            raise ValueError(f"{path}: tensor {name} holds NaN or infinite values")
    _write_unet(fused_weights(folder / "unet", path, lora.scale), folder / "unet")
    return {f"{lora.repo}/{lora.file}": manifest.sha256(path)}


def fused_weights(unet_folder: Path, lora: Path, scale: float) -> dict[str, Any]:
    """The UNet's float16 tensors after W + scale * (alpha / rank) * B A for every layer that the adapter names."""
    from stages.lib.tracing import quiet

    with quiet():
        import torch
        from diffusers import StableDiffusionXLPipeline, UNet2DConditionModel

        unet = UNet2DConditionModel.from_pretrained(unet_folder, torch_dtype=torch.float32, use_safetensors=True)
        names = set(unet.state_dict())
        state, alphas = StableDiffusionXLPipeline.lora_state_dict(str(lora), unet_config=unet.config)
        state = _peft_names(state)
        others = sorted(name for name in state if not name.startswith("unet."))
        if others or not state:
            raise ValueError(f"{lora} must adapt the UNet alone, it holds {others[0] if others else 'nothing'}")
        unet.load_lora_adapter(state, network_alphas=alphas, prefix="unet")
        _check_all_adapted(unet, state, lora)
        unet.fuse_lora(lora_scale=scale, safe_fusing=True)
        unet.unload_lora()
        tensors = {name: tensor.half().contiguous() for name, tensor in unet.state_dict().items()}
    assert set(tensors) == names, "fusing changed the UNet's tensors' names"
    return tensors


def _peft_names(state: dict[str, Any]) -> dict[str, Any]:
    """One naming for all layers: diffusers' savers mix two, and its loader then silently drops the attentions."""
    renamed = {".lora.down.": ".lora_A.", ".lora.up.": ".lora_B."}
    return {re.sub(r"\.lora\.(down|up)\.", lambda found: renamed[found[0]], name): state[name] for name in state}


def _check_all_adapted(unet: Any, state: dict[str, Any], lora: Path) -> None:
    named = {name.removeprefix("unet.").split(".lora_")[0] for name in state}
    adapted = {name for name, module in unet.named_modules() if hasattr(module, "lora_A")}
    if named != adapted:
        raise ValueError(f"{lora} does not fit this UNet: {sorted(named ^ adapted)[0]} is not in both")


def _write_unet(tensors: dict[str, Any], folder: Path) -> None:
    from safetensors.torch import save_file

    for old in [*folder.glob("*.safetensors"), *folder.glob("*.safetensors.index.json")]:
        old.unlink()
    save_file(tensors, folder / f"{components.STEMS['unet']}.safetensors", metadata={"format": "pt"})
