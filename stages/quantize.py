"""Stage `quantize`: the UNet of an FP16 pipeline becomes INT8, the rest of the pipeline stays as it is.

Consumes artifacts/ir/<model>/fp16 and artifacts/calibration/<model>; produces artifacts/ir/<model>/<quantization.name>,
a complete pipeline folder whose other files are hard links, with counts and sizes in its manifest. Runs no pipeline:
that the INT8 operations execute is shown by the benchmark.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.calibration import shards
from stages.cards import writing
from stages.files import belonging, layout, manifest, names, placing
from stages.ir import anatomy, runtime
from stages.machine import budget, memory, sizes, usage
from stages.quantization import schemes, statistics
from stages.settings import config
from stages.settings.schema import NEEDS_SAMPLES

if TYPE_CHECKING:
    from stages.settings.schema import Quantization

READS = ("quantization",)
UNET = Path("unet/openvino_model.xml")


def quantize(model: str, settings: Quantization, root: Path = Path("."), place: Path | None = None) -> dict:
    """Write artifacts/ir/<model>/<settings.name>, or the folder `place`, and return its manifest."""
    settings = schemes.settled(settings)
    source, target = root / layout.ir(model, layout.FP16), root / (place or layout.ir(model, settings.name))
    _check_name(settings.name)
    before = manifest.verify(source, rerun=f"export@{model}")
    belonging.require_ir(model, layout.FP16, root)
    samples = _samples(model, settings, root)
    inputs, described = _inputs(model, settings, root), config.as_dict(settings)
    with placing.unfinished(target, key(model, settings, root)) as kept, placing.whole(target) as folder:
        for name in before["files"]:
            if Path(name) not in (UNET, UNET.with_suffix(".bin")):
                placing.link(source / name, folder / name)
        allowed = for_role(before["settings"]["role"], settings)
        quantized = schemes.quantize_unet(source / UNET, folder / UNET, allowed, samples or (), kept)
        facts = _facts(source / UNET, folder / UNET) | manifest.origin(before) | {"quantized": quantized}
        facts |= _searched(folder / UNET.with_name(schemes.TABLE))
        facts |= {"precision": settings.name, "scheme": settings.scheme, "weights": settings.weights}
        facts |= {"weight_bits": weight_bits(settings)}
        facts |= {"samples": len(samples or ())}
        writing.complete(folder, stage="quantize", settings=described, facts=facts)
        return manifest.write(folder, stage="quantize", inputs=inputs, settings=described, facts=facts)


def key(model: str, settings: Quantization, root: Path = Path(".")) -> str:
    """What the manifest of these settings' IR says, made out of the present inputs."""
    return manifest.key("quantize", _inputs(model, settings, root), config.as_dict(schemes.settled(settings)))


def weight_bits(settings: Quantization) -> int | None:
    """Of the weights that INT8 activations are multiplied with: 7 where sums of products must fit 16 bits; None where
    activations stay float."""
    if settings.scheme not in NEEDS_SAMPLES:
        return None
    return 7 if settings.overflow_fix == "always" else 8


def for_role(role: str, settings: Quantization) -> Quantization:
    """The settings with what a search may give away in a model of this role."""
    if role != "refiner" or settings.search is None:
        return settings
    share = settings.search.refiner_float_share
    return replace(settings, search=replace(settings.search, max_float_share=share))


def _inputs(model: str, settings: Quantization, root: Path) -> dict[str, str]:
    found = {"ir": manifest.digest(root / layout.ir(model, layout.FP16))}
    found["code"] = manifest.code(Path(schemes.__file__).parent)  # what an older way half finished is not gone on with
    if settings.scheme in NEEDS_SAMPLES:
        found["calibration"] = manifest.digest(root / layout.calibration(model))
    return found


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, overrides = config.arguments("quantize", argv)
        settings = config.load(READS, model, overrides).quantization
        target = layout.ir(model, settings.name)
        needed = need(model, settings)  # first, as it looks at what is there
        about = {"scheme": settings.scheme, "key": key(model, settings)}
        with usage.recorded("quantize", model, needed, target, **about):
            facts = quantize(model, settings)["facts"]
        print(closing_line(model, facts))


def need(model: str, settings: Quantization) -> budget.Need:
    """What the UNet and the samples ask for."""
    manifest.read_whole(layout.ir(model, layout.FP16), rerun=f"export@{model}")
    found = sizes.of_ir(layout.ir(model, layout.FP16))
    if settings.scheme not in NEEDS_SAMPLES:
        return budget.compress(found)
    calibration = layout.calibration(model)
    recorded = manifest.read_whole(calibration, rerun=f"calibrate@{model}")["facts"]
    belonging.require_calibration(model)
    asked = memory.Request(recorded["largest_px"], shards.rows(calibration), statistics.floats())
    count = min(settings.samples, recorded["samples"])
    told = recorded.get("told", 0) * count // recorded["samples"]  # older calibrations did not say
    return budget.quantize(found, asked, count, settings, told)


class _Samples:
    """Recorded UNet inputs, read from their shards every time they are gone through, with a progress bar."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count
        self.extremes = shards.Extremes(folder, count)

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[runtime.Inputs]:
        from tqdm import tqdm

        samples = shards.load_samples(self.folder, self.count)
        return iter(tqdm(samples, total=self.count, desc="quantize", unit="sample", disable=None, leave=False))


def _samples(model: str, settings: Quantization, root: Path) -> _Samples | None:
    if settings.scheme not in NEEDS_SAMPLES:
        return None
    if settings.samples < 1:
        raise ValueError(f"quantization.samples must be >= 1 for scheme {settings.scheme!r}, got {settings.samples}")
    folder = root / layout.calibration(model)
    recorded = manifest.verify(folder, rerun=f"calibrate@{model}")["facts"]["samples"]
    belonging.require_calibration(model, root)
    return _Samples(folder, min(settings.samples, recorded))


def _facts(before: Path, after: Path) -> dict:
    float_mb, mb = anatomy.weights_mb(before), anatomy.weights_mb(after)
    return {
        "operations": anatomy.count_operations(runtime.read(after)),
        "unet_fp16_mb": float_mb,
        "unet_mb": mb,
        "unet_size_ratio": round(mb / float_mb, 4),
        "unet_graph_mb": anatomy.graph_mb(after),
    }


def _searched(table: Path) -> dict:
    """What a search came to; nothing where there was none."""
    if not table.is_file():
        return {"search": None}
    found = json.loads(table.read_text(encoding="utf-8"))
    return {"search": {name: value for name, value in found.items() if name != "units"}}


def closing_line(model: str, facts: dict) -> str:
    found = facts["search"]
    line = (
        f"quantize {model}: UNet weights {facts['unet_fp16_mb']:.2f} -> {facts['unet_mb']:.2f} MB "
        f"({facts['unet_size_ratio']:.3f} of FP16), {facts['operations']['fake_quantize']} FakeQuantize operations"
    )
    if found is None:
        return line
    line += f"; search: {found['before_sqnr_db']} -> {found['sqnr_db']} dB, {100 * found['float_share']:.1f} % float"
    line += f", {100 * found['twice_share']:.1f} % twice in INT8" if found["twice_share"] else ""
    if found["questions_left_out"]:
        line += "; its time was up: quantization.search.minutes"
    elif found["sqnr_db"] is not None and found["sqnr_db"] < found["asked_sqnr_db"]:
        line += f" ({found['asked_sqnr_db']:g} dB asked, but no more float than {100 * found['max_float_share']:g} %)"
    return line


def _check_name(name: str) -> None:
    if name.casefold() == layout.FP16 or not names.is_name(name):
        raise ValueError(
            f"quantization.name must be a folder name other than '{layout.FP16}', of {names.ALLOWED}, "
            f"got {names.shown(name)}"
        )


if __name__ == "__main__":
    main()
