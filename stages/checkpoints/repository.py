"""Files of a local folder or of a Hub repository, chosen from its listing and placed under plain names.

Consumes a kind, a name and a choice of files; produces those files, copied or linked, with their SHA-256. Chooses
configurations, tokenizers and safetensors alone: pickles are never opened.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

from stages.checkpoints import components, hub
from stages.files import manifest, placing

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
NOTICES = ("README.md", "LICENSE", "LICENSE.md", "LICENSE.txt")
Select = Callable[[list[str]], list[str]]


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
                placing.link(path, target)
            else:
                shutil.copyfile(path, target)
        self._check_parts(files)
        return {f"{self.repo}/{name}": manifest.sha256(path) for name, path in files.items()}

    def _check_parts(self, files: dict[str, Path]) -> None:
        """Every part that the index names is among the files: a Hub cache may hold some parts of a pipeline alone."""
        index = components.read_json(files[components.INDEX]) if components.INDEX in files else {}
        parts = [*components.present(index), *components.tokenizers(index)] if index else []
        for part in dict.fromkeys(getattr(part, "folder", part) for part in parts):
            if not any(name.startswith(f"{part}/") for name in files):
                raise FileNotFoundError(f"{self.repo} has no {part}, which its {components.INDEX} names")


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


def _inside(root: Path, name: str) -> Path:
    path = root / manifest.safe_name(name)
    if not path.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{path} is refused: it is a link that leads out of {root}")
    return path
