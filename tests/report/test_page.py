import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from stages import compare
from stages.report import columns, comparison, first, grids, page, plots, results, summary, words
from stages.settings import config
from tests.fake_reports import MODELS, fake_reports

INT8 = ("precisions", "int8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return fake_reports(tmp_path_factory.mktemp("reports"))


def read(folder: Path) -> list[results.Result]:
    params = json.loads((folder / "params.yaml").read_text())
    models = {key: SimpleNamespace(**model) for key, model in params["model"].items()}
    return results.read(models, params["quantization"]["name"], folder / "reports/benchmark")


def change(folder: Path, key: str, value: object, *path: str) -> None:
    """Set one figure in a model's record.json; absent where the value is `...`."""
    file = folder / f"reports/benchmark/{key}/record.json"
    metrics = json.loads(file.read_text())
    inner = metrics
    for name in path[:-1]:
        inner = inner[name]
    inner.pop(path[-1]) if value is ... else inner.update({path[-1]: value})
    file.write_text(json.dumps(metrics))


def cells(found: list[results.Result], title: str, precision: str) -> dict[str, columns.Cell]:
    whole, lines = comparison.comparison(found)
    line = next(line for line in lines if (line.title, line.precision) == (title, precision))
    return dict(zip([f"{one.group} {one.head} {one.unit}".strip() for one in whole], line.cells, strict=True))


def test_the_headline_is_computed_from_the_figures(folder):
    found = read(folder)
    told = "SDXL models at half the size, 1.41× as fast, in pictures that keep 28 dB PSNR."
    assert first.sentence(found, None) == told
    assert summary.in_a_sentence(found).endswith(
        "mini-Vega draws 2.47× faster than mini-SDXL; mini-VegaRT, in 4 steps, 9.08× faster."
    )


def test_the_headline_of_one_model_compares_it_with_nothing_else(tmp_path):
    one = read(fake_reports(tmp_path, ("mini-vega",)))
    said = summary.in_a_sentence(one)
    assert said.startswith("INT8 makes the UNets 1.96× smaller; ") and " draws " not in said
    assert said.endswith("a step runs 1.41× as fast as FP16's.")


@pytest.mark.parametrize(
    ("models", "steps", "said"),
    [
        (("mini-sdxl", "mini-vegart"), 25, "mini-VegaRT, in 4 steps, draws 9.08× faster than mini-SDXL."),
        (("mini-sdxl", "mini-vega"), 2, "mini-Vega draws 2.47× faster than mini-SDXL."),
    ],
)
def test_the_headline_names_few_steps_only_where_the_largest_takes_more(tmp_path, models, steps, said):
    for path in (fake_reports(tmp_path, models) / "reports/benchmark").glob("*/record.json"):
        facts = json.loads(path.read_text())
        path.write_text(json.dumps(facts | {"steps": min(steps, facts["steps"])}))
    assert summary.in_a_sentence(read(tmp_path)).endswith(said)


def test_a_slower_int8_is_not_called_faster(tmp_path):
    fake_reports(tmp_path, ("mini-vega", "mini-ssd-1b"))
    change(tmp_path, "mini-vega", {"ratio": 0.8, "low": 0.75, "high": 0.84}, *INT8, "speedup_step")
    assert "0.80–1.41× the speed" in first.sentence(read(tmp_path), None)


def test_a_speed_up_within_its_interval_of_one_is_not_called_a_gain(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    change(tmp_path, "mini-vega", {"ratio": 1.02, "low": 0.95, "high": 1.08}, *INT8, "speedup_step")
    assert "1.02× the speed" in first.sentence(read(tmp_path), None)


def test_a_comparison_has_two_lines_per_model_and_ratios_computed_by_hand(folder):
    found = read(folder)
    assert len(comparison.comparison(found)[1]) == 2 * len(MODELS)
    row = cells(found, "mini-Vega", "int8")
    assert row["size UNet MB"].text == "2.19"  # 4.3 / 1.96
    assert row["time step ms"].text == "8.01"  # 11.3 / 1.41
    assert (row["time step speed ×"].text, row["time step speed ×"].small) == ("1.41", "1.37–1.46")
    assert row["work INT8 %"].text == "94"
    assert row["fidelity CLIP score"].text == "27.18" and row["fidelity CLIP similarity"].text == "0.9871"


@pytest.mark.parametrize("value", [None, float("inf"), float("nan"), ...])
def test_an_unknown_figure_is_an_en_dash_and_never_infinite(tmp_path, value):
    fake_reports(tmp_path, ("mini-vega",))
    unknown = ("psnr_db", "sqnr_db", "unet_size_mb", "image_s", "speedup_step", "macs")
    for name in (*unknown, "clip_score", "clip_similarity"):
        change(tmp_path, "mini-vega", value, *INT8, name)
    found = read(tmp_path)
    row = cells(found, "mini-Vega", "int8")
    assert row["fidelity SQNR dB"].text == row["size UNet MB"].text == row["time picture ms"].text == "–"
    assert "time step speed ×" not in row  # of no row: no column
    assert {cell.text for meaning, cell in row.items() if "CLIP" in meaning} <= {"–"}
    drawn = page.draw_plots(found)
    text = page.page(found, {}, grids.all_grids(found), drawn) + comparison.markdown(found)
    visible = re.sub(r"<style>.*?</style>|<[^>]+>", "", text, flags=re.DOTALL)
    assert not re.search(r"\b(inf|nan|Infinity|NaN|None)\b", visible)


def test_a_model_not_measured_says_what_to_run(tmp_path):
    fake_reports(tmp_path, ("mini-sdxl", "mini-vega"))
    (tmp_path / "reports/benchmark/mini-vega/record.json").unlink()
    found = read(tmp_path)
    reasons = [line.reason for line in comparison.comparison(found)[1] if line.reason]
    assert reasons == ["not measured: run 'dvc repro benchmark@mini-vega'"]
    assert reasons[0] in comparison.markdown(found)
    assert f"mini-Vega: {reasons[0]}" in summary.warnings(found, {})


def test_a_precision_not_measured_says_what_to_run(tmp_path):
    fake_reports(tmp_path, ("mini-sdxl", "mini-vega"))
    change(tmp_path, "mini-vega", ..., *INT8)
    _, lines = comparison.comparison(read(tmp_path))
    assert lines[2].cells and lines[3].reason == "no int8 figures: run 'dvc repro benchmark@mini-vega'"


def test_a_precision_that_memory_did_not_hold_says_so_and_the_other_keeps_its_figures(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    path = tmp_path / "reports/benchmark/mini-vega/record.json"
    metrics = json.loads(path.read_text())
    rows = metrics["precisions"]
    reason = "not run: needs 11.4 GB of memory, 7.0 of 8.0 GB can be had"
    rows["fp16"] = dict.fromkeys(rows["fp16"]) | {"unet_size_mb": rows["fp16"]["unet_size_mb"], "skipped": reason}
    rows["int8"] |= {"skipped": None, "speedup_step": None, "speedup_image": None, "psnr_db": None}
    path.write_text(json.dumps(metrics | {"reference": None, "interleaved": True}))
    found = read(tmp_path)
    _, (before, after) = comparison.comparison(found)
    assert before.reason == reason and after.reason is None
    assert any(reason in warning for warning in summary.warnings(found, {}))
    row = comparison.markdown(found).splitlines()[-1]
    assert "–" in row and words.duration(found[0].figure("int8", "unet_step_s", "median")) in row


def test_measuring_apart_and_against_another_reference_is_told(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    path = tmp_path / "reports/benchmark/mini-vega/record.json"
    metrics = json.loads(path.read_text())
    path.write_text(json.dumps(metrics | {"reference": "fp16 in bf16", "interleaved": False, "decode": "tiles"}))
    found = read(tmp_path)
    said = " ".join(summary.warnings(found, {}))
    assert "mini-Vega: precisions were measured one after the other" in said
    assert "mini-Vega: fidelity is against fp16 in bf16, memory does not hold it in float32" in said
    assert "64 × 64, decoded in tiles" in page.setting_row(found[0])


def test_no_model_measured_is_an_error(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    (tmp_path / "reports/benchmark/mini-vega/record.json").unlink()
    with pytest.raises(FileNotFoundError, match="none of mini-vega: run 'dvc repro benchmark@mini-vega'"):
        read(tmp_path)


def test_broken_benchmark_files_are_named(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    images = tmp_path / "reports/benchmark/mini-vega/images/images.json"
    images.write_text('[{"file": "../../x.png"}]')
    with pytest.raises(ValueError, match=r"images\.json: an entry lacks task, precision"):
        read(tmp_path)
    images.write_text("[")
    with pytest.raises(ValueError, match=r"images\.json is not valid JSON"):
        read(tmp_path)


def test_a_picture_outside_the_images_folder_is_refused(tmp_path):
    fake_reports(tmp_path, ("mini-vega",))
    images = tmp_path / "reports/benchmark/mini-vega/images/images.json"
    images.write_text(json.dumps([json.loads(images.read_text())[0] | {"file": "../record.json"}]))
    with pytest.raises(ValueError, match="refused"):
        read(tmp_path)


def test_noise_another_machine_and_random_weights_are_told(folder):
    found = read(folder)
    told = "\n".join(summary.warnings(found, {"id": "elsewhere"}))
    assert (
        "mini-VegaRT was measured on a busy machine (load 1.4, 12 % taken by other processes, 1 % by other guests)"
        in told
    )
    assert "more than one machine" in told
    assert "more than one machine" not in "\n".join(summary.warnings(found, {"id": "0123456789ab"}))


def test_published_figures_stand_beside_ours(folder):
    beside = {entry["claim"]: entry for entry in comparison.beside_published(read(folder))}
    assert (beside["Segmind-Vega against SDXL"]["ours"], beside["Segmind-Vega against SDXL"]["published"]) == (
        "2.56×",
        "2×",
    )
    assert beside["VegaRT: INT8 UNet against FP16"]["ours"] == "1.96×"


def test_settings_name_the_precision_computed_in_and_the_licence(folder):
    row = page.setting_row(read(folder)[0])
    assert row[:6] == ["mini-SDXL", "EulerDiscreteScheduler", "25", "5.0", "64 × 64", "bfloat16 / bfloat16"]
    assert row[-1] == "CC-BY-SA-4.0"


def test_the_page_names_the_clip_that_scored_and_says_nothing_of_it_where_none_did(tmp_path):
    def text() -> str:
        found = read(tmp_path)
        return page.page(found, {}, grids.all_grids(found), page.draw_plots(found))

    fake_reports(tmp_path, ("mini-vega", "mini-vegart"))
    assert "by mini-CLIP (CC-BY-SA-4.0), and to be compared only" in text()
    change(tmp_path, "mini-vega", {"title": "CLIP ViT-L/14", "licence": "MIT"}, "clip_model")
    assert "by CLIP ViT-L/14 (MIT) and mini-CLIP (CC-BY-SA-4.0)" in text()
    for key, value in (("mini-vega", None), ("mini-vegart", ...)):
        change(tmp_path, key, value, "clip_model")
    assert "CLIP similarity" not in text()


def test_the_readmes_table_has_clip_scores_of_both_precisions(folder):
    lines = comparison.markdown(read(folder)).splitlines()
    assert lines[0].endswith("| CLIP score FP16 → INT8 |") and lines[2].endswith("| 27.31 → 27.18 |")


def test_grids_hold_pictures_of_one_prompt_per_column(folder):
    shown = grids.all_grids(read(folder))
    assert [row.label for row in shown["overview"].rows] == [title for title, *_ in MODELS.values()]
    assert [row.label for row in shown["precisions-mini-vega"].rows] == ["FP16", "INT8", "difference"]
    assert [row.label for row in shown["few-steps"].rows] == ["mini-SDXL", "mini-LCM-SSD-1B", "mini-VegaRT"]
    assert len(shown["two-stage-mini-sdxl-refiner"].rows) == 5
    assert [row.label for row in shown["worst-mini-vega"].rows] == ["float32", "INT8", "difference"]
    assert all(len(row.pictures) == (3 if "worst" in name else 8) for name, grid in shown.items() for row in grid.rows)


def test_plots_are_well_formed_and_name_every_model(folder):
    drawn = page.draw_plots(read(folder))
    assert list(drawn) == ["size", "time", "speedup", "fidelity", "curve"]
    for svg in (svg for pair in drawn.values() for svg in pair):
        tree = ElementTree.fromstring(svg)
        words = "".join(tree.itertext()) + tree.get("aria-label")
        assert all(title in words for title, *_ in MODELS.values())


def test_a_plot_tells_its_figures_to_those_who_do_not_see_it(folder):
    wide, narrow = (ElementTree.fromstring(svg).get("aria-label") for svg in page.draw_plots(read(folder))["size"])
    assert wide == narrow and "mini-Vega: FP16 4.30 MB, INT8 2.19 MB" in wide


def test_bars_are_as_long_as_their_figures():
    svg = ElementTree.fromstring(plots.paired_bars("t", ("a", "b"), [("m", 4.0, 2.0), ("n", None, 1.0)], str))
    bars = [rect for rect in svg if rect.get("height") == str(plots.BAR)]
    widths = [float(rect.get("width")) for rect in bars]
    assert widths[0] == 2 * widths[1] == 4 * widths[3] and widths[2] == 0


def test_a_title_too_long_for_any_card_is_cut_before_the_bars():
    title = "A fine-tune of a fine-tune that somebody gave a very long name indeed"
    for width in (plots.WIDTH, plots.NARROW):
        svg = ElementTree.fromstring(plots.paired_bars("t", ("a", "b"), [(title, 4.0, 2.0)], str, width))
        label = next(one.text for one in svg.iter() if (one.text or "").endswith("…"))
        first = next(rect for rect in svg if rect.get("height") == str(plots.BAR))
        assert len(label) * plots.LETTER <= float(first.get("x")) and title in svg.get("aria-label")


def test_a_long_title_keeps_clear_of_the_bars():
    title = "Segmind-Vega (random weights)"
    for svg in (
        plots.paired_bars("t", ("a", "b"), [(title, 4.0, 2.0)], str),
        plots.stacked_bars("t", ["a"], [(title, "", [4.0])], str),
    ):
        bars = [rect for rect in ElementTree.fromstring(svg) if rect.get("height") == str(plots.BAR)]
        assert float(bars[0].get("x")) > plots.LETTER * len(title)
        assert max(float(rect.get("x")) + float(rect.get("width")) for rect in bars) <= plots.WIDTH - plots.RIGHT


def test_parts_of_a_time_add_up_to_the_picture_even_where_the_machine_was_disturbed():
    def result(metrics):
        return results.Result("x", "x", "base", "x", "synthetic", "x", "int8", metrics, [])

    def parts(text: float, picture: float, decode: float) -> list[float]:
        row = {"text_encoders_s": {"median": text}, "image_s": {"median": picture}, "vae_decode_s": {"median": decode}}
        return page.time_parts(result({"precisions": {"fp16": row}}), "fp16")

    assert parts(0.5, 4.0, 1.5) == [0.5, 2.0, 1.5]
    assert parts(1.0, 2.0, 3.0) == [0.5, 0.0, 1.5]


def test_random_weights_have_no_plot_of_fidelity(tmp_path):
    path = fake_reports(tmp_path) / "reports/benchmark"
    for metrics in path.glob("*/record.json"):
        facts = json.loads(metrics.read_text())
        for row in facts["precisions"].values():
            row |= {"sqnr_db": None, "sqnr_by_timestep": None}
        metrics.write_text(json.dumps(facts))
    assert list(page.draw_plots(read(tmp_path))) == ["size", "time", "speedup"]


class Page(HTMLParser):
    """Addresses that a browser would request, tags left open, headings and picture descriptions."""

    def __init__(self, text: str):
        super().__init__()
        self.requests, self.alts, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.requests += [given[name] for name in ("src", "srcset", "data") if name in given]
        self.requests += [given["href"]] if tag == "link" else []
        self.alts += [given.get("alt", "")] if tag == "img" else []
        if tag not in ("meta", "link", "img", "br", "input", "rect", "line", "circle", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "line", "circle", "polyline"):
            assert self.open.pop() == tag


def run_compare(folder: Path, monkeypatch, *arguments: str) -> None:
    monkeypatch.chdir(folder)
    compare.main(list(arguments))


def test_compare_writes_one_page_that_requests_nothing(tmp_path, monkeypatch, capsys):
    run_compare(fake_reports(tmp_path), monkeypatch)
    text = (tmp_path / "reports/index.html").read_text()
    shown = Page(text)
    assert shown.open == []
    assert shown.requests and all(address.startswith("data:") for address in shown.requests)
    assert shown.alts and all(shown.alts)
    assert "url(" not in text and "@import" not in text and "src=http" not in text
    policy = re.search(r"script-src '(sha256-[^']+)'", text)[1]
    ours = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert [policy] == ["sha256-" + base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in ours]
    assert len(list((tmp_path / "reports/grids").glob("*.png"))) == 16
    assert len(list((tmp_path / "reports/plots").glob("*.svg"))) == 5
    assert capsys.readouterr().out.startswith("reports/index.html: SDXL models at half the size")


def test_compare_of_equal_reports_gives_equal_bytes_and_no_leftovers(tmp_path, monkeypatch):
    fake_reports(tmp_path, ("mini-vega",))
    made = []
    for _ in range(2):
        run_compare(tmp_path, monkeypatch)
        files = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
        made.append({path: path.read_bytes() for path in files})
    assert made[0] == made[1]
    assert not [path for path in made[0] if path.name.startswith(".")]


def test_compare_takes_selected_models_only_and_other_schemes(tmp_path, monkeypatch):
    fake_reports(tmp_path, after="int8-hybrid")
    params = json.loads((tmp_path / "params.yaml").read_text())
    params["model"] = {
        "mini-sdxl-refiner": params["model"]["mini-sdxl-refiner"],
        "mini-sdxl": params["model"]["mini-sdxl"],
    }
    (tmp_path / "params.yaml").write_text(json.dumps(params))
    run_compare(tmp_path, monkeypatch)
    text = (tmp_path / "reports/index.html").read_text()
    assert "FP16 against INT8-HYBRID" in text and "mini-Vega" not in text


def test_compare_fails_in_one_line(tmp_path, monkeypatch, capsys):
    fake_reports(tmp_path, ("mini-vega",))
    (tmp_path / "reports/benchmark/mini-vega/images/text-to-image-int8-moon.png").unlink()
    with pytest.raises(SystemExit):
        run_compare(tmp_path, monkeypatch)
    assert re.match(r"error: .*text-to-image-int8-moon\.png is missing: run 'dvc repro", capsys.readouterr().err)
    assert not (tmp_path / "reports/index.html").exists()


def test_text_from_files_is_escaped(tmp_path, monkeypatch):
    fake_reports(tmp_path, ("mini-vega",))
    images = tmp_path / "reports/benchmark/mini-vega/images/images.json"
    images.write_text(images.read_text().replace("a red apple", "<script>alert(1)</script>"))
    run_compare(tmp_path, monkeypatch)
    text = (tmp_path / "reports/index.html").read_text()
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text and "\\u003cscript" in text


def test_the_readme_gets_its_table_and_picture(tmp_path, monkeypatch):
    fake_reports(tmp_path)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- table -->\nold\n<!-- /table -->\nafter\n")
    run_compare(tmp_path, monkeypatch, "--readme")
    lines = readme.read_text().splitlines()
    assert lines[:2] == ["before", "<!-- table -->"] and lines[-2:] == ["<!-- /table -->", "after"]
    assert len(lines) == 4 + 2 + len(MODELS) and len({line.count("|") for line in lines[2:-2]}) == 1
    assert (tmp_path / "reports/readme/grid.webp").is_file()
    readme.write_text("no markers")
    with pytest.raises(SystemExit):
        run_compare(tmp_path, monkeypatch, "--readme")


def test_compare_reads_what_it_declares(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    settings = config.load(compare.READS, None, [])
    assert settings.models and settings.quantization.name
    with pytest.raises(AttributeError, match="quantization.samples"):
        _ = settings.quantization.samples


def test_the_last_sentence_says_why_a_step_is_no_faster(tmp_path):
    fake_reports(tmp_path)
    for key in MODELS:
        change(tmp_path, key, 0.94, "precisions", "int8", "speedup_step", "ratio")
    words = summary.in_a_sentence(read(tmp_path))
    assert "a step takes 1.06× as long as FP16's, which this processor computes in bfloat16." in words
    assert "27.9 dB PSNR or more against float32's (differences to be seen)" in words


def test_plots_say_how_large_they_are(tmp_path):
    """DVC's page draws an SVG without width and height as an icon."""
    fake_reports(tmp_path)
    for svg, _ in page.draw_plots(read(tmp_path)).values():
        assert re.match(r'<svg [^>]*width="(560|1080)" height="\d{2,}"', svg)


def test_fid_stands_with_interval_number_and_rise_where_there_is_one(tmp_path):
    folder = fake_reports(tmp_path, ("mini-vega",))
    assert not [name for name in cells(read(folder), "mini-Vega", "int8") if "FID" in name]
    told = {"value": 1.5351, "low": 0.6273, "high": 2.4428, "count": 1000}
    rise = {"value": 0.0417, "low": -0.1436, "high": 0.227, "count": 1000}
    about = {"title": "held-out pictures", "features": "scorer", "width": 96, "reference_pictures": 414}
    change(folder, "mini-vega", about | {"licence": "CC-BY-SA-4.0", "why": None}, "fid")
    change(folder, "mini-vega", told, "precisions", "fp16", "fid")
    change(folder, "mini-vega", told, "precisions", "int8", "fid")
    change(folder, "mini-vega", rise, "precisions", "int8", "fid_rise")
    found = read(folder)
    after = cells(found, "mini-Vega", "int8")
    assert (after["fidelity FID"].text, after["fidelity FID"].small) == ("1.54", "0.63–2.44\n1,000 pictures")
    assert (after["fidelity FID rise"].text, after["fidelity FID rise"].small) == ("+0.04", "−0.14 to +0.23")
    assert cells(found, "mini-Vega", "fp16")["fidelity FID rise"].text == "–"
    assert page.fids(found) == ["96 features of mini-CLIP, from held-out pictures, 414 pictures (CC-BY-SA-4.0)"]


def test_an_fid_of_too_few_pictures_is_a_remark_and_no_column(tmp_path):
    folder = fake_reports(tmp_path, ("mini-vega",))
    change(folder, "mini-vega", {"why": "8 pictures of each precision, at least 97 are needed"}, "fid")
    found = read(folder)
    assert "mini-Vega: no FID: 8 pictures of each precision, at least 97 are needed" in summary.warnings(found, {})
    assert page.fids(found) == []
