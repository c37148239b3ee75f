"""A checkpoint to FP16 IR, all components: PocketXL's export against optimum-cli's, one after the other.

Consumes artifacts/checkpoints/<model>; produces proofs/results/convert.json: seconds and peak memory of both process
trees, sampled. Both write to this disk, to folders that are removed again; optimum's needs as much again for a moment.

    python -m proofs.convert synthetic-sdxl
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

from proofs import limit
from stages.files import manifest, placing
from stages.machine import description, sizes
from stages.settings import config

RESULTS = Path("proofs/results/convert.json")


def commands(checkpoint: Path, scratch: Path, role: str) -> dict[str, list[str]]:
    """The command line of each way, writing into `scratch`."""
    task = "image-to-image" if role == "refiner" else "text-to-image"
    ours = (
        "import sys; from pathlib import Path; from stages.export import export; "
        "from stages.settings.schema import Model, Sampler; model, sampler = map(object.__new__, (Model, Sampler)); "
        "vars(sampler).update(scheduler='EulerDiscreteScheduler', options={}, steps=25, guidance=5.0, width=1024, "
        "height=1024, negative_prompt='', high_noise_fraction=0.8); "
        "vars(model).update(title='SDXL', role=sys.argv[2], base='sdxl', tasks=['image-to-image'], sampler=sampler); "
        "export(sys.argv[1], model, Path(sys.argv[3]))"
    )
    (scratch / "ours/artifacts/checkpoints").mkdir(parents=True)
    (scratch / "ours/artifacts/checkpoints" / checkpoint.name).symlink_to(checkpoint.resolve())
    return {
        "PocketXL": ["python", "-c", ours, checkpoint.name, role, str(scratch / "ours")],
        "optimum-cli": [
            *("optimum-cli", "export", "openvino", "--model", str(checkpoint), "--task", task),
            *("--weight-format", "fp16", str(scratch / "optimum")),
        ],
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.convert", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    model = parser.parse_args(argv).model
    with config.main_guard():
        checkpoint = Path("artifacts/checkpoints") / model
        manifest.read(checkpoint, rerun=f"download@{model}")
        role = "refiner" if "text_encoder" not in sizes.of_checkpoint(checkpoint) else "base"
        found = {}
        with tempfile.TemporaryDirectory(dir="artifacts", prefix=".convert.partial-") as folder:
            scratch = Path(folder)
            for name, command in commands(checkpoint, scratch, role).items():
                found[name] = limit.run(description.memory_gb(), command)
                print(f"{name}: {found[name]}")
                for written in ("ours/artifacts/ir", "optimum"):
                    shutil.rmtree(scratch / written, ignore_errors=True)
        placing.write_text(
            RESULTS, json.dumps({"model": model, "machine": description.describe(), **found}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
