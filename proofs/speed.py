"""How fast pictures get, and what each thing that is spared gains: figures of `stages.speed` put on the page.

Consumes reports/speed/<model>/figures.json, as `python -m stages.speed MODEL all` leaves them, of one machine; adds to
proofs/results/speed.json. For times that are compared between models run these commands one after the other.

    python -m proofs.speed synthetic-sdxl synthetic-vegart mini-sdxl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from stages.files import layout, placing

RESULTS = Path("proofs/results/speed.json")
KEPT = ("name", "precision", "sampler", "unet_rows", "outer_rows", "psnr_db", "ssim", "clip_score",
        "clip_drop_percent", "verdict", "reason")  # fmt: skip


def kept(model: str) -> dict:
    """What the page tells of a model's figures."""
    found = json.loads((layout.speed(model) / "figures.json").read_text())
    rows = [
        {name: row[name] for name in KEPT}
        | {"picture_s": {name: row["picture_s"][name] for name in ("median", "n")}, "speed": row["speed"]}
        for row in found["rows"]
    ]
    about = ("title", "machine", "floats", "size_px", "prompts", "random_weights")
    return {name: found[name] for name in about} | {"busy": found["noise"]["flagged"], "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.speed", description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+")
    found = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
    for model in parser.parse_args().models:
        found[model] = kept(model)
    placing.write_text(RESULTS, json.dumps(found, indent=1) + "\n")
    print(f"{RESULTS}: {', '.join(found)}")


if __name__ == "__main__":
    main()
