"""Files of a local folder or of a Hub repository, chosen from its listing and placed under plain names.

Consumes a kind, a name and a choice of files; produces those files, copied or linked, with their SHA-256. Chooses
configurations, tokenizers and safetensors alone: pickles are never opened.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.checkpoints import components, hub, mistaken
from stages.files import manifest, placing

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".msgpack", ".h5")
PICKLE = "is refused: a pickle can run any code when it is opened, only safetensors are"
TERMS = ("LICENSE", "LICENSE.md", "LICENSE.txt", "NOTICE", "NOTICE.md", "NOTICE.txt")  # what goes along with weights
NOTICES = ("README.md", *TERMS)
Select = Callable[[list[str]], list[str]]


class Repository:
    """A local folder or a Hub repository; files of a local one are copied, so that no later stage shares them."""

    def __init__(self, kind: str, repo: str, revision: str | None, record: Path) -> None:
        self.kind, self.repo, self.revision, self.record = kind, repo, revision, record

    def take(self, select: Select) -> dict[str, Path]:
        """Names and verified paths of the files that `select` picks."""

        def pick(names: list[str]) -> list[str]:
            try:
                return select(names)
            except (ValueError, FileNotFoundError) as error:
                if str(error).startswith(self.repo):
                    raise
                kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
                raise kind(f"{self.repo}: {error}") from error

        if self.kind == "hub":
            return hub.fetch(self.repo, self.revision, self.record, pick)
        root = Path(self.repo)
        if not root.is_dir():
            raise FileNotFoundError(f"repo {self.repo!r} is not a folder")
        return {name: _inside(root, name) for name in pick(sorted(names_below(root)))}

    def file(self, name: str) -> Path:
        """One verified safetensors file by its name; a local folder is not searched for it."""
        missing = f"{self.repo} has no safetensors file {name!r}"
        if not name.endswith(".safetensors"):
            raise ValueError(f"{missing}: only safetensors are opened")
        if self.kind == "local":
            if not (Path(self.repo) / manifest.safe_name(name)).is_file():
                raise FileNotFoundError(missing)
            return _inside(Path(self.repo), name)

        def only(names: list[str]) -> list[str]:
            if name not in names:
                near = ", ".join(one for one in names if one.endswith(".safetensors")) or "none"
                raise FileNotFoundError(f"{missing}; it has {near}")
            return [name]

        return self.take(only)[name]

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
        return {f"{self.repo}/{name}": manifest.sha256(path) for name, path in files.items()}


@contextmanager
def told(names: dict[Path, str]) -> Iterator[None]:
    """Errors of the block speak of the sources as the user gave them, not of our folders, which vanish with them."""
    try:
        yield
    except (ValueError, OSError) as error:
        told = str(error)
        for path, name in names.items():
            told = told.replace(str(path), name)
        if told == str(error):
            raise
        raise (FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError)(told) from error


def select_index(names: list[str]) -> list[str]:
    if components.INDEX not in names:
        raise ValueError(f"{components.INDEX} is missing: a pipeline in diffusers layout is wanted")
    return [components.INDEX]


def select_descriptions(names: list[str]) -> list[str]:
    """Tokenizers, and the configurations of whatever is there; no weights."""
    wanted = {components.INDEX, "scheduler/scheduler_config.json", *NOTICES}
    wanted |= {f"{folder}/{file}" for folder in components.TOKENIZERS for file in components.TOKENIZER_FILES}
    wanted |= {f"{folder}/config.json" for folder in components.STEMS}
    return sorted(wanted.intersection(names))


def select_pipeline(names: list[str], variant: str | None, parts: Collection[str]) -> list[str]:
    """Index, scheduler, notices, and configurations, tokenizers and weights of `parts`, which the index has."""
    for part in parts:  # a Hub cache may hold some parts of a pipeline alone
        if not any(name.startswith(f"{part}/") for name in names):
            raise FileNotFoundError(f"it has no {part}, which its {components.INDEX} names")
    wanted = {*select_index(names), "scheduler/scheduler_config.json", *NOTICES}
    tokenizers = [folder for folder in components.TOKENIZERS if folder in parts]
    wanted |= {f"{folder}/{file}" for folder in tokenizers for file in components.TOKENIZER_FILES}
    modules = {folder: stem for folder, stem in components.STEMS.items() if folder in parts}
    wanted |= {f"{folder}/config.json" for folder in modules}
    for needed in ("scheduler/scheduler_config.json", *(f"{folder}/config.json" for folder in modules)):
        if needed not in names:
            raise ValueError(f"{needed} is missing{_what_is_there(names, needed)}")
    for folder in tokenizers:
        if not any(f"{folder}/{file}" in names for file in components.TOKENIZER_VOCABULARIES):
            raise ValueError(f"{folder}/vocab.json and tokenizer.json are missing{_what_is_there(names, f'{folder}/')}")
    weights = [select_weights(names, f"{folder}/", stem, variant) for folder, stem in modules.items()]
    return sorted(wanted.intersection(names)) + [name for component in weights for name in component]


def select_weights(names: list[str], prefix: str, stem: str, variant: str | None) -> list[str]:
    """One safetensors file, or an index with its shards: of the variant, else, where there is none, the plain ones.

    Raises where neither is there, and says what is. Nobody asked for a variant that only the source has.
    """
    for wanted in dict.fromkeys((variant, None)):
        if chosen := _weights(names, f"{prefix}{stem}", wanted):
            return chosen
    single = f"{prefix}{stem}{f'.{variant}' if variant else ''}.safetensors"
    here = _beside(names, prefix)
    found = [name for name in here if name.endswith(".safetensors")]
    if found:
        raise ValueError(f"{single} is missing: variant must match one of {', '.join(found)}")
    pickles = [name for name in here if name.endswith(PICKLES)]
    if pickles:
        raise ValueError(f"{pickles[0]} {PICKLE}")
    raise ValueError(f"{single} is missing{_what_is_there(names, prefix)}")


def _weights(names: list[str], start: str, variant: str | None) -> list[str]:
    infix = f".{variant}" if variant else ""
    if f"{start}{infix}.safetensors" in names:
        return [f"{start}{infix}.safetensors"]
    index = f"{start}.safetensors.index{infix}.json"
    shard = re.compile(re.escape(f"{start}{infix}") + r"-\d{5}-of-\d{5}" + r"\.safetensors")
    shards = [name for name in names if shard.fullmatch(name)]
    return [index, *shards] if index in names and shards else []


def _beside(names: list[str], prefix: str) -> list[str]:
    return [name for name in names if name.startswith(prefix) and "/" not in name.removeprefix(prefix)]


def _what_is_there(names: list[str], name: str) -> str:
    """`; unet/ holds a, b` for an error about a file of the folder, or about the folder itself."""
    folder = name[: name.rfind("/") + 1]
    here = [path.removeprefix(folder) for path in _beside(names, folder)]
    return f"; {folder or 'it'} holds {', '.join(here) or 'no files'}"


def plain_name(name: str, variant: str | None) -> str:
    """`unet/model.fp16.safetensors` is `unet/model.safetensors`; shards keep the names that their index uses."""
    if not variant:
        return name
    return re.sub(rf"\.{re.escape(variant)}\.(safetensors|json)$", r".\1", name)


def names_below(root: Path) -> list[str]:
    """What lies below a folder, also in folders that are links: each once, and no further where it leads out."""
    names, followed = [], set()
    for folder, inside, files in os.walk(root, followlinks=True):
        here = Path(folder)
        names += [(here / name).relative_to(root).as_posix() for name in files if (here / name).exists()]
        if not _stays_inside(root, here):
            inside.clear()
        for link in [name for name in inside if (here / name).is_symlink()]:
            target = (here / link).resolve()
            if target in followed or here.resolve().is_relative_to(target):
                inside.remove(link)
            followed.add(target)
    return names


def _inside(root: Path, name: str) -> Path:
    path = root / manifest.safe_name(name)
    if not _stays_inside(root, path):
        raise ValueError(f"{path} is refused: it is a link that leads out of {root}")
    mistaken.require_file(path)
    return path


def _stays_inside(root: Path, path: Path) -> bool:
    allowed = [root.resolve(), *_blobs(root.resolve())]
    return any(path.resolve().is_relative_to(folder) for folder in allowed)


def _blobs(root: Path) -> list[Path]:
    """Where the files of a snapshot lie, if `root` is one in a Hub cache: .../models--a--b/snapshots/<commit>."""
    for folder in (root, *root.parents):
        if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
            return [folder.parent.parent / "blobs"]
    return []
