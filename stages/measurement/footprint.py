"""What an IR folder costs before it draws anything: seconds to load it and the peak memory of a process that runs it.

Consumes an IR folder, the shapes of one request per part and the device; a fresh process reads and compiles every
part with OpenVINO alone (no torch, no diffusers) and runs each once. The files are in the page cache by then, as
their manifest has just been checked. Measures no latency.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from stages.ir import runtime
from stages.machine import apart

if TYPE_CHECKING:
    from stages.settings.schema import Device

Shapes = dict[str, dict[str, list[int]]]  # part -> input -> shape


def measure(ir: Path, shapes: Shapes, device: dict[str, Any], in_turn: bool = False) -> dict[str, float | None]:
    """{"load_s", "peak_rss_mb"} of the IR folder in a process of its own; MB = 1e6 bytes.

    `in_turn`: with one part in memory at a time.
    """
    settings = device | {"in_turn": in_turn}
    command = [sys.executable, "-m", "stages.measurement.footprint", str(ir), json.dumps(shapes), json.dumps(settings)]
    killed_before = apart.killed_for_memory()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode < 0:
        raise ValueError(f"the process loading {ir} {apart.ended(done.returncode, killed_before)}")
    if done.returncode:
        raise ValueError(f"{ir} does not load: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def text_shapes(ir: Path) -> Shapes:
    """Shapes of a request to each text encoder of an IR folder: as many tokens as its tokenizer makes."""
    shapes: Shapes = {}
    for part, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        if (ir / part).is_dir():
            tokens = json.loads((ir / tokenizer / "tokenizer_config.json").read_text())["model_max_length"]
            shapes[part] = {"input_ids": [1, tokens]}
    return shapes


def load_and_run(ir: Path, shapes: Shapes, device: Device, in_turn: bool = False) -> dict[str, float | None]:
    """All parts compiled, and each run once on zeros: side by side as a pipeline holds them, or one after the other."""
    if in_turn:
        load_s = sum(_load_and_run(ir, {part: inputs}, device) for part, inputs in shapes.items())
    else:
        load_s = _load_and_run(ir, shapes, device)
    return {"load_s": round(load_s, 3), "peak_rss_mb": peak_rss_mb()}


def _load_and_run(ir: Path, shapes: Shapes, device: Device) -> float:
    """Seconds to compile these parts; they are gone afterwards."""
    import numpy as np

    start = time.perf_counter()
    compiled = {part: runtime.compile(ir / part / "openvino_model.xml", device) for part in shapes}
    load_s = time.perf_counter() - start
    for part, model in compiled.items():
        types = {name: port.get_element_type().to_dtype() for port in model.inputs for name in port.get_names()}
        model({name: np.zeros(shape, types[name]) for name, shape in shapes[part].items()})
    return load_s


def peak_rss_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Peak resident memory of this process since it began its program; None where the system does not tell.

    Not getrusage's figure, which a child inherits from the parent that started it.
    """
    if not status.is_file():
        return None
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
    return round(int(line.split()[1]) * 1024 / 1e6, 1) if line else None


if __name__ == "__main__":
    folder, shapes, device = sys.argv[1:]
    settings = SimpleNamespace(**json.loads(device))
    print(json.dumps(load_and_run(Path(folder), json.loads(shapes), settings, settings.in_turn)))
