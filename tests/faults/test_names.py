"""Names of models, schemes, speeds and prompts by one rule, refused before anything is done under them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stages.files import layout, names
from stages.measurement.kept import Kept
from stages.prompts import reading, sets
from stages.publishing import chosen
from stages.settings import checks
from tests.prompts.test_sets import settings as prompts

ROOT = Path(__file__).resolve().parents[2]
BAD = ["", ".", "..", "../../../x", "/x", "a/b", "a\\b", "a\0b", "a b", "a\n", ".hidden", "é", "x" * 300, None, 7]


@pytest.fixture
def params() -> dict:
    return yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize("name", BAD)
def test_a_name_that_is_no_folder_is_refused(name: str, params: dict) -> None:
    with pytest.raises(ValueError, match="x must be letters, digits, - and _, at most 80, got") as error:
        names.require(name, "x")
    assert len(str(error.value)) < 200
    params["model"] = {name: next(iter(params["model"].values()))}
    with pytest.raises(ValueError, match="model key .* must be letters"):
        checks.check(params)
    if isinstance(name, str):
        with pytest.raises(ValueError, match="must be letters|is no precision"):
            chosen.read(name, "int8", SimpleNamespace())
        with pytest.raises(ValueError, match="is no precision"):
            chosen.read("mini-vega", name, SimpleNamespace())


@pytest.mark.parametrize("name", [*BAD[:-2], "FP16", "Reference", "BASE", "int8.1"])
def test_a_scheme_is_called_as_a_folder_may_be(name: str, params: dict) -> None:
    params["quantization"]["name"] = name
    with pytest.raises(ValueError, match=r"quantization.name must be letters, .* not fp16, reference or base, got"):
        checks.check(params)


def test_models_that_differ_in_case_alone_are_refused(params: dict) -> None:
    model = next(iter(params["model"].values()))
    params["model"] = {"vega": model | {"base": "vega"}, "Vega": model | {"base": "Vega"}}
    with pytest.raises(ValueError, match="model keys 'vega' and 'Vega' name the same folder"):
        checks.check(params)


@pytest.mark.parametrize("pattern", ["", ".*", "^", "(.*conv.*)?", ".*|conv"])
def test_a_pattern_that_leaves_nothing_to_quantize_is_refused(pattern: str, params: dict) -> None:
    params["quantization"]["ignored_patterns"] = ["conv_in", pattern]
    with pytest.raises(ValueError, match=r"ignored_patterns\[1\] must leave something to quantize"):
        checks.check(params)


def test_a_pattern_that_spares_some_names_is_allowed(params: dict) -> None:
    params["quantization"]["ignored_patterns"] = ["(?!.*conv).*"]
    checks.check(params)


def test_a_pattern_that_is_none_is_refused(params: dict) -> None:
    params["quantization"]["ignored_patterns"] = ["conv_("]
    with pytest.raises(ValueError, match=r"ignored_patterns\[0\]: 'conv_\(' is not a pattern"):
        checks.check(params)


@pytest.mark.parametrize("name", [one for one in BAD[1:-2]] + ["9" * 81])
def test_a_prompts_id_is_a_files_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"text": "a cat", "id": name}))
    with pytest.raises(ValueError, match=r"p.jsonl, line 1: id .* must be letters, digits, - _ \. \(at most 80"):
        reading.read(path, "text")


def test_a_number_of_thousands_of_digits_is_no_id(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text('{"text": "a cat", "id": %s}' % ("9" * 4_000))  # more is no JSON to Python
    with pytest.raises(ValueError, match="line 1: id "):
        reading.read(tmp_path / "p.jsonl", "text")


def test_an_id_that_another_text_got_for_want_of_one_is_refused(tmp_path: Path) -> None:
    taken = sets.clean([("", "a dog", "")])[0][0][0]
    (tmp_path / "p.jsonl").write_text(json.dumps({"text": "a cat", "id": taken}) + '\n{"text": "a dog"}\n')
    with pytest.raises(ValueError, match=f"two prompts have the id '{taken}', which names pictures"):
        sets.load_prompts(prompts(tmp_path / "p.jsonl"), "evaluation", 1)


def test_pieces_of_prompts_with_similar_ids_are_kept_apart(tmp_path: Path) -> None:
    kept = Kept(tmp_path)
    ids = ["a-b", "a--b", "a-b-", "a b"]
    assert [kept.value(f"predictions/fp16/{name}", lambda name=name: name) for name in ids] == ids


def test_no_scheme_takes_a_folder_that_is_taken() -> None:
    assert layout.FP16 in layout.TAKEN and layout.REFERENCE in layout.TAKEN
