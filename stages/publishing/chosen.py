"""What is to be published: an IR folder, what its manifest says, and what was measured of it.

Consumes a model's key, a precision and the settings; produces a `Chosen`, whose files are as the manifest says. Judges
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stages.files import layout, manifest, names
from stages.files.layout import FP16
from stages.report import results
from stages.report.results import Result


@dataclass(frozen=True)
class Chosen:
    model: str
    precision: str
    result: Result  # `missing` says why there are no figures
    made: dict[str, Any]  # the manifest

    def __str__(self) -> str:
        return f"{self.model} {self.precision}"

    @property
    def folder(self) -> Path:
        return layout.ir(self.model, self.precision)

    @property
    def licence(self) -> str | None:
        return self.made["facts"].get("licence")

    @property
    def is_measured(self) -> bool:
        return not self.result.missing and self.precision in self.result.record["precisions"]


def read(model: str, precision: str, settings: Any) -> Chosen:
    """Raises ValueError or FileNotFoundError where a file is missing, of another size or of other contents."""
    _check_name(model, precision)
    rerun = stage_of(model, precision, settings.quantization.name)
    made = manifest.verify(layout.ir(model, precision), rerun=rerun)
    after = settings.quantization.name if precision == FP16 else precision
    result = results.read_one(model, settings.models[model], after, layout.benchmark(model))
    return Chosen(model, precision, replace(result, after=after), made)


def _check_name(model: str, precision: str) -> None:
    names.require(model, "model")
    if not names.is_name(precision):
        folder = layout.ir(model, FP16).parent
        known = ", ".join(sorted(path.name for path in folder.glob("[!.]*") if path.is_dir()))
        raise ValueError(f"{names.shown(precision)} is no precision; in {folder} there is: {known or 'nothing yet'}")


def stage_of(model: str, precision: str, selected: str) -> str:
    """What makes an IR folder: a stage, or, of a scheme that is not selected, a command."""
    if precision == FP16:
        return f"export@{model}"
    return f"quantize@{model}" if precision == selected else f"python -m stages.schemes {model} {precision}"
