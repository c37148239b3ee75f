"""A command, not a stage: what the family takes at its true size on this machine, FP16 beside INT8, before a download.

Consumes the architectures of conf/family/synthetic.yaml, filled with random weights; produces reports/true-size.json
and a table. One model after the other is built, exported, quantized without a search and measured, part by part, in a
folder of its own that is gone afterwards. No picture is drawn and nothing is compared but time, memory and size.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stages import download, export, quantize
from stages.calibration import drafts, shards
from stages.files import layout, manifest, placing
from stages.ir import anatomy, runtime
from stages.machine import apart, budget, description, memory, sizes, usage
from stages.measurement import footprint, latency
from stages.report import true_size as table
from stages.settings import composing, config
from stages.settings.schema import LATENT_PX

if TYPE_CHECKING:
    import openvino as ov

READS = ("model", "quantization", "device")
PLACE = Path("artifacts/true-size")
MODELS = ("synthetic-sdxl", "synthetic-sdxl-refiner", "synthetic-ssd-1b", "synthetic-vega", "synthetic-vegart")
LIKE = {"synthetic-vegart": "synthetic-vega"}  # the same UNet, without guidance: no second one is built
OVERRIDES = ("family=synthetic", f"model=[{','.join(MODELS)}]", "quantization=int8-quick", "quantization.samples=1")
TURNS, WARMUP = 5, 1
TOKENS = 77
UNET = "unet/openvino_model.xml"


@dataclass(frozen=True)
class Case:
    """A UNet as its sampler calls it: latents a side, rows, and how many steps a picture takes of it."""

    side: int
    rows: int
    steps: int


def true_size(settings: Any, root: Path = PLACE) -> dict[str, Any]:
    """Build and measure every model; what is returned stands in reports/true-size.json too."""
    found: dict[str, Any] = {"machine": description.describe(), "floats": memory.floats(settings.device), "rows": []}
    built = [key for key in settings.models if key not in LIKE]
    with latency.disturbance(description.load_average()) as noise:
        for number, key in enumerate(built, 1):
            start = time.perf_counter()
            print(f"[{number} of {len(built)}] {key}: built with random weights, then measured", flush=True)
            build(key, settings, root)
            for mine in (name for name in settings.models if LIKE.get(name, name) == key):
                found["rows"].append(measure(mine, key, settings, root))
                print("  " + table.line(found["rows"][-1]), flush=True)
                placing.write_text(layout.TRUE_SIZE, json.dumps(found, indent=1) + "\n")  # a killed run's rows stay
            shutil.rmtree(root)
            print(f"  {usage.duration(time.perf_counter() - start)}", flush=True)
    found |= {"noise": noise}
    placing.write_text(layout.TRUE_SIZE, json.dumps(found, indent=1) + "\n")
    return found


def build(key: str, settings: Any, root: Path) -> None:
    """FP16 and INT8 IR of one model under `root`."""
    model = settings.models[key]
    budget.require(budget.export(sizes.of_source(model.source)), f"true-size {key}", root)
    download.download(key, model.source, model.licence, root)
    export.export(key, model, root)
    shutil.rmtree(root / layout.checkpoint(key))
    samples = root / layout.calibration(key)
    with placing.whole(samples) as folder:
        unet = runtime.read(root / layout.ir(key, layout.FP16) / UNET)
        shards.save_shard(shards.shard_path(folder, 0), [random_inputs(unet, case(model))], {"prompt": "noise"})
        manifest.write(folder, stage="calibrate", inputs={}, settings={}, facts={"samples": 1})
    quantize.quantize(key, settings.quantization, root)


def case(model: Any) -> Case:
    sampler = model.sampler
    steps = drafts.own_part(sampler) if model.role == "refiner" else sampler.steps
    return Case(sampler.height // LATENT_PX, 2 if sampler.guidance > 1 else 1, steps)


def random_inputs(unet: ov.Model, asked: Case) -> runtime.Inputs:
    """Noise of the shapes that the UNet is called with."""
    random, inputs = np.random.default_rng(0), {}
    for port in unet.inputs:
        name = port.get_any_name()
        shape = [side.get_length() if side.is_static else 0 for side in port.partial_shape]
        known = {"sample": [asked.rows, 4, asked.side, asked.side], "timestep": [1]}
        wanted = known.get(name, [asked.rows, *(side or TOKENS for side in shape[1:])])
        inputs[name] = random.standard_normal(wanted, dtype=np.float32)
    return inputs | {"timestep": np.array([500.0], np.float32)}


def measure(key: str, like: str, settings: Any, root: Path) -> dict[str, Any]:
    """The row of one model, measured on the IR of `like`."""
    model, names = settings.models[key], (layout.FP16, settings.quantization.name)
    folders = {name: root / layout.ir(like, name) for name in names}
    asked, device = case(model), config.as_dict(settings.device)
    row: dict[str, Any] = {"key": key, "title": model.title, "size_px": model.sampler.width, "steps": asked.steps}
    row |= {"role": model.role, "rows": asked.rows, "parameters": sizes.total(sizes.of_ir(folders[layout.FP16]))}
    shapes = part_shapes(folders[layout.FP16], asked)
    for name, folder in folders.items():
        loaded = footprint.measure(folder, shapes, device)
        row[name] = {"unet_mb": anatomy.weights_mb(folder / UNET)} | loaded
    seconds = apart.run("measuring", part_seconds, folders, shapes, asked, settings.device)
    for name in names:
        row[name]["step_s"] = latency.latency(seconds.pop(name))
    ratio = latency.speedup(row[layout.FP16]["step_s"]["raw"], row[names[1]]["step_s"]["raw"])
    return row | {"speedup_step": ratio, "parts_s": {part: latency.latency(raw) for part, raw in seconds.items()}}


def part_shapes(folder: Path, asked: Case) -> footprint.Shapes:
    """Shapes of one request to every part that drawing from a text calls."""
    unet = random_inputs(runtime.read(folder / UNET), asked)
    shapes = {"unet": {name: list(array.shape) for name, array in unet.items()}}
    shapes |= footprint.text_shapes(folder)
    return shapes | {"vae_decoder": {"latent_sample": [1, 4, asked.side, asked.side]}}


def part_seconds(
    folders: dict[str, Path], shapes: footprint.Shapes, asked: Case, device: Any
) -> dict[str, list[float]]:
    """Seconds of UNet steps by precision, in turns, and of the parts that both share."""
    plain = folders[layout.FP16]
    inputs = random_inputs(runtime.read(plain / UNET), asked)
    steps = {name: runtime.compile(folder / UNET, device) for name, folder in folders.items()}
    calls = {name: lambda unet=unet: unet(inputs, share_inputs=True) for name, unet in steps.items()}
    found = latency.interleaved(calls, repetitions=TURNS, warmup=WARMUP)
    del steps, calls
    for part in (part for part in shapes if part != "unet"):
        compiled = runtime.compile(plain / part / "openvino_model.xml", device)
        types = {name: port.get_element_type().to_dtype() for port in compiled.inputs for name in port.get_names()}
        given = {name: np.ones(shape, types[name]) for name, shape in shapes[part].items()}
        call = {part: lambda model=compiled, given=given: model(given, share_inputs=True)}
        found |= latency.interleaved(call, repetitions=TURNS, warmup=WARMUP)
    return found


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        settings = composing.composed(READS, [*OVERRIDES, *(sys.argv[1:] if argv is None else argv)])
        print(table.terminal(true_size(settings)))


if __name__ == "__main__":
    main()
