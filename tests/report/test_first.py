"""The first screen: what it claims is what was measured, and it claims of speed what is known at true size."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stages.report import columns, comparison, first, page, summary, viewer
from stages.report.results import Result
from tests.fake_reports import fake_reports
from tests.report.test_page import INT8, change, read

TRUE_SIZE = json.loads(Path("reports/reference/true-size.json").read_text(encoding="utf-8"))


def faster(ratio: float, low: float) -> dict:
    """The committed figures with one speed for all models."""
    speed = {"ratio": ratio, "low": low, "high": ratio + 0.1}
    return TRUE_SIZE | {"rows": [row | {"speedup_step": speed} for row in TRUE_SIZE["rows"]]}


def mini(tmp_path: Path, *models: str) -> list[Result]:
    return read(fake_reports(tmp_path, models or ("mini-sdxl", "mini-vega")))


def test_of_miniatures_size_and_speed_are_those_at_true_size(tmp_path):
    found = mini(tmp_path)
    said = first.sentence(found, faster(1.62, 1.44))
    assert said == "SDXL models at half the size, 1.62× as fast, in pictures that keep 28 dB PSNR."
    assert "with random weights" in first.lead(found, TRUE_SIZE, {"cpu": "A", "cores": 2})
    assert "mini" not in first.sentence(found, None) and "1.41× as fast" in first.sentence(found, None)


def test_a_speed_that_is_not_surely_above_one_is_no_gain(tmp_path):
    assert "1.02× the speed" in first.sentence(mini(tmp_path), faster(1.02, 0.97))
    assert "as fast" not in first.sentence(mini(tmp_path), faster(0.8, 0.7))


def test_checkpoints_of_true_size_speak_for_themselves(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    params = json.loads((tmp_path / "params.yaml").read_text())
    params["model"]["mini-vega"]["family"] = "hub"
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    found = read(tmp_path)
    assert "1.41× as fast" in first.sentence(found, faster(3.0, 2.9))
    assert "random weights" not in first.lead(found, TRUE_SIZE, {"cpu": "A", "cores": 2})


def test_pictures_are_called_alike_only_from_30_db_on(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    change(tmp_path, "mini-vega", 41.2, *INT8, "psnr_db")
    assert first.sentence(read(tmp_path), None).endswith("in pictures hardly to be told apart.")


def test_the_last_words_of_a_run_begin_at_true_size_where_only_miniatures_ran(tmp_path):
    said = first.true_size_in_a_sentence(faster(1.62, 1.44))
    assert said.startswith("At true size INT8 is half the size, a UNet step 1.62× as fast as FP16's (2 cores of ")
    first_line, second = summary.in_a_sentence(mini(tmp_path), said).splitlines()
    assert first_line == said and second.startswith("These miniatures, which are mostly overhead: INT8 makes")


def test_facts_name_scheme_day_commit_and_command(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    change(
        tmp_path,
        "mini-vega",
        {"date": "2026-11-26", "commit": "abc1234", "project": "https://example.org/x"},
        "measured",
    )
    found = read(tmp_path)
    known = dict(first.facts(found))
    assert (known["scheme"], known["measured"], known["commit"]) == ("int8", "2026-11-26", "abc1234")
    assert first.project(found) == "https://example.org/x"
    assert (
        "dvc get https://example.org/x artifacts/ir/mini-vega/int8"
        in first.snippets(found[0], first.project(found))[2].code
    )


def test_snippets_are_python_with_the_models_own_steps_and_guidance(tmp_path):
    genai, optimum, _ = first.snippets(mini(tmp_path, "mini-vegart")[0], None)
    for snippet in (genai, optimum):
        compile(snippet.code, snippet.title, "exec")
        assert "num_inference_steps=4, guidance_scale=1.0" in snippet.code and "width=64, height=64" in snippet.code


def test_a_scheme_measured_elsewhere_is_a_row_and_a_side_of_the_viewer(tmp_path):
    (found,) = mini(tmp_path, "mini-vega")
    other = read(fake_reports(tmp_path / "other", ("mini-vega",), after="int8-weights"))[0]
    whole, lines = comparison.comparison([found], [other])
    assert [(line.precision, line.apart) for line in lines] == [
        ("fp16", False),
        ("int8", False),
        ("int8-weights", True),
    ]
    text = comparison.as_csv(whole, lines).splitlines()
    assert len(text) == 4 and text[0].startswith("model,precision,size UNet [MB],")
    shown = viewer.embed(viewer.scenes([found], [other]))
    assert list(shown[0].embedded) == ["fp16", "int8", "reference", "int8-weights"]
    assert all(one.exact for one in shown[0].embedded.values())


def test_pairs_that_contradict_their_medians_are_explained(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    assert columns.contradictions(read(tmp_path)) == []
    change(tmp_path, "mini-vega", 1.2, *INT8, "speedup_step", "ratio")
    (said,) = columns.contradictions(read(tmp_path))
    assert said == "mini-Vega: 1.20× is the median of pairs; the medians divide to 1.41×."


@pytest.mark.parametrize("wide", [True, False])
def test_large_pictures_keep_a_page_under_5_mb_and_carry_their_differences(tmp_path, wide):
    import numpy as np
    from PIL import Image

    fake_reports(tmp_path, ("mini-vega",))
    folder = tmp_path / "reports/benchmark/mini-vega/images"
    side = 512 if wide else 96
    for number, path in enumerate(folder.glob("*.png")):
        noise = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
    entries = json.loads((folder / "images.json").read_text())
    (folder / "images.json").write_text(json.dumps([one | {"width": side, "height": side} for one in entries]))
    found = read(tmp_path)
    shown = viewer.embed(viewer.scenes(found))
    assert len(viewer.data(shown)) < 3.6e6
    assert all(set(scene.differences) == ({"fp16|int8", "fp16|reference"} if wide and scene.first else
                                          {"fp16|int8"} if wide else set()) for scene in shown)  # fmt: skip
    assert len(page.page(found, {}, {}, page.draw_plots(found))) < 5e6


def test_a_thousand_prompts_keep_a_page_under_5_mb_that_shows_the_worst(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    folder = tmp_path / "reports/benchmark/mini-vega"
    listed = json.loads((folder / "images/images.json").read_text())
    many = [one | {"prompt_id": f"{one['prompt_id']}-{n}"} for n in range(500) for one in listed]
    (folder / "images/images.json").write_text(json.dumps(many))
    record = json.loads((folder / "record.json").read_text())
    for row in record["precisions"].values():
        row["per_prompt"] = [one | {"id": f"{one['id']}-{n}"} for n in range(500) for one in row["per_prompt"]]
        row["worst_prompts"] = row["per_prompt"][-1:]
    (folder / "record.json").write_text(json.dumps(record))
    found = read(tmp_path)
    shown = [scene for scene in viewer.scenes(found) if scene.first]
    assert len(shown) == viewer.PROMPTS + 1 and shown[-1].prompt_id == row["worst_prompts"][0]["id"]
    text = page.page(found, {}, {}, page.draw_plots(found))
    count = len(row["per_prompt"])
    assert len(text) < 5e6 and f"are {viewer.PROMPTS} of {count:,} prompts" in text
    assert f"{count - page.LONGEST} more in record.json" in text


def test_a_refiners_picture_is_what_it_adds_and_below_it_the_sum(tmp_path):
    found = mini(tmp_path, "mini-sdxl", "mini-sdxl-refiner")
    whole, lines = comparison.comparison(found)
    column = next(number for number, one in enumerate(whole) if one.head == columns.PICTURE)
    base, refiner = (line.cells[column] for line in lines if line.precision == "int8")
    assert not base.text.startswith("+") and refiner.text.startswith("+") and refiner.small.endswith("with base")
