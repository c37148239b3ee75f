"""Files that stages hand on, changed after they were written: nothing but the same bytes passes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as any_of

from stages.settings import config
from tests.soak import mutating
from tests.soak.kind import Kind
from tests.soak.project import MODEL

IR = Path("artifacts/ir") / MODEL
CALIBRATION = Path("artifacts/calibration") / MODEL


def files(folder: Path) -> Any:
    """(the file, what was done to it, its bytes)."""
    names = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return any_of.sampled_from(names).flatmap(
        lambda path: mutating.contents(path.read_bytes()).map(lambda pair: (str(path), *pair))
    )


def _ir_files() -> Any:
    return files(IR)


def _manifests() -> Any:
    paths = [
        IR / "fp16/manifest.json",
        IR / "int8/manifest.json",
        CALIBRATION / "manifest.json",
    ]
    return any_of.sampled_from(paths).flatmap(
        lambda path: mutating.documents(json.loads(path.read_text())).map(
            lambda pair: (str(path), str(pair[0])[:200], json.dumps(pair[1]).encode())
        )
    )


def _shards() -> Any:
    return files(CALIBRATION)


def _with(example: tuple[str, str, bytes], work: Callable[[], Any]) -> Any:
    """While the file holds these bytes. Hard links share theirs, so the file is replaced."""
    path, kept = Path(example[0]), Path(f"{example[0]}.kept")
    path.rename(kept)
    try:
        path.write_bytes(example[2])
        return work()
    finally:
        kept.replace(path)


def _ir_used(example: tuple[str, str, bytes]) -> Any:
    """Its manifest is verified by whatever is about to use the folder; the page and `make plan` look at it before."""
    from stages.files import manifest
    from stages.machine import sizes
    from stages.studio import shelf

    def use() -> Any:
        shelf.find()
        folder = IR / Path(example[0]).relative_to(IR).parts[0]
        found = manifest.verify(folder, rerun=f"export@{MODEL}")
        sizes.of_ir(folder)
        return found

    return _with(example, use)


def _calibration_used(example: tuple[str, str, bytes]) -> Any:
    """As far as `quantize` goes before it computes anything."""
    from stages import quantize

    def use() -> Any:
        settings = config.load(quantize.READS, MODEL, []).quantization
        quantize.need(MODEL, settings)
        return list(quantize._samples(MODEL, settings, Path(".")))

    return _with(example, use)


def _used(example: tuple[str, str, bytes]) -> Any:
    return (_ir_used if Path(example[0]).is_relative_to(IR) else _calibration_used)(example)


def _another_file(example: tuple[str, str, bytes], _: Any) -> str:
    """Nothing but the very same bytes passes; of a manifest the same content."""
    there = Path(example[0]).read_bytes()
    if there == example[2] or (example[0].endswith("manifest.json") and _equal_json(there, example[2])):
        return ""
    return f"{example[0]} passes with {example[1]}"


def _equal_json(one: bytes, other: bytes) -> bool:
    """But for the seal, which older manifests do not have."""
    try:
        return json.loads(one) | {"seal": ""} == json.loads(other) | {"seal": ""}
    except (ValueError, TypeError):
        return False


KINDS = {
    "ir": Kind(_ir_files, _ir_used, _another_file),
    "manifest": Kind(_manifests, _used, _another_file),
    "shard": Kind(_shards, _calibration_used, _another_file),
}
