"""Licences: what declarations mean, that every preset's is known or treated as unknown, and which texts go along."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stages.cards import licences
from stages.files import manifest

HUB = "b" * 40
HUB_LICENCES = {
    "apache-2.0", "mit", "openrail++", "creativeml-openrail-m", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nd-4.0",
    "cc-by-nc-nd-4.0", "other", "unknown",
}  # fmt: skip
SOURCES = [{"part": "pipeline", "kind": "hub", "name": "me/tiny"}]


def declared() -> dict[str, str]:
    """The licence of every preset, by its key."""
    files = sorted(Path("conf/model").glob("*.yaml"))
    models = {key: model for file in files for key, model in yaml.safe_load(file.read_text()).items()}
    return {key: model["licence"] for key, model in models.items()}


def test_presets_name_licences_that_are_known_but_for_the_one_that_cannot_be() -> None:
    assert {key for key, licence in declared().items() if licences.redistribution(licence) == "unknown"} == {
        "hyper-sdxl"
    }


def test_facts_are_complete_and_a_text_that_is_held_says_where_it_is_from() -> None:
    fields = {"title", "hub", "redistribution", "asks", "notice", "url", "text"}
    for name, facts in licences.known().items():
        assert set(facts) == fields and name == name.lower()
        assert facts["hub"] in HUB_LICENCES and facts["redistribution"] in licences.STRICTEST[1:]
        assert (licences.TEXTS / f"{name}.txt").is_file() == (facts["text"] is not None), name
    assert {path.stem for path in licences.TEXTS.iterdir()} <= set(licences.known())
    assert manifest.sha256(licences.TEXTS / "creativeml-openrail-m.txt").startswith("be351ebe7ac01bcd"), "as published"
    assert (licences.TEXTS / "apache-2.0.txt").read_bytes() == Path("LICENSE").read_bytes()


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("Apache-2.0", "free"),
        ("apache-2.0 AND mit", "free"),
        ("mit AND openrail++", "pass_on_terms"),
        ("CC-BY-NC-ND-4.0 AND mit", "forbidden"),
        ("mit AND something of a friend's", "unknown"),
        ("mit, and openrail++", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_the_strictest_licence_decides_and_what_is_not_known_is_not_free(declared: str | None, expected: str) -> None:
    assert licences.redistribution(declared) == expected


def test_licences_of_parts_are_joined_once_each_and_one_that_is_missing_stays_missing() -> None:
    assert licences.joined("apache-2.0 AND mit", "MIT") == "apache-2.0 AND mit"
    assert licences.redistribution(licences.joined("mit", None)) == "unknown"


def test_the_checkpoints_own_text_goes_before_ours(tmp_path: Path) -> None:
    (tmp_path / "LICENSE.md").write_text("as the checkpoint had it")
    licences.place(tmp_path, "openrail++", SOURCES)
    assert licences.files(tmp_path) == ["LICENSE.md"] and not licences.notices(tmp_path)
    assert licences.front_matter("openrail++", ["LICENSE.md"]) == {
        "license": "openrail++",
        "license_link": "LICENSE.md",
    }


def test_several_licences_have_a_text_each(tmp_path: Path) -> None:
    licences.place(tmp_path, "openrail++ AND MIT", SOURCES)
    assert licences.files(tmp_path) == ["LICENSE-mit.txt", "LICENSE-openrail++.txt"]
    assert "MIT License" in (tmp_path / "LICENSE-mit.txt").read_text()
    found = licences.front_matter("openrail++ AND MIT", licences.files(tmp_path))
    assert (found["license"], found["license_name"]) == ("other", "openrail++-and-mit")


@pytest.mark.parametrize("licence", ["only for friends", None, "fair-ai-public-license-1.0-sd"])
def test_a_text_that_is_not_held_is_not_made_up_but_said_where_to_read(tmp_path: Path, licence: str | None) -> None:
    licences.place(tmp_path, licence, SOURCES)
    said = (tmp_path / "LICENSE").read_text()
    assert "not held" in said and "https://huggingface.co/me/tiny" in said


def test_a_notice_that_a_licence_asks_for_is_there_and_says_that_weights_were_changed(tmp_path: Path) -> None:
    licences.place(tmp_path, "sai-nc-community", SOURCES)
    said = (tmp_path / "NOTICE").read_text()
    assert "licensed under the Stability AI Non-Commercial Research Community License" in said and "Changed" in said
