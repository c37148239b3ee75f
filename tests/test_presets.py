"""Every model file of the Hub family runs: downloaded, swapped and fused as it says, exported, drawn with its sampler.

A Hub on the loopback serves tiny random parts under the repositories, revisions and file names of conf/model; only the
pictures' size is not the file's.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stages.download import download
from stages.export import export
from stages.generation import drawing, pipelines
from stages.settings import composing
from tests.hub_server import HubServer
from tests.tiny import KINDS, SIZE_PX, tiny_checkpoint
from tests.tiny_ir import CPU

ROOT = Path(__file__).parents[1]
FILES = [yaml.safe_load(path.read_text()) for path in sorted((ROOT / "conf/model").glob("*.yaml"))]
PRESETS = {key: model for file in FILES for key, model in file.items() if model["family"] == "hub"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("parts")
    return {kind: tiny_checkpoint(root / kind, kind) for kind in KINDS}


def repositories(model: dict[str, Any], parts: dict[str, Path], root: Path) -> dict[str, tuple[Path, str]]:
    """Folder and revision by repository name, laid out as the model's source expects them."""
    source, found = model["source"], {}
    kinds = {"unet": parts["lcm-unet"], "vae": parts["tiny-vae"]}
    if source["vae"] and "tae" not in source["vae"]["repo"]:
        kinds["vae"] = parts["base"] / "vae"
    wanted = [(source, parts["refiner" if model["role"] == "refiner" else "base"])]
    wanted += [(source[part], folder) for part, folder in kinds.items() if source[part]]
    for entry, folder in wanted:
        target = shutil.copytree(folder, root / entry["repo"])
        for path in target.rglob("*.safetensors") if entry["variant"] else ():
            path.rename(path.with_name(path.name.replace(".safetensors", f".{entry['variant']}.safetensors")))
        found[entry["repo"]] = (target, entry["revision"])
    for adapter in source["adapters"]:
        target = root / adapter["repo"]
        target.mkdir(parents=True)
        shutil.copyfile(next(parts["lora"].glob("*.safetensors")), target / adapter["file"])
        found[adapter["repo"]] = (target, adapter["revision"])
    return found


@pytest.mark.parametrize("key", PRESETS)
def test_a_shipped_model_file_runs(key: str, parts: dict[str, Path], tmp_path: Path, monkeypatch) -> None:
    base = PRESETS[key]["base"]
    selected = ",".join(dict.fromkeys((base, key)))
    model = composing.composed(("model",), ["family=hub", f"model=[{selected}]"]).models[key]
    served = repositories(PRESETS[key], parts, tmp_path / "hub")
    with HubServer({repo: folder for repo, (folder, _) in served.items()}) as hub:
        hub.commits |= {repo: at for repo, (_, at) in served.items() if re.fullmatch(r"[0-9a-f]{40}", at)}
        hub.stand_in(monkeypatch, tmp_path / "cache")
        written = download(key, model.source, model.licence, tmp_path)
    for adapter in model.source.adapters:
        assert f"{adapter.repo}/{adapter.file}" in written["inputs"]
    export(key, model, tmp_path)
    folder = tmp_path / "artifacts/ir" / key / "fp16"
    assert json.loads((folder / "model_index.json").read_text())["scheduler"] == ["diffusers", model.sampler.scheduler]
    model.sampler.width, model.sampler.height = SIZE_PX, SIZE_PX
    if model.role == "refiner":
        pipeline = pipelines.load(folder, "two-stage", model.sampler, CPU)
        start = np.random.default_rng(0).standard_normal((1, 4, SIZE_PX // 2, SIZE_PX // 2), dtype=np.float32)
        given = {"image": _tensor(start), "denoising_start": model.sampler.high_noise_fraction}
    else:
        pipeline, given = pipelines.load(folder, "text-to-image", model.sampler, CPU), {}
    picture = drawing.generate(pipeline, "a red cat", model.sampler, 1, **given)
    assert picture.size == (SIZE_PX, SIZE_PX) and np.asarray(picture).std() > 0
    own = drawing.executed_steps(pipeline)
    assert own == model.sampler.steps if model.role == "base" else 0 < own < model.sampler.steps


def _tensor(array: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(array)
