"""Tokenizer IRs give the numbers that transformers gives, for SDXL's own two ways of padding."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.checkpoints import architectures, synthetic
from stages.ir.tokenizing import write_tokenizer

MINIATURE = Path(__file__).parents[2] / "miniatures/weights/vega"
TEXTS = ("a red cat", "3 moons!", "a ! b", "wow!! it's", "!", "")


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_an_ir_reads_a_padding_token_that_is_a_letter_as_transformers_does(tmp_path: Path, name: str) -> None:
    import openvino as ov
    import openvino_tokenizers  # noqa: F401  (its operations)
    from transformers import CLIPTokenizer

    (tmp_path / "source").mkdir()
    encoder = architectures.configurations("vega")["text_encoder"]
    synthetic._write_tokenizer(tmp_path / "source", synthetic.PADDING[name], encoder)
    write_tokenizer(tmp_path / "source", tmp_path / "ir")
    compiled = ov.Core().compile_model(tmp_path / "ir/openvino_tokenizer.xml", "CPU")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path / "ir")
    for text in TEXTS:
        assert compiled([text])["input_ids"][0].tolist() == tokenizer(text).input_ids, text
    expected = tokenizer(list(TEXTS), padding=True).input_ids
    assert compiled(list(TEXTS))["input_ids"].tolist() == expected


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_letters_that_a_small_vocabulary_lacks_are_unknown_and_no_fault(tmp_path: Path, name: str) -> None:
    import openvino as ov
    import openvino_tokenizers  # noqa: F401
    from transformers import CLIPTokenizer

    write_tokenizer(MINIATURE / name, tmp_path)
    compiled = ov.Core().compile_model(tmp_path / "openvino_tokenizer.xml", "CPU")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("an owl sticker on a teal background", "caf\u00e9", "\u732b \U0001f431 cat", "100 % \u20ac"):
        assert compiled([text])["input_ids"][0].tolist() == tokenizer(text).input_ids, text
        assert max(tokenizer(text).input_ids) < len(tokenizer)


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer_2"])
def test_a_text_that_is_too_long_is_cut_and_keeps_its_end_token(tmp_path: Path, name: str) -> None:
    import openvino as ov
    import openvino_tokenizers  # noqa: F401
    from transformers import CLIPTokenizer

    write_tokenizer(MINIATURE / name, tmp_path)
    compiled = ov.Core().compile_model(tmp_path / "openvino_tokenizer.xml", "CPU")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    texts = ["an owl sticker " * count for count in (1, 4, 5, 40)]
    expected = tokenizer(texts, truncation=True, padding=True).input_ids
    assert compiled(texts)["input_ids"].tolist() == expected
    assert [len(tokenizer(text, truncation=True).input_ids) for text in texts] == [5, 14, 16, 16]
    assert expected[-1][-1] == tokenizer.eos_token_id
