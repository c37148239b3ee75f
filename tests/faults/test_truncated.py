"""Prompts that text encoders read in part are counted and named, the negative one too."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from stages.generation import drawing
from stages.measurement import doubts
from stages.prompts import sets
from stages.prompts.sets import Prompt
from tests.tiny_ir import sampler


class Words:
    """A tokenizer of words, with a start and an end."""

    model_max_length = 6

    def __call__(self, text: str, **_: object) -> SimpleNamespace:
        return SimpleNamespace(input_ids=["<", *text.split(), ">"])


SHORT, LONG = Prompt("owl", "an owl on a"), Prompt("cat", "a cat on a long sofa")


@pytest.mark.parametrize(
    ("prompts", "negative", "cut"),
    [([SHORT], "", ([], False)), ([SHORT, LONG], "", (["cat"], False)), ([SHORT], LONG.text, ([], True)),
     ([LONG], "blur", (["cat"], False))],
)  # fmt: skip
def test_what_is_cut_is_counted(prompts: list[Prompt], negative: str, cut: tuple) -> None:
    found = sets.truncated(prompts, negative, Words())
    assert (found["prompts"], found["negative_prompt"]) == cut and found["tokens"] == 6


def test_a_negative_prompt_counts_where_guidance_asks_for_it() -> None:
    assert drawing.negative_of(sampler(guidance=5.0, negative_prompt="blur")) == "blur"
    assert drawing.negative_of(sampler(guidance=1.0, negative_prompt="blur")) == ""


def test_the_record_says_so_to_whoever_reads_it() -> None:
    cut = {"prompts": [f"p{n}" for n in range(7)], "negative_prompt": True, "tokens": 77}
    said = doubts.of_prompts({"truncated": cut})
    assert said[0].startswith("7 prompts are longer than the 77 tokens that are read") and "and 2 more" in said[0]
    assert said[1].startswith("the negative prompt is longer than the 77 tokens")
    assert doubts.of_prompts({}) == doubts.of_prompts({"truncated": {"prompts": [], "negative_prompt": False}}) == []
