"""Every scheme of conf/quantization is composed by its name, from its file alone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from stages.settings import alternatives, config

CONF = Path(__file__).resolve().parents[2] / "conf"
FILES = sorted(path.stem for path in (CONF / "quantization").glob("*.yaml"))


def test_without_a_name_every_file_is_composed_and_has_its_own_values() -> None:
    found = alternatives.alternatives([], [], CONF)
    assert [one.name for one in found] == FILES
    for one in found:
        own = yaml.safe_load((CONF / f"quantization/{one.name}.yaml").read_text())
        parents = [name for name in own.pop("defaults", []) if name != "_self_"]
        values = [yaml.safe_load((CONF / f"quantization/{name}.yaml").read_text()) for name in parents]
        assert config.as_dict(one.settings) == {key: value for part in [*values, own] for key, value in part.items()}


def test_named_schemes_come_in_their_order_and_once() -> None:
    found = alternatives.alternatives(["none", "int8", "none"], [], CONF)
    assert [one.name for one in found] == ["none", "int8"]


def test_a_new_file_is_one_more_scheme(tmp_path: Path) -> None:
    shutil.copytree(CONF, tmp_path / "conf")
    text = (CONF / "quantization/int8.yaml").read_text().replace("samples: 160", "samples: 7")
    (tmp_path / "conf/quantization/mine.yaml").write_text(text.replace("name: int8 ", "name: mine "))
    found = {one.name: one.settings for one in alternatives.alternatives([], [], tmp_path / "conf")}
    assert sorted(found) == sorted([*FILES, "mine"])
    assert (found["mine"].name, found["mine"].samples) == ("mine", 7)


def test_an_override_of_the_search_goes_where_one_is_made() -> None:
    found = alternatives.alternatives(["int8", "int8-quick", "none"], ["quantization.search.minutes=1"], CONF)
    assert [one.settings.search and one.settings.search.minutes for one in found] == [1, None, None]


def test_an_override_changes_every_scheme_that_it_has_an_effect_in() -> None:
    found = alternatives.alternatives(["int8", "none", "int8-hybrid"], ["quantization.samples=8"], CONF)
    assert [one.settings.samples for one in found] == [8, 0, 8]


def test_a_scheme_that_an_override_does_not_suit_has_a_reason_of_one_line_and_the_others_go_on() -> None:
    bad, good = alternatives.alternatives(["int8", "none"], ["quantization.samples=0"], CONF)
    assert (bad.name, good.name) == ("int8", "none")
    assert bad.settings is None and good.settings.samples == 0
    assert "quantization.samples must be at least 1 with scheme weights_first, got 0" in bad.reason
    assert "\n" not in bad.reason


@pytest.mark.parametrize(
    ("names", "overrides", "message"),
    [
        (["int9"], [], r"scheme 'int9' is not in .*did you mean int8\?.*it has int4-weights"),
        (["int8"], ["quantization.sampels=8"], "sampels"),
        (["int8"], ["quantization.samples=many"], "quantization.samples must be a whole number, got 'many'"),
        (
            ["int8-weights", "none"],
            ["quantization.samples=8"],
            "quantization.samples has no effect in int8-weights, none",
        ),
        (["int8"], ["quantization.name=mine"], "every scheme keeps its own"),
        (["int8"], ["quantization.scheme=none"], "every scheme keeps its own"),
        (["int8"], ["quantization=none"], r"only its quantization\.\* can be changed"),
    ],
)
def test_what_suits_no_scheme_is_refused_at_once(names: list[str], overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        alternatives.alternatives(names, overrides, CONF)
