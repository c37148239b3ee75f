"""generation_config.json: what a folder of IR is drawn with by whoever has nothing else."""

import json
from pathlib import Path

import pytest

from stages.checkpoints import defaults
from tests.tiny_ir import as_exported, tiny_ir


def test_a_base_says_steps_guidance_and_size_of_both_its_tasks() -> None:
    model = as_exported()
    model.sampler.steps, model.sampler.guidance, model.sampler.width, model.sampler.height = 4, 1.5, 48, 32
    model.sampler.negative_prompt = "blurry"
    how = {"num_inference_steps": 4, "guidance_scale": 1.5, "negative_prompt": "blurry"}
    assert defaults.of(model) == {
        "text-to-image": how | {"width": 48, "height": 32},
        "image-to-image": how | {"strength": 0.5},
    }


def test_a_model_of_one_step_takes_two_where_half_of_them_are_run() -> None:
    model = as_exported()
    model.sampler.steps = 1
    found = defaults.of(model)
    assert [found[task]["num_inference_steps"] for task in ("text-to-image", "image-to-image")] == [1, 2]


def test_a_refiner_names_its_base_and_where_it_takes_over() -> None:
    found = defaults.read(tiny_ir("refiner"))
    assert set(found) == {"image-to-image", "two-stage"}
    assert (found["two-stage"]["base"], found["two-stage"]["high_noise_fraction"]) == ("base", 0.8)


def test_both_libraries_draw_with_what_the_folder_says() -> None:
    """As the model card does it: the file's values are keyword arguments."""
    from optimum.intel import OVStableDiffusionXLPipeline

    folder = tiny_ir("base")
    given = json.loads((folder / "generation_config.json").read_text())["text-to-image"]
    pipeline = OVStableDiffusionXLPipeline.from_pretrained(folder)
    assert pipeline("red", **given).images[0].size == (given["width"], given["height"])
    assert pipeline.num_timesteps == given["num_inference_steps"]


@pytest.mark.parametrize(("text", "said"), [("{", "is not valid JSON"), ('{"steps": 4}', "must hold settings by task")])
def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / defaults.FILE).write_text(text)
    with pytest.raises(ValueError, match=f"{defaults.FILE} {said}"):
        defaults.read(tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{defaults.FILE} is missing"):
        defaults.read(tmp_path / "nowhere")
