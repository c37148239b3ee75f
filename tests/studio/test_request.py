"""Requests: the model's own values where none is given, and one sentence for each that is not allowed."""

from __future__ import annotations

import pytest
from PIL import Image

from stages.studio import request as requests
from stages.studio import shelf
from stages.studio.request import Refused
from tests.tiny import SIZE_PX
from tests.tiny_ir import tiny_ir, tiny_root

START = Image.new("RGB", (SIZE_PX, SIZE_PX))


@pytest.fixture(scope="module")
def base() -> shelf.Item:
    return shelf.item(tiny_ir("base"))


@pytest.fixture(scope="module")
def refiner() -> shelf.Item:
    return shelf.item(tiny_ir("refiner"))


def test_a_model_draws_as_its_folder_says(base: shelf.Item, refiner: shelf.Item) -> None:
    request = requests.make(base, prompt="a cat")
    assert (request.task, request.steps, request.guidance) == ("text-to-image", 3, 5.0)
    assert (request.width, request.height, request.scheduler) == (SIZE_PX, SIZE_PX, "EulerDiscreteScheduler")
    assert (request.strength, request.high_noise_fraction, request.seed) == (None, None, 0)
    assert requests.make(base, "image-to-image", prompt="a cat", image=START, steps=4).strength == 0.5
    assert requests.make(refiner, prompt="a cat").high_noise_fraction == 0.8


def test_forms_and_links_give_numbers_as_text_and_as_floats(base: shelf.Item) -> None:
    request = requests.make(base, prompt="a cat", steps="7", width=48.0, guidance="1.5", seed=float(2**40))
    assert (request.steps, request.width, request.guidance, request.seed) == (7, 48, 1.5, 2**40)
    assert all(isinstance(value, int) for value in (request.steps, request.width, request.seed))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("prompt", "a" * 100_000, "at most 5,000 characters, got 100,000"),
        ("prompt", " \n ", "is empty"),
        ("prompt", 7, "must be text"),
        ("prompt", "a \x00 cat", "a sign that nobody can read"),
        ("negative_prompt", "b" * 5_001, "at most 5,000 characters"),
        ("steps", 0, "at least 1 and at most 1000"),
        ("steps", "many", "a whole number, got 'many'"),
        ("steps", True, "a whole number, got True"),
        ("steps", float("nan"), "a whole number, got nan"),
        ("guidance", "inf", "a number, got 'inf'"),
        ("guidance", 51, "at least 0 and at most 50"),
        ("width", 65, "a multiple of 8, at least 16 and at most 4096, got 65"),
        ("height", 8, "a multiple of 8, at least 16"),
        ("height", 10**9, "at most 4096"),
        ("seed", -1, "at least 0 and at most 9007199254740991"),
        ("seed", 10**29, "at least 0 and at most 9007199254740991"),
        ("seed", "9" * 5_000, "must be"),
        ("scheduler", "os.system", "scheduler must be one of DDIM"),
        ("strength", 0.5, "has no effect in text-to-image"),
        ("high_noise_fraction", 0.5, "has no effect in text-to-image"),
        ("image", START, "has no effect in text-to-image"),
        ("stepz", 3, "is no field"),
    ],
)
def test_what_is_not_allowed_is_said_at_its_field(base: shelf.Item, field: str, value: object, said: str) -> None:
    with pytest.raises(Refused, match=said) as refused:
        requests.make(base, **{"prompt": "a cat", field: value})
    assert refused.value.field == field and len(str(refused.value)) < 600


def test_image_to_image_must_run_a_step(base: shelf.Item) -> None:
    with pytest.raises(Refused, match="strength 0.3 of 3 steps runs none of them: raise it, or steps to 4") as refused:
        requests.make(base, "image-to-image", prompt="a cat", image=START, strength=0.3)
    assert refused.value.field == "strength"
    with pytest.raises(Refused, match="choose one"):
        requests.make(base, "image-to-image", prompt="a cat")


def test_the_shelf_holds_whole_folders_with_fp16_first(tmp_path) -> None:
    found = shelf.find(tiny_root())
    assert list(found["base"])[0] == "fp16" and found["refiner"]["fp16"].base == "base"
    assert shelf.find(tmp_path) == {}
    with pytest.raises(ValueError, match="there is no IR in artifacts/ir: run `make repro`"):
        shelf.choose({}, "vega")
    with pytest.raises(ValueError, match="of that there is no IR: run 'dvc repro quantize@base'"):
        shelf.base_of({}, found["refiner"]["fp16"])


@pytest.mark.parametrize(
    "said", ["[]", "{}", '{"layout": 1, "ir": {"base": {}}}', '{"layout": 1, "ir": [1]}', '{"layout": 1, "ir": {}}']
)
def test_settings_in_a_png_that_are_none_of_ours_are_refused_in_one_line(tmp_path, said: str) -> None:
    from PIL.PngImagePlugin import PngInfo

    from stages.studio import metadata

    texts = PngInfo()
    texts.add_itxt(metadata.KEY, said)
    Image.new("RGB", (8, 8)).save(tmp_path / "odd.png", pnginfo=texts)
    with pytest.raises(Refused, match="settings are damaged|settings have layout"):
        metadata.read(tmp_path / "odd.png")
