"""IR folders of the tiny random pipelines, exported once per test process: FP16 ones by the stage, INT8 ones by NNCF.

Produces `base`, `refiner`, `lcm` and `tiny-vae`, and the tiny CLIP as scorer, under one root, laid out as the
stages lay them out.
"""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

from stages.settings.schema import Clip, Device, Model, Sampler
from tests.tiny import SIZE_PX, tiny_checkpoint


def part(kind: type, **fields):
    """A section of the settings with these fields alone, as a stage gets it."""
    made = object.__new__(kind)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


CPU = part(Device, name="CPU", threads=0, inference_precision="f32", dynamic_quantization_group_size=0, decode="auto")
COLD = {"load": 1.0, "text_encoders": 0.1, "first_step": 0.3, "second_step": 0.1, "decode": 0.5}
FOOTPRINT = {"load_s": 1.0, "peak_rss_mb": 100.0, "cold_s": COLD | {"picture_of_two_steps": 2.0}}  # as one is measured


def sampler(scheduler: str = "EulerDiscreteScheduler", steps: int = 3, guidance: float = 5.0, **more) -> Sampler:
    """`high_noise_fraction` is a refiner's; bases do not read it."""
    how = {"options": {}, "width": SIZE_PX, "height": SIZE_PX, "negative_prompt": "", "high_noise_fraction": 0.8} | more
    return part(Sampler, scheduler=scheduler, steps=steps, guidance=guidance, **how)


def as_exported(role: str = "base", scheduler: str = "EulerDiscreteScheduler", **options) -> Model:
    """What the stage `export` is given of a model."""
    tasks = ["two-stage", "image-to-image"] if role == "refiner" else ["text-to-image", "image-to-image"]
    how = {"title": f"tiny {role}", "role": role, "base": "base", "tasks": tasks}
    return part(Model, **how, sampler=sampler(scheduler, options=options))


@functools.cache
def tiny_root() -> Path:
    """A root folder with artifacts/ir/<base | refiner | lcm | tiny-vae>/fp16."""
    from stages.export import export
    from stages.files import manifest

    root = Path(tempfile.mkdtemp(prefix="tiny-ir-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for kind in ("base", "refiner"):
        checkpoint = tiny_checkpoint(root / "artifacts/checkpoints" / kind, kind)
        manifest.write(checkpoint, stage="download", inputs={}, settings={})
        export(kind, as_exported(kind), root)
    _swap(root, "lcm", "unet", "lcm-unet")
    _swap(root, "tiny-vae", "vae", "tiny-vae")
    return root


def _swap(root: Path, model: str, folder: str, kind: str) -> None:
    """The pipeline of `base` with another UNet or VAE, which alone is converted anew."""
    from stages.checkpoints import assembling, components
    from stages.export import convert
    from stages.files import manifest
    from stages.settings.schema import Source, SwapSource

    checkpoint, target = root / "artifacts/checkpoints" / model, root / "artifacts/ir" / model / "fp16"
    swap = SwapSource("local", str(tiny_checkpoint(root / kind, kind)), None, None, None, None)
    parts = {"file": None, "tokenizers": None, "unet": None, "vae": None, "adapters": [], folder: swap}
    source = Source("local", None, str(root / "artifacts/checkpoints/base"), None, None, **parts)
    checkpoint.mkdir()
    assembling.assemble(source, checkpoint, root / "record.json")
    changed = [component for component in components.COMPONENTS if component.folder == folder]
    names = [component.name for component in changed]
    shutil.copytree(root / "artifacts/ir/base/fp16", target, ignore=shutil.ignore_patterns(*names))
    shutil.copyfile(checkpoint / components.INDEX, target / components.INDEX)
    for component in changed:
        convert(checkpoint, component, target / component.name)
    manifest.write(target, stage="export", inputs={}, settings={})


def tiny_ir(model: str) -> Path:
    return tiny_root() / "artifacts/ir" / model / "fp16"


@functools.cache
def tiny_int8(model: str) -> Path:
    """artifacts/ir/<model>/int8: the UNet's weights and activations in INT8, the rest copied."""
    import nncf
    import openvino as ov

    from stages.files import manifest
    from stages.generation import drawing, pipelines, recording

    source, target = tiny_ir(model), tiny_root() / "artifacts/ir" / model / "int8"
    shutil.copytree(source, target)
    task, given = ("two-stage", _half_finished()) if model == "refiner" else ("text-to-image", {})
    pipeline = pipelines.load(source, task, sampler(), CPU)
    with recording.recording(pipeline, lambda step: True) as points:
        drawing.generate(pipeline, "red", sampler(), 0, **given)
    unet = nncf.quantize(
        ov.Core().read_model(source / "unet/openvino_model.xml"), nncf.Dataset(points), subset_size=len(points)
    )
    ov.save_model(unet, target / "unet/openvino_model.xml")
    made_of = {"ir": manifest.digest(source)}
    manifest.write(target, stage="quantize", inputs=made_of, settings={}, facts={"scheme": "notebook"})
    return target


@functools.cache
def tiny_scorer() -> Path:
    """artifacts/scorer under the root."""
    from stages.scorer import scorer

    checkpoint = tiny_checkpoint(tiny_root() / "clip", "clip")
    source = {"kind": "local", "repo": str(checkpoint), "revision": None, "watch": str(checkpoint)}
    scorer(Clip(title="tiny CLIP", licence="MIT", **source), tiny_root())
    return tiny_root() / "artifacts/scorer"


def _half_finished() -> dict:
    import torch

    noise = torch.randn((1, 4, SIZE_PX // 2, SIZE_PX // 2), generator=torch.Generator().manual_seed(0))
    return {"image": noise, "denoising_start": 0.3}
