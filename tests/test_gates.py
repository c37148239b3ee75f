"""`python -m stages.gates` ends with a status that a CI can stop on, and says with which figure."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from stages import compare, gates, repro
from stages.settings import composing, config
from tests.fake_gates import judged_reports

ROOT = Path(__file__).parents[1]
OPTIONS = sorted(path.stem for path in (ROOT / "conf/gates").glob("*.yaml"))


def run(*arguments: str) -> int:
    """The exit status."""
    with pytest.raises(SystemExit) as end:
        gates.main(list(arguments))
    return end.value.code


@pytest.fixture
def reports(tmp_path, monkeypatch):
    """A function that writes reports and enters their folder."""

    def write(*models: str, **broken: object) -> Path:
        folder = judged_reports(tmp_path, models or ("mini-vega",), **broken)
        monkeypatch.chdir(folder)
        return folder

    return write


def test_status_0_where_every_gate_passes(reports, capsys):
    reports("mini-vega", "mini-vegart")
    assert run() == 0
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "Gates: 14 passed."
    assert re.search(r"mini-VegaRT int8: SSIM +at least 0\.950 +0\.990 \(0\.98\d to 0\.99\d\) +passed", said)


def test_a_scheme_that_breaks_a_gate_stops_with_the_figure(reports, capsys):
    reports(level_db=20.0)
    assert run() == 1
    told = r"Gates: 1 failed: mini-Vega int8 SQNR 20\.0 dB \(19\.\d to 20\.\d\), asked at least 25\.0 dB\. 6 passed\."
    assert re.fullmatch(told, capsys.readouterr().out.splitlines()[-1])


def test_a_process_of_its_own_ends_so_too(reports):
    reports(share=0.1)
    command, environment = [sys.executable, "-m", "stages.gates"], os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "MACs in INT8 10.0 %, asked at least 80.0 %" in done.stdout and not done.stderr


def test_status_3_where_one_is_undecided_and_none_failed(reports, capsys):
    reports(prompts=2)
    assert run() == 3
    assert (
        "mini-Vega int8, SQNR, worst quarter, CLIP drop, CLIP similarity, SSIM: too few prompts to decide: 2, 6 are"
        in (capsys.readouterr().out)
    )
    reports(prompts=2, share=0.1)
    assert run() == 1


def test_an_old_record_without_these_figures_is_undecided(tmp_path, monkeypatch):
    from tests.fake_reports import fake_reports

    monkeypatch.chdir(fake_reports(tmp_path, ("mini-vega",)))
    path = tmp_path / "reports/benchmark/mini-vega/record.json"
    record = json.loads(path.read_text())
    for row in record["precisions"].values():
        for name in ("per_prompt", "sqnr_by_sample", "sqnr_by_quarter", "macs"):
            row.pop(name, None)
    path.write_text(json.dumps(record))
    assert run() == 3


def test_status_2_for_what_is_misspelt_or_not_there(reports, capsys):
    folder = reports()
    assert run("gates.min_sqnr=30") == 2
    assert "did you mean min_sqnr_db?" in capsys.readouterr().err
    assert run("mini-vgea") == 2
    assert "did you mean mini-vega?" in capsys.readouterr().err
    assert run("device.threads=2") == 2
    (folder / "reports/benchmark/mini-vega/record.json").unlink()
    assert run() == 2
    assert "run 'dvc repro benchmark@mini-vega'" in capsys.readouterr().err


def test_models_and_bounds_can_be_given(reports, capsys):
    reports("mini-vega", "mini-vegart")
    assert run("mini-vegart", "gates.min_sqnr_db=40", "gates.min_ssim=null") == 1
    said = capsys.readouterr().out
    assert "mini-Vega " not in said and "SSIM" not in said and "asked at least 40.0 dB. 5 passed." in said


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_of_the_group_composes_and_runs(reports, capsys, option):
    folder = reports("mini-vega")
    composed = yaml.safe_load(composing.compose([f"gates={option}", "model=[mini-vega]"], ROOT / "conf"))
    (folder / "params.yaml").write_text(json.dumps(composed))
    assert run() == (1 if option == "strict" else 0)  # a speed of 1.3 is not 1.5
    line = capsys.readouterr().out.splitlines()[-1]
    assert {"none": "none is asked for", "default": "7 passed", "strict": "step's speed 1.30×"}[option] in line
    compare.main([])
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_one_gate_alone_can_be_asked_for():
    composed = yaml.safe_load(composing.compose(["gates=none", "gates.min_sqnr_db=33"], ROOT / "conf"))["gates"]
    assert {key: bound for key, bound in composed.items() if bound is not None} == {"min_sqnr_db": 33}


def test_every_bound_stands_with_its_meaning_and_the_options_have_the_same_keys():
    files = [(ROOT / f"conf/gates/{option}.yaml").read_text() for option in OPTIONS]
    assert len({tuple(yaml.safe_load(text)) for text in files}) == 1
    for text in files:
        assert all(
            re.search(r" # (dB|percent|cosine|1 is equal|times|share)\b", line) for line in text.splitlines()[2:]
        )


def test_compare_writes_the_verdicts_and_shows_them_on_the_page_and_in_one_line(reports, capsys):
    folder = reports("mini-vega", "mini-vegart", level_db=20.0)
    compare.main([])
    headline, line = capsys.readouterr().out.splitlines()
    assert line.startswith("Gates: 2 failed: mini-Vega int8 SQNR 20.0 dB") and headline.startswith("reports/index.html")
    found = json.loads((folder / "reports/gates.json").read_text())
    assert found["verdict"] == "failed" and found["line"] == line
    assert found["models"]["mini-vegart"]["int8"]["min_sqnr_db"]["found"] == 19.99
    page = (folder / "reports/index.html").read_text()
    table = page[page.index('<section id="gates">') : page.index('<section id="plots">')]
    assert "<strong>2 failed, 12 passed.</strong>" in table
    assert table.count('<th scope="row">') == 2 and table.count("<em>passed</em>") == 12
    assert re.search(r'<th scope="col" title="[^"]+">SQNR<small>at least 25\.0 dB</small></th>', table)
    assert re.search(r'<td class="failed">20\.0 dB<small>19\.\d to 20\.\d</small><em>failed</em></td>', table)


def test_a_page_without_gates_says_nothing_of_them(reports):
    folder = reports()
    compare.main([f"gates.{key}=null" for key in config.load(("gates",), None, []).gates.__dict__])
    assert 'id="gates"' not in (folder / "reports/index.html").read_text()
    assert json.loads((folder / "reports/gates.json").read_text())["models"] == {}


def test_the_last_words_of_a_run_carry_the_line(reports):
    from collections import Counter

    reports(share=0.1)
    assert "Gates: 1 failed: mini-Vega int8 MACs in INT8 10.0 %" in repro.closing(Counter(run=1), "3 s").splitlines()[2]
