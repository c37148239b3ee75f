"""One plain diffusers checkpoint out of whatever a model's source names: a folder or a repository, with its UNet
or VAE swapped or a LoRA fused where the source says so, or an architecture to be filled with random weights.

Consumes a `Source`; produces folders of configurations, tokenizers and safetensors that were looked into: allowed
classes, whole files, finite numbers. Pickles are never opened.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.checkpoints import components, configurations, hub, lora, single_file, streaming, synthetic, whole
from stages.checkpoints.repository import (
    Repository,
    Select,
    select_descriptions,
    select_index,
    select_pipeline,
    select_weights,
    told,
)
from stages.files import manifest, placing

if TYPE_CHECKING:
    from stages.settings.schema import AdapterSource, Source, SwapSource


def assemble(source: Source, folder: Path, record: Path) -> dict[str, str]:
    """Fill `folder` with the checkpoint and return the SHA-256 of every file taken, by repository and name."""
    if source.kind == "synthetic":
        taken = synthetic.build(source.architecture, folder)
        components.read_index(folder)
        return taken
    swaps = {part: swap for part, swap in (("unet", source.unet), ("vae", source.vae)) if swap is not None}
    origins = {folder / part: _name(swap) for part, swap in swaps.items()} | {folder: source.repo}
    with told({folder: source.repo}), _all_missing(source, record):
        taken = (_place_file if source.file else _place_pipeline)(source, folder, record)
        for part, swap in swaps.items():
            taken |= _swap(part, swap, folder, record)
    with told(origins):
        whole.check_files(folder)
        if source.adapters:
            taken |= _fuse(source.adapters, folder, record)
    return taken


def _place_file(source: Source, folder: Path, record: Path) -> dict[str, str]:
    """Place what one file holds, with another source's tokenizers, and what its configurations say beyond weights."""
    path = Repository(source.kind, source.repo, source.revision, record).file(source.file)
    taken = {f"{source.repo}/{source.file}": manifest.sha256(path)}
    with (
        tempfile.TemporaryDirectory(dir=folder.parent, prefix=f"{folder.name}-described-") as scratch,
        told({Path(scratch): source.tokenizers.repo if source.tokenizers else scratch}),
    ):
        described = None
        if source.tokenizers:
            described, other = Path(scratch), source.tokenizers
            repository = Repository(other.kind, other.repo, other.revision, record)
            taken |= repository.place(select_descriptions, described, None)
        place_single_file(path, folder, described)
    return taken


def place_single_file(path: Path, folder: Path, pipeline: Path | None) -> None:
    """Fill `folder` with the checkpoint of one file.

    `pipeline` is a folder in diffusers layout: its tokenizers are taken, and what its configurations say that weights
    do not show, as far as it has any.
    """
    given = single_file.configurations(pipeline) if pipeline else None
    with told({folder: str(path)}):
        single_file.unpack(path, folder, pipeline, given)
        whole.check_files(folder)


def _place_pipeline(source: Source, folder: Path, record: Path) -> dict[str, str]:
    """Place what the source's index names and is run here, with an index that names nothing else."""
    repository = Repository(source.kind, source.repo, source.revision, record)
    try:
        path = repository.take(select_index)[components.INDEX]
    except hub.Missing:  # what else is lacking is told with it, as far as it can be known without the index
        repository.take(lambda names: select_pipeline(names, source.variant, _folders(names)))
        raise
    with told({path: f"{source.repo}/{components.INDEX}"}):
        found = components.read_json(path)
        index = components.settled(path, found)
    parts = components.parts(index)
    taken = repository.place(lambda names: select_pipeline(names, source.variant, parts), folder, source.variant)
    if index != found:
        placing.write_text(folder / components.INDEX, json.dumps(index, indent=2) + "\n")
    return taken


def _folders(names: list[str]) -> list[str]:
    """Parts of a pipeline, tokenizers too, that a listing has folders of."""
    known = [*components.STEMS, *components.TOKENIZERS]
    return [part for part in known if any(name.startswith(f"{part}/") for name in names)]


@contextmanager
def _all_missing(source: Source, record: Path) -> Iterator[None]:
    """Without the Hub: name at once what the cache lacks of every repository, not of the first alone."""
    try:
        yield
    except hub.Missing as first:
        told = [str(first)]
        swaps = [(part, swap) for part, swap in (("unet", source.unet), ("vae", source.vae)) if swap is not None]
        for part, given in [*swaps, *(("adapter", adapter) for adapter in source.adapters)]:
            repository = Repository(given.kind, given.repo, given.revision, record)
            try:
                repository.file(given.file) if given.file else repository.take(_select_swap(part, given))
            except (ValueError, FileNotFoundError) as error:
                told.append(str(error))
        raise hub.Missing("; ".join(dict.fromkeys(told))) from first


def _swap(part: str, swap: SwapSource, folder: Path, record: Path) -> dict[str, str]:
    """Put what `swap` names in the place of the pipeline's own `part`, a key of components.STEMS, and of its class."""
    repository = Repository(swap.kind, swap.repo, swap.revision, record)
    if swap.file:
        path = repository.file(swap.file)
        _swap_file(part, path, folder / part)
        return {f"{swap.repo}/{swap.file}": manifest.sha256(path)}
    prefix, own = _prefix(swap), _part_config(folder / part, part)
    shutil.rmtree(folder / part)
    taken = repository.place(_select_swap(part, swap), folder / part, swap.variant, prefix)
    with told({folder / part: _name(swap)}):
        found = _part_config(folder / part, part)
    if part == "vae":
        _check_same_latents(own, found, swap.repo)
    _enter(folder / components.INDEX, part, found["_class_name"])
    return taken


def _prefix(swap: SwapSource) -> str:
    return f"{swap.subfolder}/" if swap.subfolder else ""


def _select_swap(part: str, swap: SwapSource) -> Select:
    """A part's configuration and weights in the folder that `swap` names."""
    prefix = _prefix(swap)

    def select(names: list[str]) -> list[str]:
        if f"{prefix}config.json" not in names:
            raise ValueError(f"{prefix}config.json is missing: source.{part} must name a {part}'s folder")
        return [f"{prefix}config.json", *select_weights(names, prefix, components.STEMS[part], swap.variant)]

    return select


def _swap_file(part: str, path: Path, folder: Path) -> None:
    """Weights out of one file, under the original names or under diffusers' own; the configuration stays."""
    own = _part_config(folder, part)
    files = list(folder.glob("*.safetensors"))
    names = {tensor for file in files for tensor in streaming.read_header(file)[0]}
    shutil.rmtree(folder)
    if set(streaming.read_header(path)[0]) == names:
        placing.write_text(folder / "config.json", json.dumps(own, indent=2) + "\n")
        shutil.copyfile(path, folder / f"{components.STEMS[part]}.safetensors")
    else:
        single_file.unpack_part(path, part, folder, own)


def _part_config(folder: Path, part: str) -> dict[str, Any]:
    """The checked configuration of a UNet or a VAE, of one of the classes that its place allows."""
    path = folder / "config.json"
    found, allowed = components.read_json(path), [name for _, name in components.CLASSES[part]]
    if found.get("_class_name") not in allowed:
        raise ValueError(f"{path} describes {found.get('_class_name')!r}, allowed: {str(allowed)[1:-1]}")
    configurations.check(path, found["_class_name"], found)
    return found


def _name(swap: SwapSource) -> str:
    return f"{swap.repo}/{swap.subfolder}" if swap.subfolder else swap.repo


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
        placing.write_text(path, json.dumps({**index, part: ["diffusers", class_name]}, indent=2) + "\n")


def _fuse(adapters: list[AdapterSource], folder: Path, record: Path) -> dict[str, str]:
    """Add the adapters to the weights in `folder`, one after the other, without any trace of them."""
    paths, taken = [], {}
    for adapter in adapters:
        path = Repository(adapter.kind, adapter.repo, adapter.revision, record).file(adapter.file)
        paths.append((path, adapter.scale))
        taken[f"{adapter.repo}/{adapter.file}"] = manifest.sha256(path)
    lora.fuse(folder, paths)
    return taken
