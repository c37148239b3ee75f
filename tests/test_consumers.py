"""IR folders drawn with by others: in environments that have none of our code, got by DVC and from a Hub.

openvino.genai is handed our noise and computes in float32; optimum-intel is called as a model card says. Where
openvino.genai goes another way than diffusers, ours is drawn that way too: then nothing else is between them.
"""

from __future__ import annotations

import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.checkpoints import defaults
from stages.files import manifest
from stages.generation import drawing, pipelines
from stages.measurement.fidelity import psnr_db
from tests import environments
from tests.hub_server import HubServer
from tests.tiny_ir import CPU, part, sampler, tiny_ir
from tests.whole_run import GIT, ROOT, dvc, whole_run

PROMPT = "an owl sticker on a teal background"
LONG = "an owl sticker on a teal background " * 9
TRAINED = Path("artifacts/ir/mini-vega")
PLAIN = part(type(CPU), **vars(CPU) | {"inference_precision": "default", "dynamic_quantization_group_size": -1})
HUB = "me/mini-vega-fp16", "me/tiny", "me/tiny-refiner", "me/tiny-lcm"


@dataclass
class Drawing:
    """What a consumer is asked for, and the folder that ours is drawn from."""

    name: str
    ir: Path
    source: str  # a folder, or a repository of the Hub
    task: str = "text-to-image"
    prompt: str = PROMPT
    seed: int = 3
    more: dict[str, Any] = field(default_factory=dict)
    image: np.ndarray | None = None
    exact: bool = True
    base: str | None = None

    @property
    def how(self) -> dict[str, Any]:
        return defaults.read(self.ir)[self.task] | self.more

    def asked(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("ir", "image")}


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def few_steps(elsewhere: Path) -> Path:
    """A UNet that is told the guidance, with the sampler that such ones have."""
    from diffusers import LCMScheduler

    folder = elsewhere / "few-steps"
    shutil.copytree(tiny_ir("lcm"), folder)
    LCMScheduler().save_pretrained(folder / "scheduler")
    manifest.write(folder, stage="export", inputs={}, settings={})
    return folder


@pytest.fixture(scope="module")
def hub(few_steps: Path) -> Iterator[HubServer]:
    folders = whole_run() / TRAINED / "fp16", *map(tiny_ir, ("base", "refiner")), few_steps
    with HubServer(dict(zip(HUB, folders, strict=True))) as server:
        yield server


@pytest.fixture(scope="module")
def got(elsewhere: Path) -> Path:
    """INT8 IR as `dvc get` brings it from somebody's git repository, whose results lie in a remote."""
    theirs, store = elsewhere / "theirs", elsewhere / "store"
    subprocess.run(["git", "clone", "-q", whole_run(), theirs], check=True)
    for name in ("dvc.lock", "params.yaml"):
        shutil.copyfile(whole_run() / name, theirs / name)
    run(dvc(theirs, "remote", "add", "-d", "store", str(store)))
    subprocess.run([*GIT, "commit", "-qam", "Keep my results"], cwd=theirs, check=True)
    (theirs / ".dvc/config.local").write_text(f"[cache]\n    dir = {whole_run() / '.dvc/cache'}\n")
    run(dvc(theirs, "push", str(TRAINED / "int8")))
    (theirs / ".dvc/config.local").unlink()  # from now on there is the remote alone
    command = [sys.executable, "-m", "dvc", "get", str(theirs), str(TRAINED / "int8"), "-o", str(elsewhere / "int8")]
    run(subprocess.run(command, cwd=elsewhere, capture_output=True, text=True))
    return elsewhere / "int8"


def run(finished: subprocess.CompletedProcess) -> None:
    assert finished.returncode == 0, finished.stdout[-2000:] + finished.stderr[-3000:]


def environment(folder: Path, *asked: str) -> Path:
    try:
        return environments.make(folder, asked, without=frozenset({"torchvision"}))
    except environments.NoRegistry as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def with_genai(elsewhere: Path) -> Path:
    peers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["peers"]
    (pinned,) = [line for line in peers if line.startswith("openvino-genai")]
    return environment(elsewhere / "genai", pinned, "pillow", "huggingface-hub")


@pytest.fixture(scope="module")
def with_optimum(elsewhere: Path) -> Path:
    return environment(elsewhere / "optimum", "optimum-intel", "diffusers")


def drawn(python: Path, script: str, drawings: list[Drawing], given: dict, hub: HubServer) -> dict[str, np.ndarray]:
    """What the script draws in a place of its own, which knows the loopback Hub and nothing of ours."""
    work = python.parents[1] / "work"
    work.mkdir()
    (work / "asked.json").write_text(json.dumps([drawing.asked() for drawing in drawings]))
    images = {f"image {drawing.name}": drawing.image for drawing in drawings if drawing.image is not None}
    np.savez(work / "given.npz", **images, **given)
    known = {"PATH": os.environ["PATH"], "HOME": str(work), "HF_HOME": str(work / "hub"), "HF_ENDPOINT": hub.endpoint}
    command = [python, "-I", ROOT / "tests/consumers" / script, work]
    run(subprocess.run(command, cwd=work, env=known | {"DO_NOT_TRACK": "1"}, capture_output=True, text=True))
    for snapshot in (work / "hub/hub").glob("models--*/snapshots/*"):
        manifest.verify(snapshot, rerun="nothing")
    return dict(np.load(work / "drawn.npz"))


@functools.cache
def loaded(ir: Path, task: str, exact: bool) -> Any:
    return pipelines.load(ir, task, settings_of(ir), CPU if exact else PLAIN)


def settings_of(ir: Path, how: dict[str, Any] | None = None) -> Any:
    """A sampler as the folder's scheduler and generation_config.json say."""
    how = how or defaults.read(ir)["image-to-image"]
    scheduler = json.loads((ir / "scheduler/scheduler_config.json").read_text())["_class_name"]
    size = {side: how[side] for side in ("width", "height") if side in how}
    return sampler(scheduler, how["num_inference_steps"], how["guidance_scale"], **size)


def ours(asked: Drawing, exact: bool, seed: int | None = None, ir: Path | None = None, **more: Any) -> Any:
    """Our own picture of it, or latents; image-to-image starts from the same picture."""
    pipeline = loaded(ir or asked.ir, "text-to-image" if more.get("denoising_end") else asked.task, exact)
    if asked.image is not None:
        more = {"image": Image.fromarray(asked.image), "strength": asked.how["strength"]} | more
    settings = settings_of(ir or asked.ir, asked.how)
    result = drawing.generate(pipeline, asked.prompt, settings, asked.seed if seed is None else seed, **more)
    return result if more.get("output") == "latent" else np.asarray(result)


def called(asked: Drawing, **more: Any) -> np.ndarray:
    """The picture of the pipeline itself, called in another way than ours, in float32."""
    import torch

    start = {} if asked.image is None else {"image": Image.fromarray(asked.image)}
    pipeline, generator = loaded(asked.ir, asked.task, True), torch.Generator().manual_seed(asked.seed)
    return np.asarray(pipeline(asked.prompt, generator=generator, **asked.how | start | more).images[0])


def cut_off(mine: np.ndarray, theirs: np.ndarray) -> bool:
    """Whether the pictures differ by how a value becomes a whole number alone: 17.9 is 17 there and 18 here."""
    return set(np.unique(mine.astype(int) - theirs)) <= {0, 1}


def noise(drawing_: Drawing, draws: int = 8) -> np.ndarray:
    """What the generator of PyTorch gives, one draw of the latents' shape after the other."""
    import torch

    how, generator = drawing_.how, torch.Generator().manual_seed(drawing_.seed)
    height, width = drawing_.image.shape[:2] if drawing_.image is not None else (how["height"], how["width"])
    blocks = json.loads((drawing_.ir / "vae_decoder/config.json").read_text())["block_out_channels"]
    factor = 2 ** (len(blocks) - 1)
    shape = (1, 4, height // factor, width // factor)
    return np.stack([torch.randn(shape, generator=generator).numpy() for _ in range(draws)])


def first(name: str, ir: Path, source: str | Path, exact: bool, **more: Any) -> list[Drawing]:
    """A text-to-image drawing, and an image-to-image one that starts from another picture of the model's."""
    text = Drawing(name, ir, str(source), **more)
    image = Drawing(f"{name} image", ir, str(source), "image-to-image", **more)
    image.image = ours(text, exact, seed=1)
    return [text, image]


@dataclass
class Seen:
    drawings: dict[str, Drawing]
    pictures: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def genai(with_genai: Path, hub: HubServer, got: Path, few_steps: Path) -> Seen:
    fp16, int8 = (whole_run() / TRAINED / name for name in ("fp16", "int8"))
    drawings = [
        *first("fp16", fp16, HUB[0], True),
        *first("int8", int8, got, True),
        *first("lcm", few_steps, HUB[3], True),
        Drawing("long", fp16, HUB[0], prompt=LONG),
        Drawing("wide", fp16, HUB[0], more={"width": 96, "height": 64}),
    ]
    given = {f"noise {drawing.name}": noise(drawing) for drawing in drawings}
    drawings += [Drawing(name, int8, str(got), exact=False) for name in ("seeded", "seeded again")]
    pictures = drawn(with_genai, "on_genai.py", drawings, given, hub)
    return Seen({drawing.name: drawing for drawing in drawings}, pictures)


@pytest.fixture(scope="module")
def optimum(with_optimum: Path, hub: HubServer, got: Path) -> Seen:
    fp16, int8, refiner = whole_run() / TRAINED / "fp16", whole_run() / TRAINED / "int8", tiny_ir("refiner")
    drawings = first("fp16", fp16, HUB[0], False) + first("int8", int8, got, False)
    start = ours(Drawing("", tiny_ir("base"), ""), False)
    drawings += [
        Drawing("refiner image", refiner, HUB[2], "image-to-image", image=start),
        Drawing("two-stage", refiner, HUB[2], "two-stage", base=HUB[1]),
    ]
    pictures = drawn(with_optimum, "on_optimum.py", drawings, {}, hub)
    return Seen({drawing.name: drawing for drawing in drawings}, pictures)


def test_an_environment_holds_what_the_packages_ask_for_and_nothing_else(with_genai: Path, with_optimum: Path) -> None:
    """torchvision is left out, as pyproject.toml says why."""
    assert environments.complaints(with_genai) == []
    (said,) = environments.complaints(with_optimum)
    assert re.fullmatch(r"optimum-intel \S+ requires torchvision, which is not installed\.", said)
    ours_alone = {"pocketxl", "dvc", "hydra-core", "datasets", "pytest"}
    assert not ours_alone & environments.installed(with_optimum).keys()
    assert not (ours_alone | {"torch", "transformers"}) & environments.installed(with_genai).keys()


@pytest.mark.parametrize("name", ["fp16", "fp16 image", "lcm", "long"])
def test_genai_draws_what_we_draw_but_cuts_values_off_where_we_round(genai: Seen, name: str) -> None:
    """51 dB. In a long prompt the end token must not be lost."""
    assert cut_off(ours(genai.drawings[name], True), genai.pictures[name])


def test_genai_exchanges_width_and_height_in_what_it_tells_the_unet(genai: Seen) -> None:
    wide = genai.drawings["wide"]
    exchanged = called(wide, original_size=(96, 64), target_size=(96, 64))
    assert psnr_db(exchanged, genai.pictures["wide"]) > 48
    assert psnr_db(ours(wide, True), genai.pictures["wide"]) < 45


def test_genai_runs_all_steps_of_an_lcm_within_the_strength(genai: Seen) -> None:
    """Of diffusers' SDXL pipeline the same steps come to fewer: it leaves out the first ones."""
    image = genai.drawings["lcm image"]
    scheduler = loaded(image.ir, image.task, True).scheduler
    scheduler.set_timesteps(image.how["num_inference_steps"], strength=image.how["strength"])
    mine = called(image, timesteps=scheduler.timesteps.tolist(), strength=1.0)
    assert cut_off(mine, genai.pictures["lcm image"])


@pytest.mark.parametrize("name", ["int8", "int8 image"])
def test_genai_draws_int8_as_near_to_ours_as_ours_to_itself_after_a_breath_of_noise(genai: Seen, name: str) -> None:
    """What differs in the fifth digit falls to another of the 255 steps here and there, and steps add up."""
    import torch

    mine = ours(genai.drawings[name], True)
    assert psnr_db(mine, genai.pictures[name]) > 32
    if name == "int8":
        one, other = noise(genai.drawings[name], 2)
        breath = called(genai.drawings[name], latents=torch.from_numpy(one * (1 + 1e-5 * other)))
        assert psnr_db(mine, genai.pictures[name]) > psnr_db(mine, breath) - 6


def test_genai_draws_the_same_again_with_a_seed_of_its_own(genai: Seen) -> None:
    assert np.array_equal(genai.pictures["seeded"], genai.pictures["seeded again"])
    assert genai.pictures["seeded"].shape == (64, 64, 3) and genai.pictures["seeded"].std() > 10


@pytest.mark.parametrize("name", ["fp16", "fp16 image", "int8", "int8 image", "refiner image"])
def test_optimum_draws_what_we_draw_to_the_last_bit(optimum: Seen, name: str) -> None:
    assert np.array_equal(optimum.pictures[name], ours(optimum.drawings[name], False))


def test_base_and_refiner_of_optimum_draw_what_ours_draw_to_the_last_bit(optimum: Seen) -> None:
    both = optimum.drawings["two-stage"]
    share = both.how["high_noise_fraction"]
    latents = ours(both, False, ir=tiny_ir("base"), denoising_end=share, output="latent")
    mine = ours(both, False, seed=both.seed + 1, image=latents, denoising_start=share)
    assert np.array_equal(optimum.pictures["two-stage"], mine)


def test_nobody_but_the_hub_that_was_named_is_asked_and_every_file_came_whole(
    genai: Seen, optimum: Seen, hub: HubServer, got: Path
) -> None:
    asked = {path.split("?")[0] for _, path, _ in hub.requests}
    assert all(any(repo in path for repo in HUB) for path in asked)
    assert manifest.verify(got, rerun="nothing") == manifest.read(whole_run() / TRAINED / "int8", rerun="nothing")
