"""The pipeline: stages read exactly the params and depend on exactly the code that dvc.yaml declares for them."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.lib import config

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = list(PIPELINE["stages"])
ONLY_SETTINGS = {f"stages/lib/{name}.py" for name in ("config", "checks", "schema")}  # params track what these pass on
# Forecasts and room in memory: what they decide depends on the machine anyway, and is recorded.
ONLY_MEMORY = {f"stages/lib/{name}.py" for name in ("budget", "fitting", "residency", "sizes", "usage")}
HEAVY = {"datasets", "diffusers", "dvc", "hydra", "matplotlib", "nncf", "openvino", "optimum", "torch", "transformers"}


def entry(stage: str) -> dict:
    return PIPELINE["stages"][stage].get("do", PIPELINE["stages"][stage])


def names(items: list) -> list[str]:
    """Entries of a list in dvc.yaml, each a name or {name: options}."""
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_exactly_the_params_of_its_entry(stage: str) -> None:
    declared = [key.replace("${key}", "{model}") for key in entry(stage).get("params", [])]
    assert set(importlib.import_module(f"stages.{stage}").READS) == set(declared)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != "machine"])
def test_what_a_stage_loads_is_what_dvc_tracks(stage: str) -> None:
    import dvc.api

    model = None if stage in config.STAGES_FOR_ALL else "mini-vega"
    reads = importlib.import_module(f"stages.{stage}").READS
    loaded = config.as_dict(config.load(reads, model, [], ROOT / "params.yaml"))
    loaded.pop("model_key")
    if "model" in loaded:
        loaded["model"] = {model: loaded["model"]}
    if "models" in loaded:
        loaded["model"] = loaded.pop("models")
    tracked = dvc.api.params_show(repo=str(ROOT), stages=f"{stage}@{model}" if model else stage)
    assert loaded == tracked


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_imports(stage: str) -> None:
    if stage == "machine":
        assert entry(stage)["always_changed"]
        return
    declared = {path for path in names(entry(stage)["deps"]) if path.startswith("stages/") and path.endswith(".py")}
    assert sorted(imported(f"stages/{stage}.py") - ONLY_SETTINGS) == sorted(declared)


def imported(path: str) -> set[str]:
    """Modules of this project that a module reaches through imports, itself included; those for typing left out."""
    found, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        if current in found | ONLY_MEMORY or not (ROOT / current).is_file():
            continue
        found.add(current)
        waiting += [f"{name.replace('.', '/')}.py" for name in _imports(ast.parse((ROOT / current).read_text()))]
    return found


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        return []
    here: list[str] = []
    if isinstance(node, ast.Import):
        here = [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        here = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in here if name.startswith("stages.")] + [
        name for child in ast.iter_child_nodes(node) for name in _imports(child)
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_imports_nothing_heavy_before_it_starts(stage: str) -> None:
    code = f"import sys, stages.{stage}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_runs_the_module_of_its_name(stage: str) -> None:
    model = "" if stage in config.STAGES_FOR_ALL else " ${key}"
    assert entry(stage)["cmd"] == f"python -m stages.{stage}{model}"
    module = importlib.import_module(f"stages.{stage}")
    assert callable(getattr(module, stage)) and callable(module.main)


def test_code_named_in_the_pipeline_exists() -> None:
    code = {path for stage in STAGES for path in names(entry(stage).get("deps", [])) if path.startswith("stages/")}
    assert [path for path in sorted(code) if not (ROOT / path).exists()] == []


def test_folders_of_dvc_are_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for stage in STAGES:
        for output in entry(stage)["outs"]:
            name, options = next(iter(output.items())) if isinstance(output, dict) else (output, {})
            if options.get("cache", True):
                pattern = re.sub(r"\$\{key\}.*", "", name) if name.startswith("artifacts") else name
                assert f"/{pattern.replace('${key}', '*')}".rstrip("/") in [line.rstrip("/") for line in ignored]


@pytest.mark.parametrize(
    ("overrides", "keys"),
    [
        (["model=[mini-vega]"], ["mini-vega"]),
        (["family=hub", "model=[sdxl,sdxl-refiner]"], ["sdxl", "sdxl-refiner"]),
        (["family=hub"], ["sdxl", "sdxl-refiner", "ssd-1b", "lcm-ssd-1b", "vega", "vegart"]),
    ],
)
def test_the_graph_holds_the_selected_models_only(tmp_path: Path, overrides: list[str], keys: list[str]) -> None:
    from dvc.repo import Repo

    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "params.yaml").write_text(config.compose([*overrides, "quantization=int8-weights"], ROOT / "conf"))
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        stages = {stage.addressing.split(":")[-1]: stage for stage in repo.index.stages}
        per_model = [stage for stage in STAGES if stage not in config.STAGES_FOR_ALL]
        assert set(stages) == {*config.STAGES_FOR_ALL, *(f"{stage}@{key}" for stage in per_model for key in keys)}
        outs = [out.def_path for out in stages[f"quantize@{keys[0]}"].outs]
        assert outs == [f"artifacts/ir/{keys[0]}/int8-weights"]
        assert repo.index.graph is not None  # raises on cycles and overlapping outputs


@pytest.mark.parametrize(("option", "watched"), [("mini", "miniatures/weights/clip"), ("none", "conf/clip/none.yaml")])
def test_every_benchmark_waits_for_the_scorer_and_that_for_its_source(option: str, watched: str) -> None:
    assert "artifacts/scorer" in entry("benchmark")["deps"]
    assert "${clip.watch}" in entry("scorer")["deps"]
    assert yaml.safe_load(config.compose([f"clip={option}"], ROOT / "conf"))["clip"]["watch"] == watched


def test_a_refiner_waits_for_the_ir_of_its_base() -> None:
    for stage in ("calibrate", "benchmark"):
        assert "artifacts/ir/${item.base}/fp16" in entry(stage)["deps"]


def test_benchmarks_depend_on_the_machine_and_their_figures_stay_in_git() -> None:
    benchmark = entry("benchmark")
    assert "reports/machine.json" in benchmark["deps"]
    assert benchmark["metrics"] == [{"reports/benchmark/${key}/metrics.json": {"cache": False}}]


def test_what_a_stage_wrote_stands_once_on_the_disk_and_not_in_the_cache_again(tmp_path: Path) -> None:
    """With reflink first in cache.type DVC 3.67 copies every output where the file system knows no reflinks."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc" / "config").write_text(
        (ROOT / ".dvc" / "config").read_text().replace("enabled = True", "enabled = False")
    )
    command = "mkdir out && head -c 300000 /dev/urandom > out/big"
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"a": {"cmd": command, "outs": ["out"]}}}))
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=tmp_path, check=True)
    assert (tmp_path / "out" / "big").stat().st_nlink == 2


def test_dvc_tells_nobody() -> None:
    settings = (ROOT / ".dvc" / "config").read_text()
    for line in ("analytics = false", "check_update = false", "autostage = false", "enabled = True"):
        assert line in settings
