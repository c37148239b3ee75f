"""Stage `export`: a checkpoint becomes OpenVINO IR in FP16, one component at a time.

Consumes artifacts/checkpoints/<model>; produces artifacts/ir/<model>/fp16, a complete pipeline folder that
OVStableDiffusionXLPipeline and openvino.genai load as it is. Quantizes nothing: a part with 8-bit weights is an error.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from stages.cards import writing
from stages.checkpoints import components, defaults, repository, samplers, whole
from stages.checkpoints.components import Component
from stages.files import disk, layout, manifest, placing
from stages.ir import tokenizing, traceable
from stages.ir.converting import convert
from stages.machine import apart, budget, sizes, usage
from stages.settings import config

if TYPE_CHECKING:
    from stages.settings.schema import Model, Sampler

READS = (
    "model.{model}.title", "model.{model}.role", "model.{model}.base", "model.{model}.tasks", "model.{model}.sampler",
)  # fmt: skip
HEAVY_BYTES = 500_000_000  # weights above this are converted in a process of their own, which gives all memory back


def export(model: str, settings: Model, root: Path = Path(".")) -> dict:
    """Write artifacts/ir/<model>/fp16 and return its manifest; the role must be what the checkpoint is."""
    checkpoint = root / layout.checkpoint(model)
    source = manifest.verify(checkpoint, rerun=f"download@{model}")
    index = whole.check(checkpoint)
    _check_listed(checkpoint, index, source)
    _check_role(checkpoint, index, settings.role)
    target = root / layout.ir(model, layout.FP16)
    disk.require_space(target, needed=sum(file["size"] for file in source["files"].values()))
    with placing.whole(target) as folder:
        for component in _with_bar(_heavy_first(checkpoint, components.present(index))):
            _convert(checkpoint, component, folder / component.name)
        for name in components.tokenizers(index):
            tokenizing.write_tokenizer(checkpoint / name, folder / name)
        _copy_rest(checkpoint, index, settings.sampler, folder)
        defaults.write(settings, folder)
        facts = {"precision": layout.FP16, "model": model, "title": settings.title} | manifest.origin(source)
        said = {"stage": "export", "settings": config.as_dict(settings), "facts": facts}
        writing.complete(folder, **said)
        inputs, twins = {"checkpoint": manifest.digest(checkpoint)}, target.parent.parent.glob(f"*/{layout.FP16}")
        return manifest.write(folder, inputs=inputs, beside=sorted(twins), **said)


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, overrides = config.arguments("export", argv)
        settings = config.load(READS, model, overrides)
        need = budget.export(sizes.of_checkpoint(checkpoint_of(model)))
        with usage.recorded("export", model, need, layout.ir(model, layout.FP16)):
            files = export(model, settings.model)["files"]
        unet_mb = files["unet/openvino_model.bin"]["size"] / 1e6
        total_mb = sum(file["size"] for file in files.values()) / 1e6
        print(f"export {model}: FP16 IR of {total_mb:.1f} MB, of which the UNet {unet_mb:.1f} MB")


def checkpoint_of(model: str) -> Path:
    folder = layout.checkpoint(model)
    manifest.read_whole(folder, rerun=f"download@{model}")
    return folder


def _check_listed(checkpoint: Path, index: dict, source: dict) -> None:
    """What is read must be what was verified: a manifest does not reach into folders that are links."""
    for name in repository.select_pipeline(repository.names_below(checkpoint), None, components.parts(index)):
        if name not in source["files"]:
            raise ValueError(
                f"{checkpoint / name} is not in the manifest of its checkpoint: nothing may be added to one"
            )


def _check_role(checkpoint: Path, index: dict, role: str) -> None:
    found = "refiner" if traceable.time_ids(checkpoint) == 5 else "base"
    if found != role or components.role(index) != role:
        raise ValueError(
            f"model role is {role!r}, but {checkpoint} has {traceable.time_ids(checkpoint)} time ids and "
            f"requires_aesthetics_score {bool(index.get('requires_aesthetics_score'))}: that is a {found}"
        )


def _with_bar(parts: list[Component]) -> list[Component]:
    from tqdm import tqdm

    return tqdm(parts, desc="export", unit="component", disable=None, leave=False)


def _heavy_first(checkpoint: Path, parts: list[Component]) -> list[Component]:
    """What is converted apart comes first: this process is still small then, and both count."""
    return sorted(parts, key=lambda component: not _is_heavy(checkpoint, component))


def _is_heavy(checkpoint: Path, component: Component) -> bool:
    weights = (checkpoint / component.folder).glob("*.safetensors")
    return sum(path.stat().st_size for path in weights) > HEAVY_BYTES


def _convert(checkpoint: Path, component: Component, target: Path) -> None:
    if _is_heavy(checkpoint, component):
        apart.run(f"converting {component.name}", convert, checkpoint, component, target)
    else:
        convert(checkpoint, component, target)


def _copy_rest(checkpoint: Path, index: dict, sampler: Sampler, folder: Path) -> None:
    """Index and scheduler name the sampler that pictures will be measured with, not what the checkpoint came with."""
    index = index | {"scheduler": ["diffusers", sampler.scheduler]}
    (folder / components.INDEX).write_text(json.dumps(index, indent=2) + "\n")
    samplers.write(checkpoint, sampler, folder)
    for notice in (checkpoint / name for name in repository.TERMS):
        if notice.is_file():
            shutil.copyfile(notice, folder / notice.name)


if __name__ == "__main__":
    main()
