"""Whether folders belong together: what one was made of, as its manifest says, is what lies in the other.

Consumes folders with their manifests; raises an error that says which folder is of what, and which command makes it
right. A folder that was published and fetched again is still the one that it was made of.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.files import layout, manifest, names

SHOWN = 8  # hexadecimal digits of a digest in an error
PUBLISHED = "publish"  # the stage of a folder that was handed on, whose own manifest is another one


def require(folder: Path, *, rerun: str, **sources: Path) -> None:
    """ValueError unless `folder` was made of just what lies in each of `sources`, by the name of the input.

    `require(calibration, rerun="calibrate@vega", ir=Path("artifacts/ir/vega/fp16"))`. `rerun` is a DVC target, or a
    whole command that begins with `python `.
    """
    if told := other(folder, rerun=rerun, **sources):
        raise ValueError(told)


def other(folder: Path, *, rerun: str, **sources: Path) -> str | None:
    """The same as a sentence; None where all belong together."""
    stated = made_of(manifest.read(folder, rerun=rerun))
    if stated is None:  # published before it was said
        return None
    for name, source in sources.items():
        if told := _other(f"{folder} was made", stated.get(name), source, rerun):
            return told
    return None


def measured_other(path: Path, inputs: dict[str, Any] | None, *, rerun: str, **sources: Path) -> str | None:
    """Why figures in `path`, which say what they were measured of, are not those of `sources`; None where they are.

    Sources that are not there, and figures of before they said so, are not judged.
    """
    for name, source in sources.items():
        if isinstance(inputs, dict) and name in inputs and (source / manifest.NAME).is_file():
            if told := _other(f"{path} was measured", inputs[name], source, rerun):
                return told
    return None


def require_model(folder: Path, model: str, *, rerun: str) -> None:
    """ValueError where the folder's manifest says that it is of another model; older ones say nothing of it."""
    said = manifest.read(folder, rerun=rerun)["facts"].get("model", model)
    if said != model:
        raise ValueError(f"{folder} is of the model {said!r}, not of {model!r}: {command(rerun)}")


def require_calibration(model: str, root: Path = Path(".")) -> dict[str, Any]:
    """The manifest of a model's calibration set, which must be of the FP16 IR that is there; of a refiner's of its
    base's too, where that is there."""
    folder, rerun = root / layout.calibration(model), f"calibrate@{model}"
    said = manifest.read(folder, rerun=rerun)
    sources = {"ir": root / layout.ir(model, layout.FP16)}
    if "base" in said["inputs"]:
        model_settings = said["settings"]["model"]
        base = model_settings.get("base") if isinstance(model_settings, dict) else None
        of_base = root / layout.ir(names.require(base, f"{folder / manifest.NAME}: the base"), layout.FP16)
        sources |= {"base": of_base} if (of_base / manifest.NAME).is_file() else {}
    require(folder, rerun=rerun, **sources)
    return said


def require_ir(model: str, precision: str, root: Path = Path(".")) -> None:
    """ValueError unless a model's IR is of that model, and a quantized one of the FP16 IR that is there."""
    folder, source = root / layout.ir(model, precision), root / layout.ir(model, layout.FP16)
    require_model(source, model, rerun=f"export@{model}")
    if precision != layout.FP16:
        require_model(folder, model, rerun=f"quantize@{model}")
        require(folder, rerun=f"quantize@{model}", ir=source)


def made_of(said: dict[str, Any]) -> dict[str, Any] | None:
    """Digests of what a folder was made of, by name, as its own stage said it before it was published."""
    inputs = said["facts"].get("made", {}).get("inputs") if said["stage"] == PUBLISHED else said["inputs"]
    return inputs if isinstance(inputs, dict) else None


def digests(folder: Path, *, rerun: str) -> set[str]:
    """What a folder may be known by: its manifest, and the one that it had before it was published."""
    said = manifest.read(folder, rerun=rerun)
    before = said["inputs"].get("ir") if said["stage"] == PUBLISHED else None
    return {manifest.digest(folder), *([before] if before else [])}


def command(rerun: str) -> str:
    return f"run '{rerun}'" if rerun.startswith("python ") else f"run 'dvc repro {rerun}'"


def _other(what: str, stated: Any, source: Path, rerun: str) -> str | None:
    if stated is None:
        return f"{what} of nobody knows what: its manifest does not name {source}; {command(rerun)}"
    here = digests(source, rerun=rerun)
    if stated in here:
        return None
    told = f"{str(stated)[:SHOWN]}..., and there lies {manifest.digest(source)[:SHOWN]}..."
    return f"{what} of another {source} than the one that is there ({told}): {command(rerun)}"
