"""Pictures from the shell and from Python: what is drawn, what is written, what is refused."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages import generate as command
from stages.generation import drawing, pipelines
from stages.settings import composing
from stages.studio import metadata
from stages.studio import request as requests
from tests.tiny import SIZE_PX
from tests.tiny_ir import CPU, sampler, tiny_int8, tiny_ir

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and the tiny models' IR."""
    tiny_int8("base"), tiny_ir("refiner")
    root = tmp_path_factory.mktemp("project")
    for model in ("base", "refiner"):
        shutil.copytree(tiny_ir(model).parent, root / "artifacts/ir" / model)
    (root / "params.yaml").write_text(composing.compose(["device=cpu-f32"], ROOT / "conf"))
    return root


@pytest.fixture(autouse=True)
def at_home(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)


def test_a_picture_is_the_one_that_the_pipeline_draws_and_says_how(tmp_path: Path, capsys) -> None:
    command.main(["base", "a red cat", f"{tmp_path}/cat.png", "seed=3", "steps=2", "precision=fp16"])
    how = sampler(steps=2)
    ours = drawing.generate(pipelines.load(tiny_ir("base"), "text-to-image", how, CPU), "a red cat", how, 3)
    with Image.open(tmp_path / "cat.png") as drawn:
        assert np.array_equal(np.asarray(drawn), np.asarray(ours))
        assert drawn.text["parameters"].startswith(
            "a red cat\nSteps: 2, Sampler: EulerDiscrete, CFG scale: 5.0, Seed: 3"
        )
    said = metadata.read(tmp_path / "cat.png")
    assert (said["model"], said["precision"], said["seed"], said["steps"]) == ("base", "fp16", 3, 2)
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"GB of memory -> {tmp_path}/cat.png")


def test_a_picture_draws_itself_again_from_what_it_says(tmp_path: Path) -> None:
    studio = command.new_studio()
    first = command.generate("base", "a red cat", studio, seed=5, steps=2, width=48, negative_prompt="blue")
    metadata.write(first, tmp_path / "one.png")
    said = metadata.read(tmp_path / "one.png")
    given = {name: said[name] for name in requests.GIVEN if name in said}
    again = command.generate(said["model"], given.pop("prompt"), studio, precision=said["precision"], **given)
    assert again.request == first.request
    assert again.picture.tobytes() == first.picture.tobytes() and first.picture.size == (48, SIZE_PX)


def test_prompts_of_a_file_with_several_seeds_make_a_folder_and_a_grid(tmp_path: Path, capsys) -> None:
    (tmp_path / "prompts.txt").write_text("a red cat\n\na blue house\n")
    out = tmp_path / "pictures"
    command.main(["base", f"@{tmp_path}/prompts.txt", str(out), "seed=1,2", "steps=1"])
    assert sorted(path.name for path in out.iterdir()) == ["0001.png", "0002.png", "0003.png", "0004.png", "grid.png"]
    said = [metadata.read(out / f"{n:04d}.png") for n in range(1, 5)]
    assert [(one["prompt"], one["seed"]) for one in said] == [
        ("a red cat", 1), ("a red cat", 2), ("a blue house", 1), ("a blue house", 2),
    ]  # fmt: skip
    with Image.open(out / "grid.png") as grid:
        assert grid.width > 2 * command.GRID_PX and grid.height > 2 * command.GRID_PX
    assert "4 pictures of" in capsys.readouterr().out.splitlines()[-1]


def test_a_refiner_draws_in_two_stages_with_its_base_and_from_a_picture(tmp_path: Path) -> None:
    studio = command.new_studio()
    two = command.generate("refiner", "a red cat", studio, steps=5, precision="fp16")
    assert set(two.ir) == {"base", "refiner"} and two.request.high_noise_fraction == 0.8
    how = sampler(steps=5)
    base = pipelines.load(tiny_ir("base"), "text-to-image", how, CPU)
    half = drawing.generate(base, "a red cat", how, 0, output="latent", denoising_end=0.8)
    refiner = pipelines.load(tiny_ir("refiner"), "two-stage", how, CPU)
    ours = drawing.generate(refiner, "a red cat", how, 10_000, image=half, denoising_start=0.8)
    assert two.picture.tobytes() == ours.tobytes()
    start = Image.new("RGB", (90, 40), "red")
    how = {"task": "image-to-image", "image": start, "steps": 4, "strength": 0.5}
    again = command.generate("refiner", "a cat", studio, **how)
    assert again.picture.size == (SIZE_PX, SIZE_PX)
    assert again.start.size == (SIZE_PX, SIZE_PX) and len(metadata.of(again)["start_sha256"]) == 64


def test_a_folder_from_elsewhere_is_drawn_with_by_its_path(tmp_path: Path) -> None:
    shutil.copytree(tiny_ir("base"), tmp_path / "friend")
    drawn = command.generate(str(tmp_path / "friend"), "a red cat", steps=1)
    assert drawn.request.precision == "fp16"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bass", "a cat", "a.png"], "there is no IR of 'bass' .did you mean base.*`make repro`"),
        (["base", "a cat", "a.png", "precision=int4"], "no IR of base in 'int4'.*fp16, int8"),
        (["base", "", "a.png"], "prompt is empty"),
        (["base", "a cat", "a.jpg"], "must end in .png"),
        (["base", "a cat", "a.png", "seed=1,2"], "2 pictures do not fit into a.png: name a folder"),
        (["base", "a cat", "a.png", "step=3"], "step is no field .did you mean steps"),
        (["base", "a cat", "a.png", "steps=3.5"], "steps must be a whole number, got '3.5'"),
        (["base", "a cat", "a.png", "width=65"], "width must be a multiple of 8"),
        (["base", "a cat", "a.png", f"seed={10**30}"], "seed must be at least 0 and at most 9007199254740991"),
        (["base", "a cat", "a.png", "strength=0.5"], "strength has no effect in text-to-image"),
        (["base", "a cat", "a.png", "scheduler=EulerDiscrete"], "scheduler must be one of .*did you mean EulerD"),
        (["base", "a cat", "a.png", "task=two-stage"], "task must be one of text-to-image, image-to-image with base"),
        (["base", "a cat", "a.png", "task=image-to-image"], "starts from a picture"),
        (["base", "a cat", "a.png", "steps"], "'steps' must look like key=value"),
        (["base", "a cat", "a.png", "device.thread=1"], "device.thread is not a setting .did you mean threads"),
        (["base", "@nothing.txt", "a.png"], "nothing.txt cannot be read as text"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(arguments: list[str], said: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        command.main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and len(error.splitlines()) == 1
    assert re.search(said, error), error
    assert not Path("a.png").exists()


def test_nothing_is_overwritten(tmp_path: Path, capsys) -> None:
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(SystemExit):
        command.main(["base", "a cat", f"{tmp_path}/a.png"])
    assert "is there already" in capsys.readouterr().err and (tmp_path / "a.png").read_text() == "mine"
