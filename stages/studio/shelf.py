"""The IR folders at hand, and what each is drawn with where nobody says otherwise.

Consumes folders as `export` and `quantize` write them, or as they were published and fetched; produces an `Item` for
each that is whole. Loads no model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import components, defaults
from stages.checkpoints.defaults import Defaults
from stages.files import layout, manifest, names
from stages.ir import parts
from stages.settings.spelling import nearest

TASKS = (defaults.TEXT_TO_IMAGE, defaults.IMAGE_TO_IMAGE, defaults.TWO_STAGE)
MAKE = "run `make repro`, or of one model `dvc repro quantize@mini-vega`"


@dataclass(frozen=True)
class Item:
    """One pipeline: a model in one precision. `tasks` as generation_config.json has them, the main one first."""

    model: str
    precision: str
    folder: Path
    role: str
    base: str | None  # of a refiner: the model that draws the first part
    defaults: Defaults
    scheduler: str
    licence: str | None
    random_weights: bool
    gb: float  # on the disk
    digest: str  # of its manifest
    facts: dict[str, Any]  # of its manifest
    fixed_px: tuple[int | None, int | None] = (None, None)  # width and height that alone can be drawn

    @property
    def tasks(self) -> tuple[str, ...]:
        main = defaults.TWO_STAGE if self.role == "refiner" else defaults.TEXT_TO_IMAGE
        return tuple(sorted(self.defaults, key=lambda task: task != main))

    @property
    def name(self) -> str:
        return f"{self.model} {self.precision}"


Shelf = dict[str, dict[str, Item]]  # by model and precision, FP16 first


def find(root: Path = Path(".")) -> Shelf:
    """What lies in artifacts/ir, whole folders only: one that is being written, or is damaged, is left out."""
    shelf: Shelf = {}
    for path in sorted((root / layout.IR).glob(f"*/*/{manifest.NAME}"), key=_fp16_first):
        try:
            found = item(path.parent)
        except (ValueError, OSError):
            continue
        shelf.setdefault(found.model, {})[found.precision] = found
    return shelf


def item(folder: Path) -> Item:
    """The pipeline of one folder, wherever it lies; FileNotFoundError or ValueError where it is no whole IR folder."""
    described = manifest.read_whole(folder, rerun=_maker(folder))
    parts.require(folder)
    index, facts = components.read_index(folder), described["facts"]
    settings = _settings(folder)
    return Item(
        model=folder.resolve().parent.name,
        precision=facts.get("precision", folder.name),
        folder=folder,
        role=components.role(index),
        base=settings.get(defaults.TWO_STAGE, {}).get("base"),
        defaults=settings,
        scheduler=index["scheduler"][1],
        licence=facts.get("licence"),
        random_weights=bool(facts.get("random_weights")),
        gb=sum(file["size"] for file in described["files"].values()) / 1e9,
        digest=manifest.digest(folder),
        facts=facts,
        fixed_px=parts.fixed_px(folder),
    )


def _settings(folder: Path) -> Defaults:
    """What a folder says of its tasks, one at least; ValueError where a refiner's base is no name."""
    found = defaults.read(folder)
    if not set(found) & set(TASKS):
        raise ValueError(f"{folder / defaults.FILE} says nothing of {', '.join(TASKS)}")
    if (base := found.get(defaults.TWO_STAGE, {}).get("base")) is not None:
        names.require(base, f"{folder / defaults.FILE}: the base")
    return {task: how for task, how in found.items() if task in TASKS}


def choose(shelf: Shelf, model: str, precision: str | None = None) -> Item:
    """The item of a model: in this precision, else quantized, else what there is.

    ValueError that says what there is, and what makes more of it.
    """
    if not shelf:
        raise ValueError(f"there is no IR in {layout.IR}: {MAKE}")
    if model not in shelf:
        raise ValueError(f"there is no IR of {model!r}{nearest(model, shelf)}, but of {', '.join(shelf)}: {MAKE}")
    precisions = shelf[model]
    if precision is None:
        return precisions[_preferred(precisions)]
    if precision not in precisions:
        near = nearest(precision, precisions)
        raise ValueError(f"there is no IR of {model} in {precision!r}{near}, but in {', '.join(precisions)}: {MAKE}")
    return precisions[precision]


def base_of(shelf: Shelf, refiner: Item) -> Item:
    """The pipeline that draws the first part of a refiner's picture: in the same precision, where there is one."""
    assert refiner.base is not None
    precisions = shelf.get(refiner.base, {})
    if not precisions:
        raise ValueError(
            f"{refiner.model} refines what {refiner.base} begins, and of that there is no IR: "
            f"run 'dvc repro quantize@{refiner.base}'"
        )
    return precisions.get(refiner.precision) or precisions[_preferred(precisions)]


def damaged(model: str, precision: str | None = None, root: Path = Path(".")) -> str | None:
    """Why a model's folder is not on the shelf though it is there; None where none is, or all of them are whole."""
    if not names.is_name(model):
        return None
    for path in sorted((root / layout.IR / model).glob(f"*/{manifest.NAME}"), key=_fp16_first):
        if precision in (None, path.parent.name):
            try:
                item(path.parent)
            except (ValueError, OSError) as error:
                return str(error)
    return None


def _preferred(precisions: dict[str, Any]) -> str:
    """INT8, the project's default, then any other quantized one."""
    quantized = [name for name in precisions if name != layout.FP16]
    return "int8" if "int8" in quantized else (quantized or list(precisions))[0]


def _fp16_first(path: Path) -> tuple[str, bool, str]:
    return path.parent.parent.name, path.parent.name != layout.FP16, path.parent.name


def _maker(folder: Path) -> str:
    """The DVC stage that makes a folder of artifacts/ir."""
    return f"{'export' if folder.name == layout.FP16 else 'quantize'}@{folder.resolve().parent.name}"
