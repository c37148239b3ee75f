"""Model cards: front matter that the Hub takes, text of the very folder, snippets that run."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from stages.cards import about, card, licences, writing
from stages.files import manifest
from tests.cards.test_licences import HUB_LICENCES
from tests.tiny_ir import tiny_ir

COMMIT = "7" * 40
HUB = {"part": "pipeline", "kind": "hub", "name": "segmind/Segmind-Vega", "commit": COMMIT}
LORA = {"part": "adapter", "kind": "hub", "name": "me/lora", "commit": COMMIT, "file": "lora.safetensors", "scale": 0.8}
LOCAL = {"part": "pipeline", "kind": "local", "name": "friends", "file": "friends.safetensors", "sha256": "ab" * 32}
SIZED = {"num_inference_steps": 2, "guidance_scale": 5.0, "width": 32, "height": 32}
ODD = SIZED | {"negative_prompt": 'a | b\n```\n"c" {{ x }}'}
SEARCH = {"before_sqnr_db": 32.3, "sqnr_db": 40.1, "float_share": 0.012, "twice_share": 0.05}
INT8 = {"precision": "int8", "scheme": "weights_first", "weights": "int8_sym", "samples": 160, "search": SEARCH}


def said(stage: str = "export", **facts) -> dict:
    facts = {"precision": "fp16", "model": "vega", "title": "Vega", "licence": "apache-2.0", "sources": [HUB]} | facts
    settings = {"weights": "int8_sym", "samples": 160} if stage == "quantize" else {}
    return about.draft(stage, settings, facts, {"openvino": "2026.4.1", "torch": None})


def told(kind: str = "base", stage: str = "export", defaults: dict | None = None, **facts) -> about.About:
    """Of a tiny IR, as if it had been made of something."""
    found = about.of(tiny_ir(kind), said(stage, **facts))
    return found if defaults is None else replace(found, defaults=defaults)


CASES = {
    "fp16 of the Hub": told,
    "int8 of the Hub with a LoRA": lambda: told(stage="quantize", sources=[HUB, LORA], **INT8),
    "a refiner": lambda: told("refiner", licence="openrail++"),
    "a friend's file": lambda: told(sources=[LOCAL], licence="only for friends"),
    "random weights": lambda: told(sources=[{"part": "pipeline", "kind": "synthetic", "name": "vega"}]),
    "hardly anything known": lambda: told(defaults={}, licence=None, sources=[], title=None, model=None),
    "odd characters": lambda: told(
        title='"Owl": *the* | `best`\n---\n# [x](y) {{ 7 }} <b>', licence='a: "b"\n- c', model="it's a \"model\"",
        defaults={"text-to-image": ODD},
    ),
}  # fmt: skip


@pytest.mark.parametrize("options", [{"use_karras_sigmas": True}, {"use_beta_sigmas": True}])
def test_genai_is_not_named_where_it_refuses_the_sampler(options: dict) -> None:
    for shown in (replace(told(), options=options), replace(told(), scheduler="UniPCMultistepScheduler")):
        assert told().in_genai and not shown.in_genai
        assert "openvino_genai" not in card.text(shown)


@pytest.mark.parametrize(("bits", "words"), [(8, "for processors with VNNI or AMX"), (7, "have 7 bits"), (None, "")])
def test_a_card_says_which_processors_int8_is_for(bits: int | None, words: str) -> None:
    text = card.text(told(stage="quantize", weight_bits=bits, **INT8))
    assert words in text and ("VNNI" in text) is (bits is not None)


def parsed(text: str) -> tuple[dict, str]:
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def snippets(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("repo", [None, "me/vega-int8"])
def test_a_card_is_valid_for_the_hub_and_its_snippets_are_python(name: str, repo: str | None) -> None:
    shown = CASES[name]()
    text = card.text(shown, repo=repo)
    front, body = parsed(text)
    data = ModelCard(text, ignore_metadata_errors=False).data
    assert data.to_dict() == front
    assert data.license in HUB_LICENCES and (data.license != "other" or data.license_name)
    assert (data.library_name, data.pipeline_tag) == ("openvino", shown.tasks[0])
    assert ("openvino-genai" in data.tags) == (shown.role == "base")
    assert len([line for line in body.splitlines() if line.startswith("# ") and "```" not in line]) >= 1
    assert body.count("```") % 2 == 0 and "  \n" not in body and "\n\n\n" not in body
    codes = snippets(body)
    assert len(codes) == (3 if shown.role == "base" else 2 if shown.defaults else 1)
    for code in codes:
        compile(code, name, "exec")
        assert (repo is None) == ("huggingface_hub" not in code)
    assert card.text(CASES[name](), repo=repo) == text


def test_what_the_weights_came_from_is_named_with_commits_and_nothing_is_made_up() -> None:
    front, body = parsed(card.text(CASES["int8 of the Hub with a LoRA"]()))
    assert front["base_model"] == ["segmind/Segmind-Vega", "me/lora"]
    assert front["base_model_relation"] == "quantized"
    assert f"https://huggingface.co/segmind/Segmind-Vega/tree/{COMMIT}" in body
    assert "fused with scale 0.8" in body and "32.3 dB without it, 40.1 dB with it" in body and "1.2 %" in body
    assert {"int8", "nncf"} <= set(front["tags"])
    front, body = parsed(card.text(CASES["a friend's file"]()))
    assert not {"base_model", "base_model_relation"} & set(front)
    assert "ab" * 32 in body and "only for friends" in body and "not known here" in body


def test_random_weights_say_so_first() -> None:
    body = parsed(card.text(told(random_weights=True)))[1]
    assert body.split("\n\n")[1].startswith("**Random weights.**")


def test_what_was_measured_is_shown_where_somebody_knows_it() -> None:
    measured = card.Measured(
        [("UNet step", "3.47 s", "2.15 s")], "2 cores", "2026-11-27", "abc1234", "int8", "20 prompts"
    )
    text = card.text(told(), measured=measured, picture="grid one.webp")
    assert "| UNet step | 3.47 s | 2.15 s |" in text and "2 cores, 2026-11-27, PocketXL abc1234. 20 prompts" in text
    assert "(<grid one.webp>)" in text
    assert "## Measured" not in card.text(told())


@pytest.mark.parametrize(
    ("facts", "stage", "settings", "expected"),
    [
        ({"precision": "fp16"}, "export", {}, "all weights in FP16."),
        ({"precision": "int8-weights", "scheme": "weights_only"}, "quantize", {}, "UNet in INT8, its activations in"),
        ({"precision": "small", "scheme": "weights_only", "weights": "int4_sym"}, "quantize", {}, "UNet in INT4, its"),
        ({"precision": "none", "scheme": "none"}, "quantize", {}, "all weights in FP16."),
        ({"precision": "optimum-hybrid"}, "peers", {}, "quantized by optimum-intel (optimum-hybrid)"),
        (
            {"precision": "int8", "scheme": "notebook", "speed": "fast"}, "lighter",
            {"text_encoders": "int8-weights", "decoder": "tiny"}, "weights of the text encoders in INT8, a tiny",
        ),
    ],
)  # fmt: skip
def test_a_card_says_what_its_own_folder_is(facts: dict, stage: str, settings: dict, expected: str) -> None:
    draft = said(stage, **facts) | {"settings": settings}
    shown = about.of(tiny_ir("base"), draft)
    assert expected in card.text(shown)
    assert ("nncf" in card.front_matter(shown)["tags"]) == ("FP16." not in expected)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A base and a refiner with everything but a manifest, linked."""
    root, but = tmp_path_factory.mktemp("folders"), shutil.ignore_patterns(manifest.NAME, writing.CARD)
    for kind in ("base", "refiner"):
        shutil.copytree(tiny_ir(kind), root / kind, ignore=but, copy_function=os.link)
        writing.complete(root / kind, **{key: value for key, value in said().items() if key != "tools"})
    return {kind: root / kind for kind in ("base", "refiner")}


def test_the_snippets_for_optimum_draw(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, folder in folders.items():
        text = (folder / writing.CARD).read_text()
        for code in (one for one in snippets(text) if "openvino_genai" not in one):
            code = code.replace('"artifacts/ir/vega/fp16"', repr(str(folder)))
            exec(compile(code.replace('"artifacts/ir/base/fp16"', repr(str(folders["base"]))), kind, "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"owl.png", "again.png"}


def test_a_linked_card_is_replaced_and_the_other_folders_stays(folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["base"], tmp_path / "int8", copy_function=os.link)
    before = (folders["base"] / writing.CARD).read_bytes()
    writing.complete(tmp_path / "int8", stage="quantize", settings={}, facts=said(**INT8)["facts"])
    assert (folders["base"] / writing.CARD).read_bytes() == before != (tmp_path / "int8" / writing.CARD).read_bytes()
    assert (tmp_path / "int8/LICENSE").samefile(folders["base"] / "LICENSE")


def test_a_folder_alone_gives_its_card_again(folders: dict[str, Path]) -> None:
    facts = said()["facts"]
    manifest.write(folders["base"], stage="export", inputs={}, settings={}, facts=facts)
    found = manifest.verify(folders["base"], rerun="export@vega")
    assert card.text(about.of(folders["base"], found)) == (folders["base"] / writing.CARD).read_text()
    assert licences.notices(folders["base"]) == ""
