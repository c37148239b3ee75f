"""Checkpoints and adapters, changed at random, through download and export: accepted ones give the same IR.

A change of weights' values alone makes another checkpoint, as good as any; whatever else is accepted must mean nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as any_of

from stages.settings import config
from tests.soak import mutating
from tests.soak.inputs import artifacts
from tests.soak.kind import Kind
from tests.soak.project import MODEL

SOUND = Path("artifacts/ir") / MODEL / "fp16/manifest.json"
SOURCE, TRIED = Path("source/base"), Path("tried")


def _checkpoints() -> Any:
    source = Path("source/base")
    configs = sorted(source.rglob("*.json"))
    documents = any_of.sampled_from(configs).flatmap(
        lambda path: mutating.documents(json.loads(path.read_text())).map(
            lambda pair: (str(path), str(pair[0])[:200], json.dumps(pair[1]).encode())
        )
    )
    weights = sorted(source.rglob("*.safetensors"))
    headers = any_of.sampled_from(weights).flatmap(lambda path: _headers(path).map(lambda pair: (str(path), *pair)))
    return any_of.one_of(documents, documents, headers, artifacts.files(source))


def _headers(path: Path) -> Any:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, rest = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__", None)

    def packed(pair: tuple[Any, Any]) -> tuple[str, bytes]:
        text = json.dumps(pair[1]).encode()
        return f"header {pair[0]}"[:200], len(text).to_bytes(8, "little") + text + rest

    types = any_of.tuples(
        any_of.sampled_from(sorted(header)), any_of.sampled_from(["I8", "U8", "BOOL", "F64", "F16", "F8_E4M3"])
    )
    renamed = any_of.sampled_from(sorted(header)).map(
        lambda name: (name, {**_without(header, name), f"{name}x": header[name]})
    )
    missing = any_of.sampled_from(sorted(header)).map(lambda name: (f"without {name}", _without(header, name)))
    typed = types.map(lambda pair: (pair, header | {pair[0]: header[pair[0]] | {"dtype": pair[1]}}))
    return any_of.one_of(mutating.documents(header), renamed, missing, typed).map(packed)


def _without(header: dict, name: str) -> dict:
    return {key: value for key, value in header.items() if key != name}


def _converted(example: tuple[str, str, bytes]) -> Any:
    from stages.download import download
    from stages.export import export

    source = TRIED / SOURCE
    shutil.rmtree(TRIED, ignore_errors=True)
    shutil.copytree("source/base", source, copy_function=os.link)
    path = source / Path(example[0]).relative_to("source/base")
    path.unlink()
    path.write_bytes(example[2])
    settings = config.load(("model.{model}",), MODEL, [])
    settings.model.source.repo = str(source)
    download(MODEL, settings.model.source, settings.model.licence, TRIED)
    return export(MODEL, settings.model, TRIED)


def _another_ir(example: tuple[str, str, bytes], made: dict) -> str:
    """The IR of the sound checkpoint: whatever was changed means nothing. Numbers alone may be others."""
    sound = json.loads(SOUND.read_text())["files"]
    told = ("README.md", str(Path(example[0]).relative_to(SOURCE)))  # what is copied may be written otherwise
    other = [
        name
        for name, file in made["files"].items()
        if name not in told and sound.get(name, {}).get("sha256") != file["sha256"] and not _means_the_same(name)
    ]
    if made["files"].keys() == sound.keys() and (not other or _is_of_numbers(example)):
        return ""
    return f"{example[0]} with {example[1]} gives another IR: {', '.join(other)}"


def _means_the_same(name: str) -> bool:
    """Of a configuration: what one does not say, its class says by itself."""
    if not name.endswith("/config.json"):
        return False
    one, other = (json.loads((folder / name).read_text()) for folder in (SOUND.parent, TRIED / SOUND.parent))
    return _filled(one) == _filled(other)


def _filled(config: dict) -> dict:
    import inspect

    import diffusers

    kind = getattr(diffusers, str(config.get("_class_name")), None)
    known = inspect.signature(kind.__init__).parameters.values() if kind else ()
    said = {one.name: one.default for one in known if one.default is not inspect.Parameter.empty}
    said |= {name: value for name, value in config.items() if name in said or not said}  # others have no effect
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()}


def _is_of_numbers(example: tuple[str, str, bytes]) -> bool:
    """Only weights' values differ, all of them finite: a checkpoint like any other."""
    path = Path(example[0])
    if path.suffix != ".safetensors":
        return False
    one, other = path.read_bytes(), example[2]
    start = 8 + int.from_bytes(one[:8], "little")
    return len(one) == len(other) and one[:start] == other[:start]


def _adapters() -> Any:
    (path,) = Path("source/lora").glob("*.safetensors")
    return any_of.one_of(_headers(path), mutating.contents(path.read_bytes())).map(lambda pair: (str(path), *pair))


def _fused(example: tuple[str, str, bytes]) -> Any:
    from stages.checkpoints import lora

    shutil.rmtree("tried", ignore_errors=True)
    shutil.copytree("source/base", "tried/base")
    path = Path("tried/adapter.safetensors")
    path.write_bytes(example[2])
    lora.fuse(Path("tried/base"), [(path, 1.0)])
    return _digests(Path("tried/base"))


def _another_sum(example: tuple[str, str, bytes], found: dict[str, str]) -> str:
    """As the sound adapter makes it, or with other finite numbers in it."""
    from safetensors.numpy import load_file

    _fused((example[0], "", Path(example[0]).read_bytes()))
    sound = _digests(Path("tried/base"))
    if found == sound or _is_of_numbers(example):
        return ""
    tensors = {name: value.shape for name, value in load_file(example[0]).items()}
    return f"an adapter of {len(tensors)} tensors with {example[1]} is fused, to other weights"


def _digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


KINDS = {
    "adapter": Kind(_adapters, _fused, _another_sum, count=30),
    "checkpoint": Kind(_checkpoints, _converted, _another_ir, count=20),
}
