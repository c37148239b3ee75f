"""Whether a tokenizer's files make the tokenizer that its text encoder was trained with.

Consumes a tokenizer's folder and its encoder's configuration; produces nothing but an error that names the file and
what is wrong. Every CLIP tokenizer is made of a vocabulary, merges and four special tokens alone: these are checked in
the files; then, where asked for, it is tried on a text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.checkpoints import components, lean, vocabularies
from stages.checkpoints.quiet import quiet
from stages.checkpoints.vocabularies import Vocabulary

CONFIG, SPECIALS_MAP = "tokenizer_config.json", "special_tokens_map.json"
SPECIALS = ("bos_token", "eos_token", "unk_token", "pad_token")
LOADERS = ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
NEW_END = 49407  # what transformers takes where a configuration says nothing
OLD_END = 2  # the end token of old configurations, which stands for the largest number of a text
END_OF_WORD = "</w>"
TEXT = "A photo of 2 CATS,  that's all!"


def check(folder: Path, encoder: dict[str, Any], encoder_path: Path) -> None:
    """Check the files; `encoder` is the configuration in `encoder_path`, of whatever takes the tokenizer's numbers."""
    vocabulary = vocabularies.read(folder)
    _check_numbers(vocabulary, encoder["vocab_size"], encoder_path)
    _check_merges(vocabulary)
    config = components.read_json(folder / CONFIG)
    _check_config(folder / CONFIG, config, encoder["max_position_embeddings"], encoder_path)
    specials = _specials(folder, config)
    for name, token in specials.items():
        if token not in vocabulary.numbers and token not in vocabulary.added:
            raise ValueError(f"{folder}: {name} is {token!r}, which is not in {vocabulary.path.name}")
    _check_unknown(folder, specials["unk_token"])
    _check_end(vocabulary, specials["eos_token"], encoder.get("eos_token_id", NEW_END), encoder_path)


def check_tokens(folder: Path) -> None:
    """Load a tokenizer whose files are checked: a text must come out between begin and end, and padded behind."""
    config = components.read_json(folder / CONFIG)
    specials, length = _specials(folder, config), config["model_max_length"]
    try:
        tokenizer = _load(folder)
        numbers = tokenizer.get_vocab()
        letter = tokenizer("a", padding="max_length", truncation=True)["input_ids"]
        tokens, alone = tokenizer(TEXT, verbose=False)["input_ids"], _alone(folder / vocabularies.WHOLE)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ValueError(f"{folder} makes no CLIP tokenizer: {' '.join(repr(error).split())[:200]}") from error
    begin, end, _, pad = (numbers[specials[name]] for name in SPECIALS)
    if [letter[0], *letter[2:]] != [begin, end, *[pad] * (length - 3)]:
        raise ValueError(f"{folder}: a letter must be tokenized as begin, letter, end and padding, got {letter}")
    if [tokens[0], tokens[-1]] != [begin, end] or alone not in (None, tokens):
        raise ValueError(f"{folder}: {vocabularies.WHOLE} tokenizes a text otherwise than its vocabulary and merges do")


def _check_numbers(vocabulary: Vocabulary, rows: int, encoder_path: Path) -> None:
    """Numbers from 0 on, each once and none left out: a gap is a token that is lost."""
    path = vocabulary.path
    for token, number in vocabulary.added.items():
        if vocabulary.numbers.get(token, number) != number:
            raise ValueError(f"{path}: token {token!r} has number {vocabulary.numbers[token]}, and {number} as added")
    numbers = sorted((vocabulary.numbers | vocabulary.added).values())
    for expected, number in enumerate(numbers):
        if number < expected:
            raise ValueError(f"{path}: two tokens have the number {number}")
        if number > expected:
            raise ValueError(f"{path}: no token has the number {expected}, and {len(numbers)} tokens are there")
    if not numbers or len(numbers) > rows:
        raise ValueError(f"{path} holds {len(numbers)} tokens, {encoder_path} has a vocab_size of {rows}: no such pair")


def _check_merges(vocabulary: Vocabulary) -> None:
    """Every pair of tokens makes a third, and every token of several letters is made."""
    numbers, where = vocabulary.numbers, vocabulary.merges_path
    for pair in vocabulary.merges:
        if len(pair) != 2 or not {*pair, "".join(pair)} <= numbers.keys():
            raise ValueError(f"{where}: merge {' '.join(pair)!r} is no pair of tokens that make a third one")
    made = {"".join(pair) for pair in vocabulary.merges}
    for token in numbers.keys() - made:
        is_special = token.startswith("<") and token.endswith(">")
        if len(token.removesuffix(END_OF_WORD)) > 1 and not is_special:
            raise ValueError(f"{where}: no merge makes the token {token!r}: some of the merges are missing")


def _check_config(path: Path, config: dict[str, Any], length: int, encoder_path: Path) -> None:
    longest, loader = config.get("model_max_length"), config.get("tokenizer_class")
    if type(longest) is not int or longest != length:
        raise ValueError(
            f"{path}: model_max_length must be {length}, the max_position_embeddings of {encoder_path}, got {longest!r}"
        )
    if loader is not None and loader not in LOADERS:
        raise ValueError(f"{path}: tokenizer_class must be one of {', '.join(LOADERS)}, got {loader!r}")


def _specials(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """The special tokens, as the one file or the other says."""
    path, found = folder / SPECIALS_MAP, {}
    mapped = components.read_json(path) if path.exists() else {}
    for name in SPECIALS:
        said = config[name] if name in config else mapped.get(name)
        token = said.get("content") if isinstance(said, dict) else said
        if not isinstance(token, str) or not token:
            raise ValueError(f"{folder / CONFIG}: {name} must be a token's text, got {said!r}")
        found[name] = token
    return found


def _check_unknown(folder: Path, token: str) -> None:
    path = folder / vocabularies.WHOLE
    if path.exists() and (said := vocabularies.unknown_token(folder)) != token:
        raise ValueError(f"{path}: model.unk_token must be {token!r}, the unk_token of {CONFIG}, got {said!r}")


def _check_end(vocabulary: Vocabulary, token: str, said: int, encoder_path: Path) -> None:
    """The encoder pools a text at its end, which it knows by this number, or in old ones as the largest of all."""
    end = (vocabulary.numbers | vocabulary.added)[token]
    if said != end and not (said == OLD_END and end >= max(vocabulary.numbers.values())):
        raise ValueError(f"{encoder_path}: eos_token_id must be {end}, the tokenizer's, got {said}")


def _load(folder: Path) -> Any:
    with quiet():
        return lean.named("transformers", "CLIPTokenizerFast").from_pretrained(folder, local_files_only=True)


def _alone(path: Path) -> list[int] | None:
    """The text by tokenizer.json alone, as other libraries read it; None without one."""
    from tokenizers import Tokenizer

    if not path.exists():
        return None
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer.encode(TEXT).ids
