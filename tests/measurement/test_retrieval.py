"""The judge of prompts: subjects and backgrounds read out of pixels, and prompts that say what was asked for."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from stages.measurement import retrieval
from tests.cutouts import on

SIDE, COLOURS = 8, {"red": (210, 47, 39), "blue": (30, 100, 210)}
PATTERN = r"an? (?P<subject>.+) on a (?P<background>\w+) background"
MINIATURES = Path(__file__).parents[2] / "miniatures/judge"


def cutouts() -> np.ndarray:
    """A black bar that stands, one that lies, and a white one that stands."""
    found = np.zeros((3, SIDE, SIDE, 4), np.float32)
    found[0, 1:7, 3:5, 3] = found[1, 3:5, 1:7, 3] = found[2, 1:7, 3:5, 3] = 1
    found[2, ..., :3] = 1
    return found


@pytest.fixture
def judge() -> retrieval.Judge:
    return retrieval.Judge(re.compile(PATTERN), ["pillar", "beam", "pillar"], COLOURS, cutouts())


def picture(place: int, colour: str, side: int = SIDE, seed: int = 0) -> Image.Image:
    """A true picture with some noise, `side` pixels wide."""
    true = 255 * on(cutouts()[place : place + 1], COLOURS[colour])[0]
    noisy = true + np.random.default_rng(seed).normal(0, 20, true.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.NEAREST)


def test_shares_are_those_of_pictures_that_show_what_was_asked(judge):
    pictures = [picture(0, "red"), picture(1, "blue"), picture(2, "blue"), picture(0, "blue")]
    texts = [
        f"a {what} background" for what in ("pillar on a red", "beam on a red", "pillar on a blue", "beam on a blue")
    ]
    assert judge.judge(pictures, texts) == {"subject": 0.75, "background": 0.75}


def test_pictures_of_another_size_are_judged_too(judge):
    assert judge.judge([picture(1, "red", side=64)], ["a beam on a red background"]) == {"subject": 1, "background": 1}


@pytest.mark.parametrize(
    "text", ["a beam", "a temple on a red background", "a beam on a mauve background", "oh, a beam on a red background"]
)
def test_prompts_that_it_cannot_read_are_left_out(judge, text):
    assert judge.asked(text) is None and judge.judge([picture(1, "red")], [text]) is None
    both = judge.judge([picture(1, "red")] * 2, [text, "a beam on a red background"])
    assert both == {"subject": 1.0, "background": 1.0}


def test_every_precision_and_the_reference_are_judged_and_the_prompts_counted(judge):
    def runs(*pictures):
        texts = ("a beam on a red background", "something else")
        jobs = [SimpleNamespace(prompt=SimpleNamespace(text=text)) for text in texts]
        return [SimpleNamespace(job=job, picture=shown) for job, shown in zip(jobs, pictures, strict=True)]

    rows = {"fp16": {}, "int8": {}}
    mine = {"fp16": runs(picture(1, "red"), picture(1, "red")), "int8": runs(picture(0, "red"), picture(1, "red"))}
    found = retrieval.add_retrieval(rows, mine["fp16"], mine, judge)
    assert found == {"prompts": 1, "of": 2, "subject": 1.0, "background": 1.0}
    assert rows == {
        "fp16": {"retrieval": {"subject": 1.0, "background": 1.0}},
        "int8": {"retrieval": {"subject": 0.0, "background": 1.0}},
    }


def test_the_background_is_read_from_the_border():
    pixels = np.asarray(picture(0, "blue"), np.float32) / 255
    pixels[0, :3] = 0  # a subject that touches the frame
    assert retrieval.background(pixels, COLOURS) == "blue"


def test_the_nearest_reference_has_the_least_squared_difference():
    references = np.array([[0.0, 0.0], [3.0, 4.0], [1.0, 1.0]])
    errors, places = retrieval.least_squares(np.array([[3.0, 3.0], [0.5, 0.0]]), references)
    assert places.tolist() == [1, 0] and errors.tolist() == pytest.approx([1.0, 0.25])


def folder(path: Path, **changes) -> Path:
    """A judge on disk with one row of cut-outs."""
    facts = {"pattern": PATTERN, "colours": COLOURS, "subjects": ["pillar", "beam"]} | changes
    (path / retrieval.FILE).write_text(json.dumps({key: value for key, value in facts.items() if value is not None}))
    sheet = np.zeros((SIDE, retrieval.COLUMNS * SIDE, 4), np.uint8)
    sheet[:, : 2 * SIDE] = np.concatenate(255 * cutouts()[:2], axis=1)
    Image.fromarray(sheet).save(path / retrieval.SHEET, lossless=True)
    return path


def test_errors_are_those_of_every_cut_out_drawn_on_every_colour():
    chance = np.random.default_rng(1)
    pieces = chance.random((4, SIDE, SIDE, 4), np.float32)
    pictures = chance.random((5, SIDE, SIDE, 3), np.float32)
    found = list(retrieval.Judge(re.compile(PATTERN), ["a", "b", "c", "d"], COLOURS, pieces)._errors(pictures))
    for error, colour in zip(found, COLOURS.values(), strict=True):
        drawn = on(pieces, colour)
        np.testing.assert_allclose(error, ((pictures[:, None] - drawn[None]) ** 2).sum((2, 3, 4)), rtol=1e-4)


def test_a_judge_is_read_as_it_was_written(tmp_path):
    judge = retrieval.load(folder(tmp_path))
    assert judge.subjects == ["pillar", "beam"] and np.array_equal(judge.cutouts, cutouts()[:2])
    assert judge.judge([picture(1, "red")], ["a beam on a red background"]) == {"subject": 1.0, "background": 1.0}


def test_what_is_no_judge_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"judge\.json is missing: judge\.repo must be a judge's folder"):
        retrieval.load(tmp_path)
    with pytest.raises(ValueError, match=r"judge\.json lacks pattern"):
        retrieval.load(folder(tmp_path, pattern=None))
    with pytest.raises(ValueError, match=r"references\.webp must be 2 rows of 18 squares, is \(144, 8\) pixels"):
        retrieval.load(folder(tmp_path, subjects=["pillar"] * 19))


def test_the_miniatures_judge_reads_every_embedded_prompt():
    judge = retrieval.load(MINIATURES)
    file = MINIATURES.parents[1] / "stages/prompts/emoji.jsonl"
    texts = [json.loads(line)["text"] for line in file.read_text().splitlines()]
    assert all(judge.asked(text) for text in texts)
    assert judge.asked("an owl sticker on an orange background") == ("owl", "orange")
