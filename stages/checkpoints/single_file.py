"""One safetensors file under the names of the original code, as most fine-tunes of SDXL are published, unpacked.

Consumes the file, a folder with tokenizers, which no such file holds, and configurations for what weights do not show;
produces a folder in plain diffusers layout, in float16. Tensors are streamed, one at a time: no model is built, and
memory is that of the largest tensor. Pickles, adapters and scaled 8-bit weights are refused.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.checkpoints import (
    architectures,
    components,
    contents,
    original,
    recognising,
    streaming,
    synthetic,
    tokens,
)
from stages.checkpoints.configurations import check as check_configuration
from stages.checkpoints.repository import PICKLE, PICKLES
from stages.checkpoints.streaming import Entry
from stages.files import disk, placing

HALF_BYTES = 2
V_PREDICTION = ("v", "v_prediction")  # how tools write it into modelspec.prediction_type
FLOATS = ("F64", "F32", "BF16", "F16", "F8_E4M3", "F8_E5M2")  # both kinds of float8 are exact in float16


def unpack(
    path: Path,
    folder: Path,
    tokenizers: Path | None = None,
    configurations: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Fill `folder` with the checkpoint in `path`; `tokenizers` is a folder that has tokenizer/ and tokenizer_2/.

    Shapes are the file's. What they do not show (heads, groups of norms, activations, the scale of latents) is as in
    `configurations`, by component, where it has one, else as in the published architecture.
    """
    given = configurations or {}
    with _named(path):
        entries, metadata = _header(path)
        parts = contents.split(entries)
        contents.check_whole(entries, parts)
        names = [part.replace("text_encoder", "tokenizer") for part in parts if part.startswith("text_encoder")]
        if tokenizers is None:
            raise ValueError(
                f"it has no tokenizers, as no single file has: name a folder in diffusers layout that has "
                f"{' and '.join(f'{name}/' for name in names)}; any SDXL pipeline's will do"
            )
        if averaged := contents.averaged(entries):
            print(f"{path}: {averaged} averaged weights ({contents.AVERAGED}*) are left out, the UNet itself is taken")
        settings = _configurations(entries, parts, given)
        for name in names:
            encoder = settings[name.replace("tokenizer", "text_encoder")]
            tokens.check(tokenizers / name, encoder, path)
            _copy_tokenizer(tokenizers / name, folder / name)
        needed = sum(math.prod(entries[name].shape) for tensors in parts.values() for name in tensors.values())
        disk.require_space(folder, HALF_BYTES * needed)
        for part, tensors in parts.items():
            _write_part(path, part, tensors, settings[part], folder / part)
    settings["scheduler"] = _scheduler(entries, metadata)
    _write_json(folder / "scheduler/scheduler_config.json", settings["scheduler"])
    index = synthetic.index(settings, names)
    if components.role(given.get(components.INDEX, {})) == components.role(index):
        index |= {name: value for name, value in given.get(components.INDEX, {}).items() if name == components.ZEROS}
    _write_json(folder / components.INDEX, index)


def unpack_part(path: Path, part: str, folder: Path, configuration: dict[str, Any] | None = None) -> None:
    """Fill `folder` with one component, `unet` or `vae`, of a file that holds it alone or among others."""
    with _named(path):
        entries, _ = _header(path)
        tensors = contents.split(entries).get(part)
        if not tensors:
            raise ValueError(f"it has no {part}: none of its tensors is called {contents.PREFIXES[part]}*")
        settings = _configuration(entries, part, tensors, configuration, None, False)
        _write_part(path, part, tensors, settings, folder)


def configurations(folder: Path) -> dict[str, dict[str, Any]]:
    """What a folder in diffusers layout says of its components and in its index, as far as it says anything."""
    files = {part: folder / part / "config.json" for part in components.STEMS}
    files[components.INDEX] = folder / components.INDEX
    found = {part: components.read_json(file) for part, file in files.items() if file.is_file()}
    for part in components.STEMS:
        if _is_of(part, found.get(part)):
            check_configuration(files[part], components.CLASSES[part][0][1], found[part])
    return found


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors of the block begin with the file's name."""
    try:
        yield
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise ValueError(f"{path}: {error}") from error


def _header(path: Path) -> tuple[dict[str, Entry], dict[str, str]]:
    if path.suffix in PICKLES:
        raise ValueError(f"{path} {PICKLE}")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: one safetensors file is wanted")
    return streaming.read_header(path)


def _configurations(
    entries: dict[str, Entry], parts: dict[str, dict[str, str]], given: dict[str, Any]
) -> dict[str, Any]:
    """By component. Encoders come first: the width of the UNet's embedding of sizes follows from the second one's."""
    settings: dict[str, Any] = {}
    for part, tensors in parts.items():
        pooled = settings.get("text_encoder_2", {}).get("projection_dim")
        settings[part] = _configuration(entries, part, tensors, given.get(part), pooled, "text_encoder" not in parts)
    return settings


def _configuration(
    entries: dict[str, Entry],
    part: str,
    tensors: dict[str, str],
    given: dict[str, Any] | None,
    pooled: int | None,
    refiner: bool,
) -> dict[str, Any]:
    """The component's configuration, whose module has exactly the tensors of the file, all of them floats."""
    for name in tensors.values():
        if entries[name].dtype not in FLOATS:
            raise ValueError(f"tensor {name} is of type {entries[name].dtype}: quantized weights cannot be unpacked")
    shapes = {name: entries[whole].shape for name, whole in tensors.items()}
    settings = recognising.configuration(part, shapes, given if _is_of(part, given) else None, pooled, refiner)
    origins = original.origins(part, tensors, settings)
    found, wanted = recognising.sizes(part, shapes, settings), recognising.module_shapes(part, settings)
    if missing := sorted(wanted.keys() - found.keys()):
        raise ValueError(f"{part}: {len(missing)} tensors are missing, by diffusers' names {_some(missing)}")
    used = {origins[name].name for name in wanted}
    if unused := sorted(tensors[name] for name in tensors.keys() - used):
        raise ValueError(f"{part}: {len(unused)} tensors belong to nothing in it: {_some(unused)}")
    for name in sorted(wanted):
        if found[name] != wanted[name]:
            whole = tensors[origins[name].name]
            raise ValueError(f"{part}: tensor {whole} is of shape {list(found[name])}, not {list(wanted[name])}")
    return settings


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _is_of(part: str, settings: dict[str, Any] | None) -> bool:
    """Whether a configuration is of the class that a single file's component is: a tiny VAE's helps no other."""
    named = settings and (settings.get("_class_name") or (settings.get("architectures") or [None])[0])
    return named == components.CLASSES[part][0][1]


def _write_part(path: Path, part: str, tensors: dict[str, str], settings: dict[str, Any], folder: Path) -> None:
    from safetensors import safe_open

    shapes = recognising.module_shapes(part, settings)
    origins = original.origins(part, tensors, settings)
    folder.mkdir(parents=True, exist_ok=True)
    with safe_open(path, framework="pt") as file:

        def value(name: str) -> Any:
            origin = origins[name]
            tensor = _half(file.get_tensor(tensors[origin.name]), tensors[origin.name])
            tensor = tensor if origin.third is None else tensor.chunk(3)[origin.third]
            return (tensor.T if origin.transposed else tensor).reshape(shapes[name])

        entries = {name: Entry("F16", shape) for name, shape in shapes.items()}
        streaming.write(folder / f"{components.STEMS[part]}.safetensors", entries, value)
    _write_json(folder / "config.json", settings)


def _half(tensor: Any, name: str) -> Any:
    """The tensor in float16, rounded to the nearest where it was wider."""
    import torch

    half = tensor.to(torch.float16)
    if not torch.isfinite(half).all():
        exact = tensor.to(torch.float32)
        if not torch.isfinite(exact).all():
            raise ValueError(f"tensor {name} holds NaN or infinite values")
        raise ValueError(f"tensor {name} holds {exact.abs().max():g}, which is beyond float16")
    return half


def _scheduler(names: Iterable[str], metadata: dict[str, str]) -> dict[str, Any]:
    """SDXL's scheduler, for predictions of v and a zero terminal signal-to-noise ratio where the file says so."""
    settings = architectures.configurations("sdxl")["scheduler"]
    if "v_pred" in names or metadata.get("modelspec.prediction_type") in V_PREDICTION:
        settings = settings | {"prediction_type": "v_prediction"}
    if "ztsnr" in names:
        settings = settings | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return settings


def _copy_tokenizer(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in (source / name for name in components.TOKENIZER_FILES):
        if path.is_file():
            shutil.copyfile(path, target / path.name)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    placing.write_text(path, json.dumps(content, indent=2) + "\n")
