"""Settings: conf/ composes in every combination, params.yaml is its composition, wrong settings are named in full."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages.settings import checks, composing, config, schema

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "model")
OPTIONS = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
EVERYTHING = ("model", *(group for group in GROUPS if group not in ("family", "experiment")))


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def composed(*overrides: str) -> dict:
    return yaml.safe_load(composing.compose(overrides, CONF))


# --- composition


def test_params_yaml_is_the_composition_of_conf() -> None:
    assert (ROOT / "params.yaml").read_text() == composing.compose((), CONF), "run `make params`"


def test_dvc_writes_the_same_bytes(tmp_path: Path) -> None:
    from dvc.utils.hydra import compose_and_dump

    compose_and_dump(tmp_path / "params.yaml", str(CONF), None, "config", str(CONF), ["family=hub"])
    assert (tmp_path / "params.yaml").read_text() == composing.compose(["family=hub"], CONF)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_and_loads(option: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(composing.compose([option], CONF))
    settings = config.load(EVERYTHING, None, [], path)
    group, name = option.split("=")
    if group in ("prompts", "quantization"):
        assert getattr(settings, group).name == name


@pytest.mark.parametrize("key", MODELS)
def test_every_model_can_be_selected(key: str) -> None:
    alone = yaml.safe_load((CONF / "model" / f"{key}.yaml").read_text())
    assert list(alone) == [key], "a model file holds one model under its own name"
    base = alone[key]["base"]
    selected = composed(f"model=[{','.join(dict.fromkeys([base, key]))}]")
    assert selected["model"][key] == alone[key]


def test_each_family_has_the_six_systems() -> None:
    six = ["sdxl", "sdxl-refiner", "ssd-1b", "lcm-ssd-1b", "vega", "vegart"]
    assert list(composed()["model"]) == [f"mini-{key}" for key in six]
    assert list(composed("family=hub")["model"]) == six


def test_family_and_model_are_chosen_together() -> None:
    both = composed("family=hub", "model=[vega]")
    assert list(both["model"]) == ["vega"] and both["prompts"]["name"] == "photographs"
    assert both["judge"]["kind"] == "none" and composed("model=[mini-vega]")["judge"]["kind"] == "local"
    assert both["clip"]["kind"] == "hub" and composed("family=hub", "clip=none")["clip"]["kind"] == "none"
    assert list(composed("experiment=smoke", "model=[mini-sdxl]")["model"]) == ["mini-sdxl"]


def test_hub_revisions_are_full_commits_or_main() -> None:
    files = [yaml.safe_load(path.read_text()) for path in (CONF / "model").glob("*.yaml")]
    models = {key: model for file in files for key, model in file.items() if model["family"] == "hub"}
    assert len(models) == 15
    for key, model in models.items():
        source = model["source"]
        for part in (source, source["unet"], source["vae"], *source["adapters"]):
            assert part is None or re.fullmatch(r"main|[0-9a-f]{40}", part["revision"]), key
    assert re.fullmatch(r"main|[0-9a-f]{40}", composed("family=hub")["clip"]["revision"])


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_every_file_begins_with_the_command_that_uses_it(path: Path) -> None:
    head = [line for line in path.read_text().splitlines() if not line.startswith("# @package")]
    assert re.match(r"# (dvc exp run -S|make params)", head[0])


def test_a_refiner_without_its_base_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model.mini-sdxl-refiner.base is 'mini-sdxl'.*not selected.*-S 'model=\["):
        composing.compose(["model=[mini-sdxl-refiner]"], CONF)


def test_an_unknown_option_names_those_that_exist() -> None:
    with pytest.raises(ValueError, match=r"(?s)quantization/int9.*int4-weights.*int8"):
        composing.compose(["quantization=int9"], CONF)


# --- loading


def test_a_stage_gets_what_it_declares_and_nothing_else(params: Path) -> None:
    settings = config.load(("model.{model}.sampler", "quantization.name"), "mini-vegart", [], params)
    assert settings.model_key == "mini-vegart"
    assert settings.model.sampler == schema.Sampler("LCMScheduler", {}, 4, 1.0, 64, 64, "", None)
    assert config.as_dict(settings.quantization) == {"name": "int8"}
    for touch in (lambda: settings.model.role, lambda: settings.quantization.scheme, lambda: settings.prompts):
        with pytest.raises(AttributeError, match="not among what this stage declares in READS"):
            touch()
    with pytest.raises(AttributeError, match="Sampler has no field 'stpes'"):
        settings.model.sampler.stpes  # noqa: B018


def test_models_come_whole_where_a_stage_reads_them_all(params: Path) -> None:
    models = config.load(("model",), None, [], params).models
    assert models["mini-vegart"].source.adapters[0].scale == 1.0
    assert models["mini-lcm-ssd-1b"].source.unet.repo.endswith("lcm-ssd-1b")


def test_overrides_change_this_run_only(params: Path) -> None:
    before = params.read_text()
    overrides = ["benchmark.steps=2", "benchmark.strength=1", "model.mini-vega.sampler.guidance=7"]
    settings = config.load(("model.{model}", "benchmark"), "mini-vega", overrides, params)
    assert (settings.benchmark.steps, settings.benchmark.strength) == (2, 1.0)
    assert isinstance(settings.model.sampler.guidance, float)
    assert params.read_text() == before


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "benchmark.stpes=2",
            r"benchmark\.stpes is not a setting \(did you mean steps\?\); allowed: minutes, prompts, steps,",
        ),
        ("benchmark.steps=0", r"benchmark\.steps must be at least 1 and at most 1000, got 0"),
        ("benchmark.steps=few", r"benchmark\.steps must be a whole number, got 'few'"),
        ("benchmark.steps=1.5", r"benchmark\.steps must be a whole number, got 1\.5"),
        ("benchmark.prompts=true", r"benchmark\.prompts must be a whole number, got True"),
        ("benchmark.prompts=", r"benchmark\.prompts must be a whole number, got None"),
        ("benchmark.strength=0", r"benchmark\.strength must be above 0 and at most 1, got 0"),
        ("benchmark.strength=.nan", r"benchmark\.strength must be above 0 and at most 1, got nan"),
        ("benchmark=3", r"benchmark is a group: set benchmark\.minutes, .*or compose another.*-S benchmark=3"),
        ("benchmark.steps", r"override 'benchmark\.steps' must look like key=value"),
        ("model.mini-vega.sampler.scheduler=EulerScheduler", r"sampler\.scheduler must be one of DDIM.*did you mean E"),
        (
            "model.mini-vega.sampler.width=65",
            r"model\.mini-vega\.sampler\.width must be a multiple of 8, at least 16 and at most 4096, got 65",
        ),
        ("model.mini-vega.tasks=[two-stage]", r"model\.mini-vega\.tasks must be .* without two-stage for a base"),
        ("model.mini-vega.tasks=[paint]", r"model\.mini-vega\.tasks\[0\] must be one of text-to-image.*got 'paint'"),
        ("model.mini-vega.base=mini-sdxl", r"model\.mini-vega\.base must be 'mini-vega' itself"),
        ("model.mini-vega.source.kind=hub", r"model\.mini-vega\.source\.revision must be a commit or main"),
        ("model.mini-vgea.title=x", r"model\.mini-vgea is not a setting \(did you mean mini-vega\?\)"),
        (
            "quantization.scheme=weight_first",
            r"quantization\.scheme must be one of weights_first.*mean weights_first",
        ),
        ("quantization.samples=0", r"quantization\.samples must be at least 1 with scheme weights_first"),
        (
            "quantization.smooth_quant=true",
            r"quantization\.smooth_quant has no effect with scheme weights_first: it must be false, got true",
        ),
        ("quantization.group_size=64", r"group_size has no effect with scheme weights_first: it must be -1, got 64"),
        ("quantization.weights=int8_asym", r"weights must be int8_sym where weights are scaled or rounded anew"),
        ("quantization.weights=int4_sym", r"weights must be one of int8_sym, int8_asym with scheme weights_first"),
        ("quantization.ranges=max", r"quantization\.ranges must be one of minmax, mean_minmax, median_minmax"),
        ("quantization.name=fp16", r"quantization\.name must be .* not fp16, reference or base, got 'fp16'"),
        ("quantization.name=../x", r"quantization\.name must be letters, digits"),
        ("prompts.file=null", r"prompts\.file must be given where prompts\.source is embedded"),
        ("judge.kind=hub", r"judge\.kind must be one of local, none; got 'hub'"),
        ("judge.repo=null", r"judge\.repo must be a folder where judge\.kind is local, got null"),
        ("quantization.name=reference", r"quantization\.name must be .*not fp16, reference or base, got 'reference'"),
        ("clip.kind=openai", r"clip\.kind must be one of local, hub, none; got 'openai'"),
        ("clip.kind=hub", r"clip\.revision must be a commit or main where clip\.kind is hub, got None"),
        ("clip.repo=null", r"clip\.repo must be a folder or a repository where clip\.kind is local, got null"),
        ("device.threads=-1", r"device\.threads must be at least 0 .* got -1"),
        ("engine.workers=2", r"engine\.workers has no effect with engine=local: it must be null, got 2"),
        ("engine=rya", r"engine must be one of local, ray; got 'rya' \(did you mean ray\?\)"),
        ("engine.name=ray", r"engine\.address must be auto, or a head's host:port such as .* got None"),
        ("gates.min_sqnr=30", r"gates\.min_sqnr is not a setting \(did you mean min_sqnr_db\?\)"),
        ("gates.min_ssim=.nan", r"gates\.min_ssim must be at least 0 and at most 1, got nan"),
        ("fid.features=vgg", r"fid\.features must be one of none, scorer, inception; got 'vgg'"),
        ("fid.features=scorer", r"fid\.reference must be given where fid\.features is scorer, got None"),
        ("fid.reference=val.npz", r"fid\.reference has no effect where fid\.features is none: it must be null"),
        ("gates.min_clip_similarity=99", r"gates\.min_clip_similarity must be at least 0 and at most 1, got 99"),
        ("gates.max_clip_drop_percent=1%", r"gates\.max_clip_drop_percent must be a number, got '1%'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(params: Path, override: str, message: str) -> None:
    reads = (
        "model.{model}",
        "prompts",
        "clip",
        "judge",
        "fid",
        "quantization",
        "benchmark",
        "device",
        "gates",
        "engine",
    )
    with pytest.raises(ValueError, match=message):
        config.load(reads, "mini-vega", [override], params)


def test_a_mistake_in_the_file_itself_is_found_by_any_stage(params: Path) -> None:
    params.write_text(params.read_text().replace("warmup: 2", "warmpu: 2"))
    with pytest.raises(ValueError, match=r"benchmark\.warmpu is not a setting \(did you mean warmup\?\)"):
        config.load((), None, [], params)


def test_an_engine_is_chosen_for_one_run_by_its_name_and_changed_by_its_keys(params: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    settings = config.load(config.HOW, None, ["engine=ray", "engine.workers=2"], params)
    written = yaml.safe_load((CONF / "engine" / "ray.yaml").read_text())
    assert config.as_dict(settings.engine) == written | {"workers": 2}
    assert config.as_dict(config.load(config.HOW, None, [], params).engine)["name"] == "local"


def test_an_override_that_a_stage_does_not_read_is_refused(params: Path) -> None:
    with pytest.raises(ValueError, match="device.threads has no effect here: this stage reads quantization"):
        config.load(("quantization",), "mini-vega", ["device.threads=2"], params)


def test_an_unknown_model_names_those_selected(params: Path) -> None:
    with pytest.raises(
        ValueError, match=r"'mini-vga' is not selected .*did you mean mini-vega\?.*selected: mini-sdxl,"
    ):
        config.load((), "mini-vga", [], params)


def test_missing_keys_and_files_are_named(params: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make params"):
        config.load((), None, [], tmp_path / "elsewhere.yaml")
    params.write_text(params.read_text().replace("  warmup: 2\n", ""))
    with pytest.raises(ValueError, match=r"benchmark\.warmup is missing"):
        config.load((), None, [], params)
    params.write_text("3")
    with pytest.raises(ValueError, match="must hold the sections model, prompts"):
        config.read(params)


def test_few_step_limits_of_lcm_are_known() -> None:
    params = composed()
    params["model"]["mini-vegart"]["sampler"]["steps"] = 51
    with pytest.raises(
        ValueError, match=r"model\.mini-vegart\.sampler\.steps must be at most 50 with LCMScheduler, got 51"
    ):
        checks.check(params)


@pytest.mark.parametrize("name", ["unet", "vae", "adapters"])
def test_a_synthetic_architecture_takes_no_swapped_part(name: str) -> None:
    params = composed("family=synthetic", "model=[synthetic-vega]")
    part = {"kind": "hub", "repo": "me/part", "revision": "main"}
    parts = {"adapters": [part | {"file": "lora.safetensors", "scale": 1.0}]}
    params["model"]["synthetic-vega"]["source"][name] = parts.get(
        name, part | {"subfolder": None, "variant": None, "file": None}
    )
    with pytest.raises(ValueError, match=rf"synthetic-vega\.source\.{name}.* must be absent where kind is synthetic"):
        checks.check(params)


@pytest.mark.parametrize("name", ["unet", "vae"])
def test_a_swapped_part_from_the_hub_needs_a_revision(name: str) -> None:
    params = composed("family=hub", "model=[vega]")
    swap = {"kind": "hub", "repo": "me/part", "revision": None, "subfolder": None, "variant": None, "file": None}
    params["model"]["vega"]["source"][name] = swap
    with pytest.raises(ValueError, match=rf"model\.vega\.source\.{name}\.revision must be a commit or main"):
        checks.check(params)


def test_a_model_with_a_tiny_vae_says_so_and_is_its_twin_otherwise() -> None:
    tiny, whole = (composed("family=hub", f"model=[{key}]")["model"][key] for key in ("vega-tiny-vae", "vega"))
    assert "(tiny VAE)" in tiny["title"] and "mit" in tiny["licence"]
    assert tiny["source"] == whole["source"] | {"vae": tiny["source"]["vae"]} and tiny["sampler"] == whole["sampler"]


# --- command line


def test_arguments_are_a_model_and_overrides() -> None:
    assert config.arguments("quantize", ["mini-vega", "quantization.samples=64"]) == (
        "mini-vega",
        ["quantization.samples=64"],
    )
    assert config.arguments("compare", []) == (None, [])


def test_a_users_mistake_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end, config.main_guard():
        raise ValueError("benchmark.steps must be at least 1")
    assert end.value.code == 2
    assert capsys.readouterr().err == "error: benchmark.steps must be at least 1\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"<<<<<<< HEAD\nmodel:\n  a: 1\n=======\nmodel:\n  b: 1\n>>>>>>> other\n",
            r"is not YAML \(line 2: .*'model:'\)",
        ),
        (b"model:\n\ta: 1\n", r"is not YAML \(line 2: found character '\\t'"),
        (b"seed: 1\nmodel: {}\nseed: 2\n", r"is not YAML \(line 3: 'seed' stands there twice"),
        (b"model: {a: {b: 1, b: 2}}\n", r"is not YAML \(line 1: 'b' stands there twice"),
        (b"model: 'open\n", r"is not YAML \(line \d: found unexpected end of stream"),
        (b"model: 2026-13-45\n", r"is not YAML \(month must be in 1..12"),
        (b"model: " + b"[" * 5000, r"is not YAML \("),
        (b"model: \xe9\n", r"is not UTF-8 \(byte 7\)"),
        (b"model: \0\n", r"is not YAML \("),
        (b"- a\n", "must hold the sections model, prompts"),
        (b"", "must hold the sections model, prompts"),
    ],
)
def test_a_file_that_is_no_settings_says_where_and_how_to_have_it_anew(params: Path, content: bytes, said: str) -> None:
    params.write_bytes(content)
    with pytest.raises(ValueError, match=rf"params.yaml .*{said}.*`make params`") as failure:
        config.load(("model",), None, [], params)
    assert "\n" not in str(failure.value)


STAGES = ["describe", "download", "export", "calibrate", "quantize", "scorer", "benchmark", "compare"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_misspelt_setting_fails_before_anything_heavy_is_imported(stage: str) -> None:
    model = [] if stage in config.STAGES_FOR_ALL else ["mini-vega"]
    command = [sys.executable, "-X", "importtime", "-m", f"stages.{stage}", *model, "benchmark.stpes=2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    said = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    assert done.returncode == 2, said
    assert len(said) == 1 and re.fullmatch(r"error: benchmark\.stpes is not a setting .*", said[0])
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line not in said}
    assert "stages.settings.config" in imported
    assert not imported & {"torch", "openvino", "nncf", "diffusers", "transformers", "optimum", "datasets", "dvc"}


def test_embedded_prompts_are_enough_for_every_option() -> None:
    parts = {"calibration": "calibration", "benchmark": "evaluation"}
    for prompts in ("emoji", "photographs"):
        lines = (ROOT / "stages" / "prompts" / f"{prompts}.jsonl").read_text().splitlines()
        for group, part in parts.items():
            there = sum(json.loads(line)["split"] == part for line in lines)
            for path in (CONF / group).glob("*.yaml"):
                assert yaml.safe_load(path.read_text())["prompts"] <= there, path


def test_a_params_file_that_was_spoilt_is_named_with_its_cure(params: Path) -> None:
    params.write_text(params.read_text().replace("steps: null", "steps: two"))
    with pytest.raises(
        ValueError, match=r"params.yaml: benchmark.steps must be a whole number, got 'two'.*`make params`"
    ):
        config.load(("prompts",), None, [], params)


def test_settings_of_another_version_are_refused(params: Path) -> None:
    params.write_text(params.read_text().replace("layout: 3", "layout: 2"))
    with pytest.raises(ValueError, match=r"params.yaml: layout must be 3, got 2.*`make params`"):
        config.load(("prompts",), None, [], params)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["benchmark.steps=two"], r"^benchmark.steps must be a whole number, got 'two'$"),
        (["model.mini-sdxl.sampler.high_noise_fraction=0.8"], "must be a number for a refiner and null for a base"),
        (["model.mini-sdxl-refiner.sampler.high_noise_fraction=null"], "got None for a refiner"),
        (["model.mini-vega.source.repo=null"], "source.repo must be given where kind is local"),
        (["family=synthetic", "model.synthetic-vega.source.architecture=null"], "source.architecture must be given"),
        (
            ["family=synthetic", "model.synthetic-vega.source.repo=vega"],
            "source.repo must be absent where kind is synth",
        ),
        (["quantization=int8-weights", "quantization.samples=8"], "samples has no effect with scheme weights_only"),
        (["quantization=int8-weights", "quantization.ratio=0.5"], "ratio has no effect with int8_sym weights"),
        (["quantization=none", "quantization.ignored_types=[MatMul]"], "ignored_types has no effect with scheme none"),
    ],
)
def test_composing_checks_all_of_it_in_one_line(overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        composing.compose(overrides, CONF)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["model.mini-vega.sampler.steps=1"],
            r"image-to-image runs no step, as model.mini-vega.sampler.steps 1 x .*at least 2",
        ),
        (
            ["benchmark.steps=3"],
            r"two-stage runs no step, as benchmark.steps 3 x benchmark.sdedit_strength 0.3 .*at least 4",
        ),
        (
            ["+model.mini-vega.sampler.options.use_karas_sigmas=true"],
            "is no option of EulerD.*did you mean use_karras_sigmas",
        ),
        (["+model.mini-vega.sampler.options.use_karras_sigmas=1"], "use_karras_sigmas must be true or false, got 1"),
        (["+model.mini-vega.sampler.options.timestep_spacing=trail"], "must be one of leading.*did you mean trailing"),
        (
            ["+model.mini-vega.sampler.options={use_karras_sigmas: true, use_beta_sigmas: true}"],
            "only one of use_karras_sigmas, use_beta_sigmas can be true",
        ),
    ],
)
def test_what_would_fail_after_an_hour_fails_when_it_is_composed(overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        composing.compose(overrides, CONF)


def test_other_models_tasks_do_not_bar_a_stage_that_is_run_by_hand(params: Path) -> None:
    settings = config.load(("model.{model}", "benchmark"), "mini-vega", ["benchmark.steps=2"], params)
    assert settings.benchmark.steps == 2
    with pytest.raises(ValueError, match="model.mini-vega.tasks: image-to-image runs no step"):
        config.load(("model.{model}", "benchmark"), "mini-vega", ["benchmark.steps=1"], params)


def test_an_option_of_the_sampler_can_be_added_by_hand(params: Path) -> None:
    override = "model.mini-vega.sampler.options.timestep_spacing=trailing"
    settings = config.load(("model.{model}.sampler",), "mini-vega", [override], params)
    assert settings.model.sampler.options == {"timestep_spacing": "trailing"}


@pytest.mark.parametrize("key", ["animagine-xl-3.1", "my model", "a@b"])
def test_a_models_key_that_dvc_would_misread_is_refused_with_a_better_one(key: str) -> None:
    params = composed("model=[mini-vega]")
    params["model"] = {key: params["model"]["mini-vega"] | {"base": key}}
    with pytest.raises(
        ValueError, match=rf"model key '{re.escape(key)}' must be letters, digits.*call it '[a-z0-9-]+'"
    ):
        checks.check(params)
