"""Experiments side by side: lines by model, columns that matter, all within a terminal's width."""

from stages import experiments
from stages.report import words


def shown(scheme: str, **figures: float) -> dict:
    named = {"scheme": scheme, "size_mb": 1.68, "clip_score": 93.92} | figures
    table = {f"reports/table/mini/{name}.json:vega": value for name, value in named.items()}
    return table | {"reports/table/hub/step_ms.json:sdxl": 2873.4, "benchmark.steps": None, "rev": "abc"}


def test_a_models_experiments_stand_under_each_other() -> None:
    found = [{"Experiment": "weights"} | shown("int8-weights", psnr_db=44.84), {"Experiment": None} | shown("int8")]
    rows = experiments.lines(found, [])
    assert [row[:3] for row in rows[1:]] == [
        ["mini-vega", "weights", "int8-weights"], ["mini-vega", "abc", "int8"],
        ["sdxl", "weights", "–"], ["sdxl", "abc", "–"],
    ]  # fmt: skip
    assert rows[1][rows[0].index("psnr_db")] == "44.84" and rows[2][rows[0].index("psnr_db")] == "–"
    assert [row[0] for row in experiments.lines(found, ["sdxl"])[1:]] == ["sdxl"] * 2


def test_the_widest_names_of_ours_fit_120_columns() -> None:
    names = ["synthetic-sdxl-refiner", "int8-notebook"] + ["1234.5"] * (len(experiments.FIGURES) - 1)
    rows = [["model", "experiment", *experiments.FIGURES], [names[0], "workspace", *names[1:]]]
    assert max(map(len, words.table(rows).splitlines())) <= 120
