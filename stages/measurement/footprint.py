"""What an IR folder costs at first: seconds to load it, of every part's first call, and a process's peak memory.

Consumes an IR folder, the shapes of one request per part and the device; a fresh process reads and compiles every
part with OpenVINO alone (no torch, no diffusers) and runs each once, the UNet twice. The files are in the page cache by
then, as their manifest has just been checked; what OpenVINO may keep of compiled models (CACHE_DIR) is not in use, so
that each compiles anew. Each figure is of one process, once: how far they scatter, several tell (proofs/repeat.py).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from stages.endings import parent
from stages.ir import runtime
from stages.machine import apart

if TYPE_CHECKING:
    from stages.settings.schema import Device

Shapes = dict[str, dict[str, list[int]]]  # part -> input -> shape
Calls = dict[str, list[float]]  # part -> seconds of its first call, and of later ones
TEXT = ("text_encoder", "text_encoder_2")


def measure(ir: Path, shapes: Shapes, device: dict[str, Any], in_turn: bool = False) -> dict[str, Any]:
    """{"load_s", "peak_rss_mb", "cold_s"} of the IR folder in a process of its own; MB = 1e6 bytes.

    `in_turn`: with one part in memory at a time.
    """
    settings = device | {"in_turn": in_turn}
    command = [sys.executable, "-m", "stages.measurement.footprint", str(ir), json.dumps(shapes), json.dumps(settings)]
    killed_before = apart.killed_for_memory()
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode < 0:
        raise apart.Ended(f"the process loading {ir} {apart.ended(done.returncode, killed_before)}")
    if done.returncode:
        raise ValueError(f"{ir} does not load: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def text_shapes(ir: Path) -> Shapes:
    """Shapes of a request to each text encoder of an IR folder: as many tokens as its tokenizer makes."""
    shapes: Shapes = {}
    for part, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        if (ir / part).is_dir():
            tokens = json.loads((ir / tokenizer / "tokenizer_config.json").read_text(encoding="utf-8"))[
                "model_max_length"
            ]
            shapes[part] = {"input_ids": [1, tokens]}
    return shapes


def load_and_run(ir: Path, shapes: Shapes, device: Device, in_turn: bool = False) -> dict[str, Any]:
    """All parts compiled, and each run on zeros: side by side as a pipeline holds them, or one after the other."""
    groups = [{part: inputs} for part, inputs in shapes.items()] if in_turn else [shapes]
    load_s, calls = 0.0, {}
    for group in groups:
        seconds, own = _load_and_run(ir, group, device)
        load_s, calls = load_s + seconds, calls | own
    return {"load_s": round(load_s, 3), "peak_rss_mb": peak_rss_mb(), "cold_s": cold(load_s, calls)}


def cold(load_s: float, calls: Calls) -> dict[str, float | None]:
    """Seconds from nothing: to load and compile all parts, then each part's first call, in which its kernels are chosen
    and its weights laid out; `second_step` is what the first one would have been without that.

    `picture_of_two_steps` is their sum. The text encoders are called once: the negative prompt is not among it. Nor is
    what a pipeline does between its parts, or the import of torch and diffusers.
    """
    unet = calls.get("unet", [])
    found = {
        "load": load_s,
        "text_encoders": sum(calls[part][0] for part in TEXT if part in calls),
        "first_step": unet[0] if unet else None,
        "second_step": unet[1] if unet else None,
        "decode": calls["vae_decoder"][0] if "vae_decoder" in calls else None,
    }
    whole = sum(found.values()) if None not in found.values() else None
    return {
        name: None if value is None else round(value, 4)
        for name, value in (found | {"picture_of_two_steps": whole}).items()
    }


def with_picture(cold_s: dict[str, float | None], steps: int) -> dict[str, float | None]:
    """The same with `picture`: seconds from nothing to a picture of so many steps, all but two of which are not run but
    reckoned as the second one. At SDXL's true size a whole one takes minutes.

    >>> with_picture({"picture_of_two_steps": 5.0, "second_step": 0.5}, steps=4)["picture"]
    6.0
    """
    two, step = cold_s["picture_of_two_steps"], cold_s["second_step"]
    return cold_s | {"picture": None if two is None else round(two + (steps - 2) * step, 4)}


def _load_and_run(ir: Path, shapes: Shapes, device: Device) -> tuple[float, Calls]:
    """Seconds to compile these parts, and of their calls; they are gone afterwards."""
    import numpy as np

    start = time.perf_counter()
    compiled = {part: runtime.compile(ir / part / "openvino_model.xml", device) for part in shapes}
    load_s = time.perf_counter() - start
    calls: Calls = {}
    for part, model in compiled.items():
        types = {name: port.get_element_type().to_dtype() for port in model.inputs for name in port.get_names()}
        zeros = {name: np.zeros(shape, types[name]) for name, shape in shapes[part].items()}
        for _ in range(2 if part == "unet" else 1):
            start = time.perf_counter()
            model(zeros)
            calls.setdefault(part, []).append(time.perf_counter() - start)
    return load_s, calls


def peak_rss_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Peak resident memory of this process since it began its program; None where the system does not tell.

    Not getrusage's figure, which a child inherits from the parent that started it.
    """
    if not status.is_file():
        return None
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
    return round(int(line.split()[1]) * 1024 / 1e6, 1) if line else None


if __name__ == "__main__":
    parent.end_with_parent()
    folder, shapes, device = sys.argv[1:]
    settings = SimpleNamespace(**json.loads(device))
    print(json.dumps(load_and_run(Path(folder), json.loads(shapes), settings, settings.in_turn)))
