"""FID of a benchmark's pictures: how far the features of all of them together lie from those of true pictures.

Consumes the settings of `fid`, the pictures of each precision as they were kept, and a statistics file or a folder of
true pictures; produces the entries of record.json, null with the reason where there are too few pictures. The distance
itself is stages.measurement.frechet's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.engines.engine import LOCAL, Engine, bar
from stages.files import layout, manifest
from stages.measurement import frechet, inception, moments, tasks
from stages.measurement.moments import Gaussian, Moments

if TYPE_CHECKING:
    from PIL.Image import Image

    from stages.measurement.kept import Kept
    from stages.measurement.tasks import Run
    from stages.settings.schema import Device, Fid

BATCH = 64  # pictures whose features are kept together
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
NULL = {"fid": None, "fid_rise": None}


@dataclass(frozen=True)
class Encoder:
    """What features are by: `digest` of its weights, `width` of the features, and how it is loaded."""

    digest: str
    width: int
    load: Callable[[], Any]

    @cached_property
    def loaded(self) -> Any:
        return self.load()


@dataclass(frozen=True)
class Yardstick:
    """`truth`: the statistics, or the pictures that they are to be made of; `least` pictures that a figure is told
    of: the covariance of fewer than there are features has no inverse, and a distance from it no meaning."""

    encoder: Encoder
    truth: Gaussian | list[Path]
    least: int

    @property
    def size(self) -> int | None:
        return len(self.truth) if isinstance(self.truth, list) else self.truth.count


def require(settings: Fid) -> None:
    """What is named is there, and a statistics file is one: in a moment, before anything is drawn."""
    if settings.features == "inception":
        inception.require(settings.weights or "")
    if settings.features != "none":
        truth(Path(settings.reference or ""))


def yardstick(settings: Fid, device: Device, engine: Engine = LOCAL) -> Yardstick | None:
    """None where no distance is asked for; ValueError where the statistics are of other features."""
    if settings.features == "none":
        return None
    require(settings)
    encoder = _inception(settings, device) if settings.features == "inception" else _scorer(device, engine)
    found = Yardstick(encoder, truth(Path(settings.reference or "")), max(settings.least or 0, encoder.width + 1))
    _require_fitting(found, settings)
    return found


def truth(reference: Path) -> Gaussian | list[Path]:
    """Of a statistics file or of a folder; of neither a FileNotFoundError."""
    if reference.is_dir():
        pictures = sorted(path for path in reference.iterdir() if path.suffix.lower() in SUFFIXES)
        if not pictures:
            raise FileNotFoundError(f"fid.reference '{reference}' holds no pictures ({', '.join(SUFFIXES)})")
        return pictures
    if not reference.is_file():
        raise FileNotFoundError(
            f"fid.reference '{reference}' is missing: put a statistics file (.npz with mu and sigma) there, name one "
            "or a folder of true pictures, or set fid=none"
        )
    return moments.read(reference)


def figures(
    found: Yardstick | None, settings: Fid, rows: dict[str, dict[str, Any]], runs: dict[str, list[Run]], kept: Kept
) -> dict[str, Any] | None:
    """`fid` and `fid_rise` (above FP16's) into the rows of all precisions; returned what they are of, None where no
    distance is asked for. `runs`: of the main task, as many of each precision."""
    for row in rows.values():
        row.update(NULL)
    if found is None:
        return None
    count = min(map(len, runs.values()), default=0)
    about = {
        "title": settings.title, "features": settings.features, "width": found.encoder.width,
        "encoder": found.encoder.digest, "reference": settings.reference, "reference_pictures": found.size,
        "licence": settings.licence, "pictures": count, "least": found.least, "why": None,
    }  # fmt: skip
    if count < found.least:
        return about | {"why": too_few(count, found)}
    sets = {
        name: np.concatenate(list(_features(found.encoder, name, tasks.pictures(mine), kept)))
        for name, mine in runs.items()
    }
    for name, (own, rise) in frechet.distances(sets, _gaussian(found, kept), layout.FP16).items():
        rows[name] |= {"fid": _rounded(own), "fid_rise": rise and _rounded(rise)}
    return about


def too_few(count: int, found: Yardstick) -> str:
    return (
        f"{count} pictures of each precision, at least {found.least} are needed with {found.encoder.width} features: "
        "raise benchmark.prompts, and benchmark.minutes (null: whatever it takes)"
    )


def _features(encoder: Encoder, name: str, pictures: Sequence[Image], kept: Kept) -> Iterator[np.ndarray]:
    """(n, d) of each batch, made now or before."""
    for start in bar(range(0, len(pictures), BATCH), desc=f"FID {name}", unit="batch"):
        batch = pictures[start : start + BATCH]

        def make(batch: Sequence[Image] = batch) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
            return {"features": encoder.loaded.picture_features(batch)}, {}

        arrays, _ = kept.arrays(f"fid/{encoder.digest[:12]}/{name}/{start}-{len(batch)}", make)
        yield arrays["features"]


def _gaussian(found: Yardstick, kept: Kept) -> Gaussian:
    """Of true pictures: read, or made of a folder's, one batch of pictures in memory at a time."""
    if isinstance(found.truth, Gaussian):
        return found.truth
    paths, encoder = found.truth, found.encoder

    def make() -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        sums = Moments()
        for start in bar(range(0, len(paths), BATCH), desc="FID reference", unit="batch"):
            sums.add(encoder.loaded.picture_features([_opened(path) for path in paths[start : start + BATCH]]))
        made = sums.gaussian()
        return {"mu": made.mu, "sigma": made.sigma}, {}

    arrays, _ = kept.arrays(f"fid/{encoder.digest[:12]}/reference/{_listed(paths)}", make)
    return Gaussian(arrays["mu"], arrays["sigma"], len(paths), encoder.digest)


def _opened(path: Path) -> Image:
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(path).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise ValueError(f"{path} is no picture that can be read: take it out of fid.reference") from error


def _listed(paths: list[Path]) -> str:
    """Another one for other files."""
    known = "".join(f"{path.name}\0{stat.st_size}\0{stat.st_mtime_ns}\n" for path in paths if (stat := path.stat()))
    return hashlib.sha256(known.encode()).hexdigest()[:12]


def _require_fitting(found: Yardstick, settings: Fid) -> None:
    width, true, what = found.encoder.width, found.truth, f"fid.reference {settings.reference!r}"
    if isinstance(true, Gaussian) and len(true.mu) != width:
        raise ValueError(f"{what} is of {len(true.mu)} features, {settings.features} has {width}")
    if isinstance(true, Gaussian) and true.encoder and true.encoder != found.encoder.digest:
        raise ValueError(f"{what} is of other weights than {settings.features} has here")
    if found.size is not None and found.size <= width:
        raise ValueError(f"{what} is of {found.size} pictures, {width} features need more")


def _inception(settings: Fid, device: Device) -> Encoder:
    path = inception.weights_file(settings.weights or "")
    inception.load(path)  # here, rather than after hours of drawing
    return Encoder(manifest.sha256(path), inception.WIDTH, lambda: inception.load(path, device.threads or None))


def _scorer(device: Device, engine: Engine) -> Encoder:
    from stages.measurement import encoding

    width = json.loads((layout.SCORER / "config.json").read_text(encoding="utf-8"))["projection_dim"]
    work = encoding.Encoding(layout.SCORER, device)
    return Encoder(scorer_digest(layout.SCORER), width, lambda: encoding.Encoder(engine, work))


def scorer_digest(folder: Path) -> str:
    """Of a CLIP's weights, whatever else lies beside them: what a statistics file of its features names."""
    files = manifest.read(folder, rerun="scorer")["files"]
    weights = [entry["sha256"] for name, entry in sorted(files.items()) if name.endswith(".safetensors")]
    return weights[0] if len(weights) == 1 else hashlib.sha256("".join(weights).encode()).hexdigest()


def _rounded(found: frechet.Distance) -> dict[str, Any]:
    return {name: value if name == "count" else round(value, 4) for name, value in asdict(found).items()}
