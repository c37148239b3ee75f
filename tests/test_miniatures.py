"""The miniatures' tokenizer: text encoders know only the ids that they were trained with."""

from __future__ import annotations

from pathlib import Path

from miniatures import architecture

WEIGHTS = Path(__file__).parents[1] / "miniatures/weights"
CAPTIONS = ["a red apple on a white background", "an owl on a teal background", "a panda on a pink background"]


def ids(tokenizer) -> list[list[int]]:
    return tokenizer(CAPTIONS).input_ids


def test_a_tokenizer_is_built_once_and_then_loaded_whatever_the_captions(tmp_path: Path) -> None:
    built = ids(architecture.tokenizer(CAPTIONS, tmp_path))
    assert ids(architecture.tokenizer(CAPTIONS[:1], tmp_path)) == built


def test_a_built_tokenizer_has_a_token_for_every_word_of_its_captions(tmp_path: Path) -> None:
    tokenizer = architecture.tokenizer(CAPTIONS, tmp_path)
    assert tokenizer.convert_ids_to_tokens(ids(tokenizer)[0]) == [
        "<|startoftext|>",
        *(f"{word}</w>" for word in CAPTIONS[0].split()),
        "<|endoftext|>",
    ]


def test_all_members_read_captions_alike() -> None:
    files = list(WEIGHTS.glob("*/tokenizer*/tokenizer.json"))
    assert len(files) == 7  # two of each base-like member, one of the refiner
    assert len({file.read_bytes() for file in files}) == 1
