"""IR folders as stages leave them, with noise in the place of weights: nothing runs, everything can be handed on.

`fake_ir(root, "mini-vega")` writes fp16 and int8 under root/artifacts/ir; `measured_ir` also the reports of a benchmark
that measured just these, and makes `root` a working directory for commands.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

from stages.cards import licences
from stages.files import layout, manifest, placing
from tests.fake_gates import judged_reports

UNET = "unet/openvino_model.bin"
INDEX = {
    "_class_name": "StableDiffusionXLPipeline", "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"], "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"], "force_zeros_for_empty_prompt": True,
}  # fmt: skip
DEFAULTS = {"text-to-image": {"num_inference_steps": 25, "guidance_scale": 5.0, "width": 64, "height": 64}}
SIZES = {"text_encoder/openvino_model.bin": 40_000, UNET: 300_000, "vae_decoder/openvino_model.bin": 20_000}


def fake_ir(root: Path, model: str, licence: str | None = "cc-by-sa-4.0", **facts: Any) -> dict[str, str]:
    """Digests of both folders by precision."""
    about = {"model": model, "title": model, "licence": licence, "sources": []} | facts
    fp16, int8 = (root / layout.ir(model, precision) for precision in ("fp16", "int8"))
    shutil.rmtree(fp16.parent, ignore_errors=True)
    write(fp16, {name: noise(f"{model} {name}", size) for name, size in SIZES.items()})
    licences.place(fp16, licence, [])
    manifest.write(fp16, stage="export", inputs={}, settings={"role": "base"}, facts=about | {"precision": "fp16"})
    for name in manifest.read(fp16, rerun="")["files"]:
        if name != UNET:
            placing.link(fp16 / name, int8 / name)
    write(int8, {UNET: noise(f"{model} int8", SIZES[UNET] // 2)})
    facts = about | {"precision": "int8", "scheme": "weights_first", "samples": 8, "search": None, "weights": "int8"}
    inputs = {"ir": manifest.digest(fp16)}
    manifest.write(
        int8, stage="quantize", inputs=inputs, settings={"name": "int8"}, facts=facts | {"unet_fp16_mb": 0.3}
    )
    return {"fp16": manifest.digest(fp16), "int8": manifest.digest(int8)}


def measured_ir(root: Path, model: str = "mini-vega", licence: str | None = "cc-by-sa-4.0", **broken: Any) -> Path:
    """`broken`: gates to break, as tests.fake_gates.record takes them."""
    judged_reports(root, (model,), **broken)
    measured(root, model, fake_ir(root, model, licence))
    return root


def measured(root: Path, model: str, digests: dict[str, str]) -> None:
    """Say of the benchmark that these are the IRs that it measured."""
    path = root / layout.benchmark(model) / "record.json"
    when = {"date": "2026-11-26", "commit": "dfcc46e", "project": None}
    found = {"inputs": digests, "measured": when, "doubts": []}
    path.write_text(json.dumps(json.loads(path.read_text()) | found))


def changed(root: Path, model: str) -> dict[str, str]:
    """Digests after a test has changed files of the INT8 folder, and the manifest knows it."""
    folders = {precision: root / layout.ir(model, precision) for precision in ("fp16", "int8")}
    said = manifest.read(folders["int8"], rerun="")
    manifest.write(folders["int8"], **{name: said[name] for name in ("stage", "inputs", "settings", "facts")})
    return {precision: manifest.digest(folder) for precision, folder in folders.items()}


def write(folder: Path, weights: dict[str, bytes]) -> None:
    small = {"model_index.json": json.dumps(INDEX), "generation_config.json": json.dumps(DEFAULTS)}
    small["scheduler/scheduler_config.json"] = json.dumps({"_class_name": "EulerDiscreteScheduler"})
    small |= {f"{Path(name).parent}/openvino_model.xml": f"<net name='{name}'/>" for name in SIZES}
    for name, content in small.items():
        if not (folder / name).exists():
            put(folder / name, content.encode())
    for name, content in weights.items():
        put(folder / name, content)


def put(path: Path, content: bytes) -> None:
    """Never through a hard link into another folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def noise(seed: str, size: int) -> bytes:
    return random.Random(seed).randbytes(size)
