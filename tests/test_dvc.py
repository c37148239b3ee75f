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

from stages.settings import composing, config

ROOT = Path(__file__).resolve().parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = list(PIPELINE["stages"])
# From the top of the house down: a room may import those behind it, and stages import all of them.
ROOMS = [
    "app", "studio", "peers", "publishing", "report", "measurement", "quantization", "calibration", "generation",
    "engines", "machine", "ir", "cards", "checkpoints", "prompts", "settings", "files",
    "endings",
]  # fmt: skip
# Params track what settings let through; what forecasts decide depends on the machine anyway, and is recorded; how a
# command ends, and which engine works on items, no result depends on.
NOT_TRACKED = {"settings", "engines", "machine", "endings"}
HEAVY = {
    "datasets",
    "diffusers",
    "dvc",
    "hydra",
    "matplotlib",
    "nncf",
    "openvino",
    "optimum",
    "ray",
    "torch",
    "transformers",
}


def entry(stage: str) -> dict:
    return PIPELINE["stages"][stage].get("do", PIPELINE["stages"][stage])


def names(items: list) -> list[str]:
    """Entries of a list in dvc.yaml, each a name or {name: options}."""
    return [next(iter(item)) if isinstance(item, dict) else item for item in items]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_exactly_the_params_of_its_entry(stage: str) -> None:
    declared = [key.replace("${key}", "{model}") for key in entry(stage).get("params", [])]
    assert set(importlib.import_module(f"stages.{stage}").READS) == set(declared)


@pytest.mark.parametrize("stage", STAGES)
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
def test_a_stage_depends_on_the_rooms_whose_code_it_imports(stage: str) -> None:
    if stage == "describe":
        assert entry(stage)["always_changed"]
        return
    declared = {path for path in names(entry(stage)["deps"]) if path.startswith("stages/")}
    rooms = {room(path) for path in imported(f"stages/{stage}.py")} - NOT_TRACKED
    assert declared == {f"stages/{stage}.py", *(f"stages/{name}" for name in rooms if name)}


def test_every_package_of_stages_is_a_room_that_introduces_itself() -> None:
    packages = {path.parent.name: path for path in (ROOT / "stages").glob("*/__init__.py")}
    assert sorted(packages) == sorted(ROOMS)
    for path in packages.values():
        text = ast.get_docstring(ast.parse(path.read_text()))
        assert text and "In:" in text and "Out:" in text and 3 <= len(text.splitlines()) <= 6, path


@pytest.mark.parametrize("path", sorted((ROOT / "stages").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down_the_house_and_never_up(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    own = room(name)
    below = ROOMS if own is None else ROOMS[ROOMS.index(own) :]
    for module in _imports(ast.parse(path.read_text())):
        other = room(f"{module.replace('.', '/')}.py")
        assert other is None or other in below, f"{name} imports {module}, which stands above it"
        assert own is None or other is not None or not (ROOT / f"{module.replace('.', '/')}.py").is_file(), (
            f"{name} imports the stage {module}"
        )


def room(path: str) -> str | None:
    """`measurement` of stages/measurement/latency.py; None of a stage."""
    parts = Path(path).parts
    return parts[1] if len(parts) > 2 else None


def imported(path: str) -> set[str]:
    """Modules of this project that a module reaches through imports, itself included; those for typing left out, and
    what untracked rooms import in their turn."""
    found, waiting = set(), [path]
    while waiting:
        current = waiting.pop()
        if current in found or not (ROOT / current).is_file():
            continue
        found.add(current)
        if room(current) not in NOT_TRACKED:
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


def test_how_a_result_is_come_by_is_tracked_for_no_stage() -> None:
    declared = [key.split(".")[0] for stage in STAGES for key in entry(stage).get("params", [])]
    assert not set(config.HOW) & set(declared)
    assert not re.search(r"\$\{(" + "|".join(config.HOW) + r")\b", (ROOT / "dvc.yaml").read_text())


def test_code_named_in_the_pipeline_exists() -> None:
    code = {path for stage in STAGES for path in names(entry(stage).get("deps", [])) if path.startswith("stages/")}
    assert [path for path in sorted(code) if not (ROOT / path).exists()] == []


def test_folders_of_dvc_are_ignored_by_git() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for stage in STAGES:
        for output in names([one for kind in ("outs", "metrics", "plots") for one in entry(stage).get(kind, [])]):
            pattern = re.sub(r"\$\{key\}.*", "", output)
            assert f"/{pattern}".rstrip("/") in [line.rstrip("/") for line in ignored]


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
    (tmp_path / "params.yaml").write_text(composing.compose([*overrides, "quantization=int8-weights"], ROOT / "conf"))
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
    assert yaml.safe_load(composing.compose([f"clip={option}"], ROOT / "conf"))["clip"]["watch"] == watched


def test_a_refiner_waits_for_the_ir_of_its_base() -> None:
    for stage in ("calibrate", "benchmark"):
        assert "artifacts/ir/${item.base}/fp16" in entry(stage)["deps"]


def test_benchmarks_depend_on_the_machine_and_nothing_that_a_run_writes_is_in_git() -> None:
    assert "reports/machine.json" in entry("benchmark")["deps"]
    tracked = subprocess.run(["git", "ls-files", "reports"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert {Path(name).parts[1] for name in tracked} <= {"README.md", "ci-workflow.yml", "readme", "reference"}


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
