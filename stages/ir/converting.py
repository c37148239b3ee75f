"""One component of a checkpoint as an IR with its configuration, as pipelines look for both.

Consumes a checkpoint folder in diffusers layout, or as much of it as holds the component; produces a folder of three
files. Quantizes nothing, and lets nothing through that is.
"""

from __future__ import annotations

import json
from pathlib import Path

from stages.checkpoints import components
from stages.checkpoints.components import Component
from stages.ir import tracing


def convert(checkpoint: Path, component: Component, target: Path) -> None:
    """One component's IR and its configuration, written to the folder `target`."""
    tracing.write_ir(checkpoint, component, target / "openvino_model.xml")
    tracing.check_not_quantized(target / "openvino_model.xml")
    settings = components.read_json(checkpoint / component.folder / "config.json")
    settings.pop("_name_or_path", None)  # where someone trained it
    if component.folder == "vae":
        settings = components.vae_config(settings)
    if component.name == "unet":
        settings.setdefault("time_cond_proj_dim", None)  # optimum asks for it, old checkpoints lack it
    (target / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
