"""What the benchmark left behind: figures and pictures of the selected models, read once and asked by name.

Consumes record.json, metrics.json and images/images.json of reports/benchmark/<model>; produces one `Result` per
selected model, also for those not measured, with the reason. Computes ratios between figures, draws and writes
nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from stages.files import belonging, manifest, records
from stages.files.layout import BENCHMARKS, FP16, SCHEMES, SCORER, ir
from stages.files.remedy import remedy
from stages.report import pictures

BEFORE = FP16  # the precision that others are compared with
COPY = "none"  # a scheme that leaves FP16 as it is: what scatters between the two is the measurement
TEXT_TO_IMAGE, IMAGE_TO_IMAGE = "text-to-image", "image-to-image"
TWO_STAGE, TWO_STAGE_SDEDIT = "two-stage", "two-stage-sdedit"
FEW_STEPS = 8  # what the consistency-distilled models are made for, at most


@dataclass(frozen=True)
class Picture:
    task: str
    precision: str
    prompt_id: str
    prompt: str
    model: str
    file: Path
    width: int
    height: int
    seconds: float | None
    executed_steps: int | None
    rerun: str

    @cached_property
    def image(self) -> Image.Image:
        return pictures.read(self.file, (self.width, self.height), rerun=self.rerun)


@dataclass(frozen=True, eq=False)
class Result:
    key: str
    title: str
    role: str
    base: str
    family: str
    licence: str
    after: str  # the precision that is compared with BEFORE: int8
    record: dict[str, Any]  # every figure
    pictures: list[Picture]
    missing: str | None = None  # why there are no figures, and what to run
    metrics: dict[str, Any] = field(default_factory=dict)  # the few that a person compares, by role

    def figure(self, precision: str, *path: str) -> float | None:
        """`figure("int8", "unet_step_s", "median")`: a finite number, or None where it is missing, null or infinite."""
        value: Any = self.record.get("precisions", {}).get(precision)
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value if is_number(value) else None

    def value(self, precision: str, name: str) -> Any:
        return (self.record.get("precisions", {}).get(precision) or {}).get(name)

    def lacks(self, precision: str) -> str | None:
        """Why there is no figure of this precision, and what to run."""
        if self.missing or precision in self.record["precisions"]:
            return self.missing or self.value(precision, "skipped")
        return f"no {precision} figures: {remedy(BENCHMARKS / self.key / 'record.json', f'benchmark@{self.key}')}"

    def smaller(self) -> float | None:
        return ratio(self.figure(BEFORE, "unet_size_mb"), self.figure(self.after, "unet_size_mb"))

    def steps(self) -> int | None:
        """Steps that the model itself executes for a picture: of a refiner only its own."""
        return self.record.get("executed_steps") or self.record.get("steps")

    def takes(self, task: str, precision: str) -> list[Picture]:
        return [picture for picture in self.pictures if (picture.task, picture.precision) == (task, precision)]

    def take(self, task: str, precision: str, prompt_id: str) -> Image.Image | None:
        return next((take.image for take in self.takes(task, precision) if take.prompt_id == prompt_id), None)


def read(models: dict[str, Any], after: str, folder: Path = BENCHMARKS) -> list[Result]:
    """One result for each selected model, in the order of params.yaml; an error where no model was measured at all."""
    results = [_of_what_is_there(read_one(key, model, after, folder / key), folder / key)
               for key, model in models.items()]  # fmt: skip
    if all(result.missing for result in results):
        key = next(iter(models), "MODEL")
        if stale := next((result.missing for result in results if result.record), None):
            raise ValueError(stale)
        raise FileNotFoundError(
            f"{folder} has figures of none of {', '.join(models)}: {remedy(folder, f'benchmark@{key}')}"
        )
    return results


def read_schemes(models: dict[str, Any], folder: Path = SCHEMES) -> list[Result]:
    """A result for each scheme that `python -m stages.schemes` measured, of the selected models."""
    found = []
    for key, model in models.items():
        rerun = f"python -m stages.schemes {key}"
        whole = _of_what_is_there(read_one(key, model, BEFORE, folder / key, rerun=rerun), folder / key, rerun)
        rows = {} if whole.missing else whole.record["precisions"]
        names = [name for name, row in rows.items() if name != BEFORE and row.get("scheme") != COPY]
        found += [replace(whole, after=name) for name in names if not whole.value(name, "skipped")]
    return found


def _of_what_is_there(result: Result, folder: Path, rerun: str = "") -> Result:
    """The result as missing where it was measured of other IRs, or by another CLIP model, than lie here."""
    sources = {name: ir(result.key, name) for name in dict.fromkeys((BEFORE, result.after))} | {"scorer": SCORER}
    rerun = rerun or f"benchmark@{result.key}"
    told = belonging.measured_other(folder / "record.json", result.record.get("inputs"), rerun=rerun, **sources)
    return replace(result, missing=result.missing or told, pictures=[] if told else result.pictures)


def read_one(key: str, model: Any, after: str, folder: Path, rerun: str = "") -> Result:
    rerun = rerun or f"benchmark@{key}"
    record = read_json(folder / "record.json", rerun)
    missing = None if record else f"not measured: {remedy(folder / 'record.json', rerun)}"
    if record is not None:
        records.require_figures(record, folder / "record.json", rerun)
    images = folder / "images"
    entries = read_json(images / "images.json", rerun, list) if record else None
    return Result(
        key, model.title, model.role, model.base, model.family, model.licence, after, record or {},
        [read_picture(entry, images, rerun) for entry in entries or []], missing,
        read_json(folder / "metrics.json", rerun) or {},
    )  # fmt: skip


def read_picture(entry: dict[str, Any], folder: Path, rerun: str) -> Picture:
    names = ("task", "precision", "prompt_id", "prompt", "model", "file", "width", "height")
    entry = entry if isinstance(entry, dict) else {}
    kinds = {name: int if name in ("width", "height") else str for name in names}
    if absent := [name for name, kind in kinds.items() if not isinstance(entry.get(name), kind)]:
        raise ValueError(f"{folder / 'images.json'}: an entry lacks {', '.join(absent)}: {remedy(folder, rerun)}")
    fields = {name: entry[name] for name in names} | {"file": folder / manifest.safe_name(entry["file"])}
    return Picture(**fields, seconds=entry.get("seconds"), executed_steps=entry.get("executed_steps"), rerun=rerun)


def read_json(path: Path, rerun: str, kind: type = dict) -> Any:
    """None where there is no such file."""
    return records.read(path, rerun, kind) if path.is_file() else None


def floats_in(row: dict[str, Any] | None) -> str | None:
    """What a precision's floats were computed in, `bfloat16`, as its compiled UNet says (OpenVINO writes
    `<Type: 'bfloat16'>`); None where it was not run."""
    hint = ((row or {}).get("effective_properties") or {}).get("INFERENCE_PRECISION_HINT")
    return str(hint).removeprefix("<Type: '").removesuffix("'>") if hint else None


def prompts(results: list[Result]) -> dict[str, str]:
    """Text by identifier of every prompt that a picture was drawn from, in the order of drawing."""
    return {picture.prompt_id: picture.prompt for result in results for picture in result.pictures}


def largest(results: list[Result]) -> Result | None:
    """The measured base model with the largest UNet: what the others are distilled from."""
    sizes = {result.key: result.figure(BEFORE, "unet_size_mb") or 0 for result in bases(results)}
    return max(bases(results), key=lambda result: sizes[result.key], default=None)


def bases(results: list[Result]) -> list[Result]:
    return [result for result in results if result.role == "base" and not result.missing]


def few_step(results: list[Result]) -> list[Result]:
    """Models that need a handful of steps where the largest one takes more."""
    first = largest(results)
    if first is not None and (first.steps() or math.inf) <= FEW_STEPS:
        return []
    return [result for result in bases(results) if (result.steps() or math.inf) <= FEW_STEPS]


def image_time(result: Result | None, precision: str) -> float | None:
    return result.figure(precision, "image_s", "median") if result else None


def times_faster(result: Result, than: Result | None, precision: str) -> float | None:
    """How many times sooner a whole picture is finished than by another model at the same precision."""
    return ratio(image_time(than, precision), image_time(result, precision))


def ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
