"""Calibration records the model's own steps, and goes on after a kill as if nothing had happened."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import openvino
import pytest

from stages.calibrate import calibrate
from stages.calibration import shards
from stages.files import manifest
from stages.generation import residency
from stages.ir import extremes, runtime
from stages.machine import memory
from stages.quantization import drafter
from stages.settings.schema import Calibration, Model, Prompts, Settings
from tests.tiny_ir import CPU, part, sampler, tiny_ir

PROMPTS = Path("stages/prompts/emoji.jsonl").resolve()
COUNT = 3


def settings(
    key: str = "base", *, seed: int = 0, unet: str = "auto", sizes=(), drafted: dict | None = None, **how
) -> Settings:
    prompts = {"repo": None, "revision": None, "subset": None, "split": None, "column": "text"}
    role = "refiner" if key == "refiner" else "base"
    return part(
        Settings,
        model_key=key,
        model=part(Model, role=role, base="base" if role == "refiner" else key, sampler=sampler(**how)),
        prompts=part(Prompts, name="emoji", source="embedded", file=str(PROMPTS), seed=0, **prompts),
        calibration=part(
            Calibration,
            **{
                "prompts": COUNT,
                "evaluations": None,
                "refiner_evaluations": None,
                "float_evaluations": None,
                "draft_steps": None,
                "steps_per_prompt": 2,
            }
            | (drafted or {}),
            sizes=list(sizes),
            unet=unet,
            seed=seed,
        ),
        device=CPU,
    )


def make_root(folder: Path, *models: str) -> Path:
    for model in models:
        target = folder / "artifacts/ir" / model / "fp16"
        shutil.copytree(tiny_ir(model), target, copy_function=os.link)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path, "base")


def recorded(root: Path, model: str) -> list[runtime.Inputs]:
    return list(shards.load_samples(root / "artifacts/calibration" / model, 99))


def test_a_base_is_recorded_with_its_guidance_at_its_own_steps(root: Path) -> None:
    facts = calibrate(settings(steps=6), root)["facts"]
    counts = {"samples": 2 * COUNT, "prompts": COUNT, "truncated": facts["truncated"]}
    assert facts == counts | {"unet": "fp16", "drafter": None, "largest_px": 32, "told": 0}
    samples = recorded(root, "base")
    assert {sample["sample"].shape for sample in samples} == {(2, 4, 16, 16)}  # guidance doubles the batch
    assert set(samples[0]) == {"sample", "timestep", "encoder_hidden_states", "text_embeds", "time_ids"}
    assert len({float(sample["timestep"].flat[0]) for sample in samples}) == 2 * COUNT  # all six steps of the schedule
    assert manifest.verify(root / "artifacts/calibration/base", rerun="calibrate@base")["facts"] == facts


def test_a_prompt_file_with_an_id_twice_is_refused_before_anything_is_drawn(root: Path, monkeypatch) -> None:
    (root / "mine.csv").write_text("id,text\ncat,a cat\ncat,a dog\n")
    chosen = settings()
    chosen.prompts.file = str(root / "mine.csv")
    monkeypatch.setattr("stages.calibration.collecting.collect", None)
    with pytest.raises(ValueError, match="mine.csv, line 3: id 'cat' occurs twice"):
        calibrate(chosen, root)
    assert not (root / "artifacts/calibration").exists()


def test_a_few_step_model_is_recorded_without_doubling_and_with_its_guidance_embedding(tmp_path: Path) -> None:
    root = make_root(tmp_path, "lcm")
    calibrate(settings("lcm", scheduler="LCMScheduler", steps=2, guidance=8.0), root)
    samples = recorded(root, "lcm")
    assert {sample["sample"].shape[0] for sample in samples} == {1}
    assert {sample["timestep_cond"].shape for sample in samples} == {(1, 8)}


def test_a_refiner_is_recorded_at_the_last_steps_on_its_bases_latents(tmp_path: Path) -> None:
    root = make_root(tmp_path, "base", "refiner")
    calibrate(settings("refiner", steps=10), root)
    samples = recorded(root, "refiner")
    assert {sample["time_ids"].shape for sample in samples} == {(2, 5)}
    assert max(float(sample["timestep"].flat[0]) for sample in samples) <= 200


KILLED = """
import os, signal
from pathlib import Path
from stages.calibration import shards
from stages.ir import runtime
from tests.test_calibrate import calibrate, settings
save, saved = shards.save_shard, []
def save_and_die(path, *rest):
    if len(saved) == 2:
        path.with_name("00002.partial").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    save(path, *rest)
    saved.append(path)
shards.save_shard = save_and_die
calibrate(settings(), Path({root!r}))
"""


@pytest.mark.parametrize("flipped", ["", "00000.safetensors", "extremes/00000.safetensors"])
def test_a_killed_run_goes_on_after_its_last_whole_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flipped: str
) -> None:
    """A byte that turns over in what it left, in the last value of the first shard, costs that shard's drawing."""
    killed, undisturbed = make_root(tmp_path / "killed", "base"), make_root(tmp_path / "undisturbed", "base")
    code = KILLED.format(root=str(killed))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (killed / "artifacts/calibration/base").exists()
    if flipped:
        (first,) = (killed / "artifacts/calibration").glob(f".base.unfinished-*/{flipped}")
        content = first.read_bytes()
        first.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    saved, save = [], shards.save_shard
    monkeypatch.setattr(shards, "save_shard", lambda path, *rest: saved.append(path.name) or save(path, *rest))
    calibrate(settings(), killed)
    assert saved == ["00000.safetensors"] * bool(flipped) + ["00002.safetensors"]
    calibrate(settings(), undisturbed)
    both = [contents(folder / "artifacts/calibration/base") for folder in (killed, undisturbed)]
    assert both[0] == both[1]
    assert [path.name for path in (killed / "artifacts/calibration").iterdir()] == ["base"]


def test_shards_of_other_settings_are_not_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, save = [], shards.save_shard

    def fail_at_the_second(path: Path, *rest) -> None:
        if saved:
            raise KeyboardInterrupt
        saved.append(path.name)
        save(path, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "save_shard", fail_at_the_second)
        calibrate(settings(seed=0), root)
    monkeypatch.setattr(shards, "save_shard", lambda path, *rest: saved.append(path.name) or save(path, *rest))
    calibrate(settings(seed=1), root)
    assert len(saved) == 1 + COUNT


def test_two_runs_at_once_do_not_mix(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "save_shard", lambda *_: calibrate(settings(), root))
    with pytest.raises(ValueError, match="another run .*is making .*artifacts/calibration/base"):
        calibrate(settings(), root)


def test_a_damaged_ir_is_refused_before_anything_is_recorded(tmp_path: Path) -> None:
    root = tmp_path
    shutil.copytree(tiny_ir("base"), root / "artifacts/ir/base/fp16")
    weights = root / "artifacts/ir/base/fp16/unet/openvino_model.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    with pytest.raises(ValueError, match="openvino_model.bin has other contents.*dvc repro export@base"):
        calibrate(settings(), root)


def test_where_memory_is_short_the_recorded_unet_has_int8_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nearly the same inputs, with one part in memory at a time; what was chosen is in the manifest and in the key."""
    plain, light = (make_root(tmp_path / name, "base", "refiner") for name in ("plain", "light"))
    calibrate(settings(), plain)
    monkeypatch.setattr(memory, "recording_unet", lambda choice, *_: memory.INT8_WEIGHTS)
    monkeypatch.setattr(memory, "room_gb", lambda: 0.0)
    facts = calibrate(settings(), light)["facts"]
    assert facts["unet"] == "int8-weights"
    for expected, found in zip(recorded(plain, "base"), recorded(light, "base"), strict=True):
        assert np.array_equal(expected["encoder_hidden_states"], found["encoder_hidden_states"])
        assert np.array_equal(expected["timestep"], found["timestep"])
        error = np.abs(expected["sample"] - found["sample"]).max() / np.abs(expected["sample"]).max()
        assert error < 0.05
    assert any(
        not np.array_equal(*pair)
        for pair in zip(
            (sample["sample"] for sample in recorded(plain, "base")),
            (sample["sample"] for sample in recorded(light, "base")),
            strict=True,
        )
    ), "INT8 weights were not used"
    calibrate(settings("refiner", steps=10), light)
    assert [path.name for path in sorted((light / "artifacts/calibration").iterdir())] == ["base", "refiner"]


def test_the_recorded_unet_can_be_chosen(tmp_path: Path) -> None:
    root = make_root(tmp_path, "lcm")
    few = settings("lcm", unet="int8-weights", scheduler="LCMScheduler", steps=2, guidance=8.0)
    assert calibrate(few, root)["facts"]["unet"] == "int8-weights"


@pytest.mark.parametrize("model", ["base", "refiner"])
def test_several_sizes_share_the_prompts_and_neighbours_share_a_size(tmp_path: Path, model: str) -> None:
    root = make_root(tmp_path, "base", "refiner")
    facts = calibrate(settings(model, steps=10, sizes=[[48, 32], [16, 64]]), root)["facts"]
    shapes = [sample["sample"].shape[2:] for sample in recorded(root, model)]
    assert list(dict.fromkeys(shapes)) == [(16, 16), (16, 24), (32, 8)]
    assert shapes == sorted(shapes, key=shapes.index), "no size comes back: OpenVINO prepares anew for each change"
    assert facts["largest_px"] == round((48 * 32) ** 0.5)


def times(samples) -> list[float]:
    return [float(sample["timestep"].flat[0]) for sample in samples]


def count_evaluations(monkeypatch) -> list[str]:
    """A list that grows by a name with every row that a UNet is evaluated for, two in each of a base's steps."""
    calls: list[str] = []
    call = openvino.CompiledModel.__call__

    def counting(self, inputs, *args, **options):
        names = {name for port in self.inputs for name in port.get_names()}
        calls.extend(["unet"] * len(inputs["sample"]) if "encoder_hidden_states" in names else [])
        return call(self, inputs, *args, **options)

    monkeypatch.setattr(openvino.CompiledModel, "__call__", counting)
    once = residency._Counted  # calls a part that was just loaded twice, for the sake of times
    monkeypatch.setattr(once, "__call__", lambda self, *args, **options: self._request(*args, **options))
    return calls


def test_a_draft_is_an_evaluation_less_than_its_inputs_at_the_models_own_timesteps(root: Path, monkeypatch) -> None:
    whole = {"steps_per_prompt": 99}
    calls = count_evaluations(monkeypatch)
    calibrate(settings(steps=10, drafted=whole), root)
    assert len(calls) == COUNT * (2 * 9 + 1), "one row of the last input, for what layers are given alone"
    own = times(recorded(root, "base"))[:10]
    calls.clear()
    calibrate(settings(steps=10, drafted=whole | {"draft_steps": 4}), root)
    assert len(calls) == COUNT * (2 * 3 + 1)
    drafted = times(recorded(root, "base"))
    assert set(drafted) <= set(own) and len(drafted) == COUNT * 4
    assert all(drafted[place] == own[0] and drafted[place + 3] == own[-1] for place in (0, 4, 8))


def test_the_first_draft_input_and_the_first_step_are_those_of_the_whole_drawing(root: Path) -> None:
    """By hand: from the first timestep Euler's step goes straight to any other one."""
    whole = {"steps_per_prompt": 99}
    calibrate(settings(steps=10, drafted=whole), root)
    first, second = recorded(root, "base")[:2]
    calibrate(settings(steps=10, drafted=whole | {"draft_steps": 9}), root)
    drafted = recorded(root, "base")
    assert np.array_equal(drafted[0]["sample"], first["sample"])
    assert times(drafted)[1] == times([second])[0] and np.array_equal(drafted[1]["sample"], second["sample"])


def test_evaluations_decide_how_many_prompts_are_drafted(root: Path, monkeypatch) -> None:
    calls = count_evaluations(monkeypatch)
    facts = calibrate(settings(steps=10, drafted={"prompts": 40, "evaluations": 7, "draft_steps": 4}), root)["facts"]
    assert (facts["prompts"], len(calls)) == (2, 2 * 6)  # of 4 inputs 2 are kept, so the last one is not evaluated


def test_what_layers_are_given_is_told_of_every_input_that_is_evaluated(root: Path) -> None:
    """Against the UNet in float32, at both rows of the input itself, of each prompt's last one at one row in turn."""
    facts = calibrate(settings(steps=10, drafted={"draft_steps": 4, "steps_per_prompt": 99}), root)["facts"]
    assert facts["samples"] == facts["told"] == 4 * COUNT
    unet = runtime.read(root / "artifacts/ir/base/fp16/unet/openvino_model.xml")
    request = openvino.Core().compile_model(extremes.beside(unet), "CPU", runtime.EXACT)
    told = shards.Extremes(root / "artifacts/calibration/base", 99)
    for number, sample in enumerate(recorded(root, "base")):
        found = told(number)
        if number % 4 == 3:
            sample = runtime.of_rows(sample, slice(number // 4 % 2, number // 4 % 2 + 1))
        answer = {port.get_any_name(): value for port, value in request(sample).items()}
        expected = {name: value for name, value in answer.items() if extremes.is_own(name)}
        assert found.keys() == expected.keys() and len(found) > 50
        for name, value in expected.items():
            assert np.abs(found[name] - value).max() <= 0.05 * np.abs(value).max() + 0.02, name  # bfloat16, perhaps


def test_a_calibration_whose_evaluations_are_mostly_not_kept_tells_nothing(root: Path) -> None:
    facts = calibrate(settings(steps=10, drafted={"steps_per_prompt": 2}), root)["facts"]
    assert (facts["samples"], facts["told"]) == (2 * COUNT, 0)
    assert not (root / "artifacts/calibration/base/extremes").exists()


DRAFTED = {"draft_steps": 4, "steps_per_prompt": 99}


def error_of(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The greatest, in parts of the tensor's own range."""
    assert found.keys() == expected.keys()
    return max(np.abs(found[name] - one).max() / max(np.abs(one).max(), 0.1) for name, one in expected.items())


def test_a_few_float_evaluations_make_the_unet_in_int8_that_drafts_the_other_prompts(root: Path) -> None:
    """The same inputs and extremes, nearly: of the first prompt exactly, of the others not."""
    calibrate(settings(steps=10, drafted=DRAFTED), root)
    inputs, folder = recorded(root, "base"), root / "artifacts/calibration/base"
    told = [shards.Extremes(folder, 99)(number) for number in range(4 * COUNT)]
    facts = calibrate(settings(steps=10, drafted=DRAFTED | {"float_evaluations": 3}), root)["facts"]
    assert facts["drafter"]["prompts"] == COUNT - 1 and facts["drafter"]["near_db"] > 25
    assert facts["samples"] == facts["told"] == 4 * COUNT
    for number, (before, found) in enumerate(zip(inputs, recorded(root, "base"), strict=True)):
        same = all(np.array_equal(before[name], found[name]) for name in before)
        assert same == (number <= 4 or number == 8), "each prompt's first input is noise alone"
        assert error_of(found, before) < 0.05
        assert error_of(shards.Extremes(folder, 99)(number), told[number]) < 0.2
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"{number:05d}.safetensors" for number in range(COUNT)), "extremes", "manifest.json",
    ]  # fmt: skip


def test_the_float_unet_is_let_go_before_its_drafter_is_made(root: Path, monkeypatch) -> None:
    """It would stand beside what making one takes, and beside the drafter."""
    rooms, make = [], drafter.pipeline

    class Kept(residency.Room):
        def __init__(self, *limit, **how) -> None:
            super().__init__(*limit, **how)
            rooms.append(self)

    def making(*how):
        assert [room.used_gb() for room in rooms] == [0.0] and rooms[0].calls["unet"] > 0
        return make(*how)

    monkeypatch.setattr("stages.generation.at_work.Room", Kept)
    monkeypatch.setattr(drafter, "pipeline", making)
    assert calibrate(settings(steps=10, drafted=DRAFTED | {"float_evaluations": 3}), root)["facts"]["drafter"]
    assert len(rooms) == 2


def test_a_drafter_that_strays_too_far_drafts_nothing(root: Path, monkeypatch, capsys) -> None:
    calibrate(settings(steps=10, drafted=DRAFTED), root)
    before = contents(root / "artifacts/calibration/base")
    monkeypatch.setattr(drafter, "NEAR_DB", 99.0)
    facts = calibrate(settings(steps=10, drafted=DRAFTED | {"float_evaluations": 3}), root)["facts"]
    after = contents(root / "artifacts/calibration/base")
    assert {name for name in before if before[name] != after[name]} == {"manifest.json"} and facts["drafter"] is None
    assert "in INT8 drafts would keep" in capsys.readouterr().out


def test_a_refiner_and_its_base_have_a_drafter_each(tmp_path: Path, monkeypatch) -> None:
    root = make_root(tmp_path, "base", "refiner")
    drafted = {"draft_steps": 5, "steps_per_prompt": 99}
    calibrate(settings("refiner", steps=10, drafted=drafted), root)
    inputs = recorded(root, "refiner")
    made, pipeline = [], drafter.pipeline
    monkeypatch.setattr(
        drafter, "pipeline", lambda source, *rest: made.append(source.parts[-2]) or pipeline(source, *rest)
    )
    facts = calibrate(settings("refiner", steps=10, drafted=drafted | {"float_evaluations": 1}), root)["facts"]
    assert made == ["refiner", "base"] and facts["drafter"]["prompts"] == COUNT - 1
    assert all(error_of(*pair) < 0.1 for pair in zip(recorded(root, "refiner"), inputs, strict=True))


KILLED_DRAFTING = """
import os, signal, sys
from pathlib import Path
from stages.calibration import collecting
from stages.quantization import drafter
from tests.test_calibrate import DRAFTED, calibrate, settings
module, name, calls = {module}, {name!r}, []
function = getattr(module, name)
def counted_and_killed(*given):
    calls.append(given)
    if len(calls) > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*given)
setattr(module, name, counted_and_killed)
calibrate(settings(steps=10, drafted=DRAFTED | {{"float_evaluations": 3}}), Path({root!r}))
"""


@pytest.mark.parametrize(
    ("module", "name", "after", "flipped"),
    [
        ("drafter", "pipeline", 0, ""),  # what was seen is there, the drafter is not
        ("drafter", "pipeline", 0, "seen/ir/00000.safetensors"),
        ("collecting", "_save", 2, ""),  # between two prompts that it drafts
        ("collecting", "_save", 1, "quick-ir/unet/openvino_model.bin"),
    ],
)
def test_a_run_killed_around_its_drafter_ends_in_the_same_bytes(
    tmp_path: Path, module: str, name: str, after: int, flipped: str
) -> None:
    killed, undisturbed = make_root(tmp_path / "killed", "base"), make_root(tmp_path / "undisturbed", "base")
    code = KILLED_DRAFTING.format(module=module, name=name, after=after, root=str(killed))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    if flipped:
        (piece,) = (killed / "artifacts/calibration").glob(f".base.unfinished-*/{flipped}")
        content = piece.read_bytes()
        piece.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    chosen = settings(steps=10, drafted=DRAFTED | {"float_evaluations": 3})
    both = []
    for folder in (killed, undisturbed):
        calibrate(chosen, folder)
        both.append(contents(folder / "artifacts/calibration/base"))
    assert both[0] == both[1]
    assert [path.name for path in (killed / "artifacts/calibration").iterdir()] == ["base"]


@pytest.mark.parametrize("scheduler", ["DDIMScheduler", "UniPCMultistepScheduler", "EulerAncestralDiscreteScheduler"])
def test_a_scheduler_that_takes_no_timesteps_drafts_in_as_many_steps(root: Path, scheduler: str) -> None:
    chosen = settings(steps=10, scheduler=scheduler, drafted={"draft_steps": 4, "steps_per_prompt": 99})
    assert calibrate(chosen, root)["facts"]["samples"] == 4 * COUNT


def test_a_refiners_draft_has_all_of_its_own_timesteps_and_few_of_its_bases(tmp_path: Path, monkeypatch) -> None:
    root = make_root(tmp_path, "base", "refiner")
    whole = {"steps_per_prompt": 99}
    calls = count_evaluations(monkeypatch)
    calibrate(settings("refiner", steps=10, drafted=whole), root)
    own = times(recorded(root, "refiner"))[:2]
    assert len(calls) == COUNT * (2 * (8 + 1) + 1)
    calls.clear()
    calibrate(settings("refiner", steps=10, drafted=whole | {"draft_steps": 5}), root)
    samples = recorded(root, "refiner")
    assert times(samples) == own * COUNT and len(calls) == COUNT * (2 * (3 + 1) + 1), (times(samples), len(calls))
    assert {sample["time_ids"].shape for sample in samples} == {(2, 5)}
