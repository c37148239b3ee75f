"""One way to quantize a UNet, without a budget's refusal: what the reference needs is to be seen, not foretold.

Consumes artifacts/ir/<model>/fp16 and artifacts/calibration/<model>; writes into a folder that is removed again.

    python -m proofs.limit 24 "SDXL, nncf.quantize" python -m proofs.quantize synthetic-sdxl int8-notebook 8
    python -m proofs.limit 8 "SDXL, weights first" python -m proofs.quantize synthetic-sdxl int8 8
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from stages.calibration import shards
from stages.files import manifest
from stages.quantization import schemes
from stages.quantize import for_role
from stages.settings import composing


class Samples:
    """Recorded UNet inputs, gone through more than once."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count, self.extremes = folder, count, shards.Extremes(folder, count)

    def __iter__(self):
        return shards.load_samples(self.folder, self.count)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.quantize", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("scheme", help="a file of conf/quantization: int8, int8-notebook, int8-hybrid")
    parser.add_argument("samples", type=int)
    given = parser.parse_args(argv)
    settings = composing.composed(
        ("quantization",), [f"quantization={given.scheme}", f"quantization.samples={given.samples}"]
    )
    source = Path("artifacts/ir") / given.model / "fp16/unet/openvino_model.xml"
    role = manifest.read(source.parents[1], rerun=f"export@{given.model}")["settings"]["role"]
    samples = Samples(Path("artifacts/calibration") / given.model, given.samples)
    with tempfile.TemporaryDirectory(dir="artifacts", prefix=".quantize.partial-") as scratch:
        target = Path(scratch) / "unet/openvino_model.xml"
        allowed = for_role(role, settings.quantization)
        schemes.quantize_unet(source, target, allowed, samples, Path(scratch) / "kept")


if __name__ == "__main__":
    main()
