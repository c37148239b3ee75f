"""True size before any download: rows are measured on IRs that were built for them, and nothing is left behind."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages import compare, describe, true_size
from stages.files import layout
from stages.report import true_size as table
from stages.settings import composing, config
from tests.fake_reports import fake_reports
from tests.tiny import SIZE_PX
from tests.tiny_ir import CPU, sampler, tiny_int8, tiny_ir

KEYS = {"synthetic-vega": {}, "synthetic-vegart": {"guidance": 0.0, "steps": 4}}


@pytest.fixture
def figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """Two rows of one tiny UNet, with guidance and without."""
    monkeypatch.chdir(tmp_path)
    built = []

    def build(key, settings, root):
        built.append(key)
        for name, folder in (("fp16", tiny_ir("base")), ("int8", tiny_int8("base"))):
            shutil.copytree(folder, root / layout.ir(key, name))

    monkeypatch.setattr(true_size, "build", build)
    models = {
        key: SimpleNamespace(title=f"{key} (random weights)", role="base", sampler=sampler(**how))
        for key, how in KEYS.items()
    }
    settings = SimpleNamespace(models=models, quantization=SimpleNamespace(name="int8"), device=CPU)
    found = true_size.true_size(settings, tmp_path / "scratch")
    assert built == ["synthetic-vega"], "its twin is the same UNet"
    assert not (tmp_path / "scratch").exists()
    return found


def test_every_row_has_both_precisions_and_the_parts_that_they_share(figures: dict) -> None:
    assert json.loads(layout.TRUE_SIZE.read_text()) == json.loads(json.dumps(figures))
    for row in figures["rows"]:
        assert row["int8"]["unet_mb"] < row["fp16"]["unet_mb"]
        for entry in (row["fp16"], row["int8"]):
            assert entry["step_s"]["n"] == true_size.TURNS and entry["peak_rss_mb"] > 20
        assert set(row["parts_s"]) == {"text_encoder", "text_encoder_2", "vae_decoder"}
        assert row["size_px"] == SIZE_PX
    assert [(row["rows"], row["steps"]) for row in figures["rows"]] == [(2, sampler().steps), (1, 4)]


def test_the_table_says_it_in_one_line_a_model(figures: dict) -> None:
    lines = table.markdown(figures).splitlines()
    assert len(lines) == 4 and lines[2].startswith("| synthetic-vega | ") and lines[3].endswith("(4 steps) |")
    assert table.terminal(figures).splitlines()[-1].startswith(f"{figures['machine']['cores']} cores of ")
    assert table.found() == json.loads(json.dumps(figures))


def test_a_picture_is_text_steps_and_decoding() -> None:
    row = {
        "steps": 4, "rows": 2, "fp16": {"unet_mb": 1.0, "step_s": {"median": 2.0}},
        "parts_s": {part: {"median": value} for part, value in (("text_encoder", 0.25), ("vae_decoder", 1.5))},
    }  # fmt: skip
    assert table.picture_s(row, "fp16") == 2 * 0.25 + 4 * 2.0 + 1.5


def test_the_committed_figures_serve_until_there_are_own_ones(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    describe.true_size("here")
    assert table.found() is None, "a file for DVC, without figures"
    layout.REFERENCE_TRUE_SIZE.parent.mkdir(parents=True)
    layout.REFERENCE_TRUE_SIZE.write_text('{"machine": {"id": "elsewhere"}, "rows": 1}')
    describe.true_size("here")
    assert table.found() == {"machine": {"id": "elsewhere"}, "rows": 1}
    layout.TRUE_SIZE.write_text('{"machine": {"id": "here"}, "rows": 2}')
    describe.true_size("here")
    assert table.found()["rows"] == 2
    layout.TRUE_SIZE.write_text('{"machine": {"id": "a third"}, "rows": 3}')
    describe.true_size("here")
    assert table.found()["rows"] == 1, "figures of no one who is named"


def test_the_models_of_the_command_are_those_of_conf() -> None:
    settings = composing.composed(true_size.READS, [*true_size.OVERRIDES])
    assert tuple(settings.models) == true_size.MODELS
    cases = {key: true_size.case(model) for key, model in settings.models.items()}
    assert cases["synthetic-sdxl"] == true_size.Case(64, 2, 25)
    assert cases["synthetic-sdxl-refiner"] == true_size.Case(64, 2, 5)
    assert cases["synthetic-vegart"] == true_size.Case(64, 1, 4)


def test_the_page_and_the_readme_show_it_first(tmp_path: Path, monkeypatch, figures: dict) -> None:
    root = fake_reports(tmp_path / "shown", ("mini-vega",))
    monkeypatch.chdir(root)
    layout.TRUE_SIZE.write_text(json.dumps(figures))
    layout.README.write_text("<!-- true size -->\n<!-- /true size -->\n<!-- table -->\n<!-- /table -->\n")
    settings = config.load(compare.READS, None, [])
    compare.compare(settings)
    page = Path("reports/index.html").read_text()
    assert page.index('id="true-size"') < page.index('id="pictures"') < page.index('id="comparison"')
    assert table.machine(figures) in page and '<th scope="row">synthetic-vegart</th>' in page
    compare.refresh_readme(settings)
    readme = layout.README.read_text()
    assert table.markdown(figures) in readme and readme.index("synthetic-vega") < readme.index("mini-Vega")
    assert json.loads(layout.REFERENCE_TRUE_SIZE.read_text()) == json.loads(json.dumps(figures))
