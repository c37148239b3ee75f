"""Whether a tokenizer's files make the tokenizer that its text encoder was trained with.

Consumes a tokenizer's folder and its encoder's configuration; produces nothing but an error that names the file and
what is wrong. Every CLIP tokenizer is made of a vocabulary, merges and four special tokens alone, which is what is
checked first; then it is tried on a text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.checkpoints import components, mistaken
from stages.checkpoints.quiet import quiet

WHOLE, VOCABULARY, MERGES = "tokenizer.json", "vocab.json", "merges.txt"
CONFIG, SPECIALS_MAP, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
SPECIALS = ("bos_token", "eos_token", "unk_token", "pad_token")
LOADERS = ("CLIPTokenizer", "CLIPTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend")
NEW_END = 49407  # what transformers takes where a configuration says nothing
OLD_END = 2  # the end token of old configurations, which stands for the largest number of a text
TEXT = "A photo of 2 CATS,  that's all!"
END = "end_of_word_suffix"
MODEL = {  # what a tokenizer.json says of its byte pairs
    "continuing_subword_prefix": "", END: "</w>", "dropout": None, "fuse_unk": False, "byte_fallback": False,
    "ignore_merges": False,
}  # fmt: skip
Vocabulary = dict[str, int]
Merges = list[tuple[str, ...]]


def check(folder: Path, encoder: dict[str, Any], encoder_path: Path) -> None:
    """Check the files; `encoder` is the configuration in `encoder_path`, of whatever takes the tokenizer's numbers."""
    where, vocabulary, merges = _parts(folder)
    _check_vocabulary(where, vocabulary, _added(folder), encoder["vocab_size"], encoder_path)
    config = components.read_json(folder / CONFIG)
    _check_config(folder / CONFIG, config, encoder, encoder_path)
    _check_merges(folder, vocabulary, merges)
    numbers, specials = vocabulary | _added(folder), _specials(folder, config)
    for name, token in specials.items():
        if token not in numbers:
            raise ValueError(f"{folder}: {name} is {token!r}, which is not in {where.name}")
    _check_unknown(folder / WHOLE, specials["unk_token"])
    _check_end(encoder_path, encoder, numbers[specials["eos_token"]], max(numbers.values()))


def check_tokens(folder: Path) -> None:
    """Load a tokenizer whose files are checked: a text must come out between begin and end, and padded behind."""
    config = components.read_json(folder / CONFIG)
    specials, length = _specials(folder, config), config["model_max_length"]
    try:
        tokenizer = _load(folder)
        numbers = tokenizer.get_vocab()
        whole = tokenizer("a", padding="max_length", truncation=True)["input_ids"]
        tokens, alone = tokenizer(TEXT, verbose=False)["input_ids"], _alone(folder / WHOLE)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise ValueError(f"{folder} makes no CLIP tokenizer: {' '.join(repr(error).split())[:200]}") from error
    begin, end, _, pad = (numbers[specials[name]] for name in SPECIALS)
    if [whole[0], *whole[2:]] != [begin, end, *[pad] * (length - 3)]:
        raise ValueError(f"{folder}: a letter must be tokenized as begin, letter, end and padding, got {whole}")
    if [tokens[0], tokens[-1]] != [begin, end] or alone not in (None, tokens):
        raise ValueError(f"{folder}: {WHOLE} tokenizes a text otherwise than its vocabulary and merges do")


def _check_config(path: Path, config: dict[str, Any], encoder: dict[str, Any], encoder_path: Path) -> None:
    longest, wanted = config.get("model_max_length"), encoder["max_position_embeddings"]
    if type(longest) is not int or longest != wanted:
        raise ValueError(
            f"{path}: model_max_length must be {wanted}, the max_position_embeddings of {encoder_path}, got {longest!r}"
        )
    loader = config.get("tokenizer_class")
    if loader is not None and loader not in LOADERS:
        raise ValueError(f"{path}: tokenizer_class must be one of {', '.join(LOADERS)}, got {loader!r}")


def _parts(folder: Path) -> tuple[Path, Vocabulary, Merges]:
    """Vocabulary and merges, and the file that the vocabulary is in; where they stand twice, they must be the same."""
    whole, plain = folder / WHOLE, folder / VOCABULARY
    found = _of_whole(whole) if whole.exists() else None
    if plain.exists() and (found is None or (folder / MERGES).exists()):
        legacy = components.read_json(plain), _read_merges(folder / MERGES)
        if found is not None and found != legacy:
            raise ValueError(
                f"{folder}: {WHOLE} holds another vocabulary or other merges than {VOCABULARY} and {MERGES}"
            )
        return plain, *legacy
    if found is None:
        raise FileNotFoundError(f"{folder} has neither {WHOLE} nor {VOCABULARY} with {MERGES}")
    return whole, *found


def _of_whole(path: Path) -> tuple[Vocabulary, Merges]:
    model = components.read_json(path).get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise ValueError(f"{path}: model must be of type BPE, as that of every CLIP tokenizer")
    for key, wanted in MODEL.items():
        if model.get(key, wanted) not in (wanted, None) or (key == END and model.get(key) != wanted):
            raise ValueError(
                f"{path}: model.{key} must be {wanted!r}, as that of every CLIP tokenizer, got {model[key]!r}"
            )
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        raise ValueError(f"{path}: model must hold vocab, numbers by token, and merges, a list of pairs")
    pairs = [one.split(" ") if isinstance(one, str) else one for one in merges]
    if not all(isinstance(pair, list) and all(isinstance(half, str) for half in pair) for pair in pairs):
        raise ValueError(f"{path}: model.merges must hold pairs of tokens")
    return vocabulary, [tuple(pair) for pair in pairs]


def _read_merges(path: Path) -> Merges:
    """Pairs of tokens, one a line, behind a line that names the version."""
    mistaken.require_file(path)
    content = path.read_bytes()
    if other := mistaken.instead(content[: mistaken.START_BYTES]):
        raise ValueError(f"{path} holds no merges: {other}")
    try:
        lines = content.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    if lines[0].startswith("#version"):
        lines = lines[1:]
    return [tuple(line.strip().split(" ")) for line in lines if line.strip()]


def _added(folder: Path) -> Vocabulary:
    """Tokens beside the vocabulary, with their numbers."""
    path, found = folder / ADDED, {}
    if path.exists():
        found = components.read_json(path)
        _check_numbers(path, found)
    if (folder / WHOLE).exists():
        added = components.read_json(folder / WHOLE).get("added_tokens")
        if not isinstance(added, list) or not all(
            isinstance(one, dict) and {"id", "content"} <= set(one) for one in added
        ):
            raise ValueError(f"{folder / WHOLE}: added_tokens must be a list of tokens, each with id and content")
        more = {one["content"]: one["id"] for one in added}
        _check_numbers(folder / WHOLE, more)
        found |= more
    return found


def _check_numbers(path: Path, vocabulary: dict[Any, Any]) -> None:
    for token, number in vocabulary.items():
        if not isinstance(token, str) or type(number) is not int or number < 0:
            raise ValueError(f"{path}: the number of token {token!r} must be a whole number >= 0, got {number!r}")


def _check_vocabulary(path: Path, vocabulary: Vocabulary, added: Vocabulary, rows: int, encoder_path: Path) -> None:
    """Numbers from 0 on, each once and none left out: a gap is a token that is lost."""
    _check_numbers(path, vocabulary)
    for token, number in added.items():
        if vocabulary.get(token, number) != number:
            raise ValueError(f"{path}: token {token!r} is number {vocabulary[token]}, and {number} as an added token")
    numbers = sorted((vocabulary | added).values())
    for expected, number in enumerate(numbers):
        if number != expected:
            what = "stands for two tokens" if number < expected else "is missing before it"
            raise ValueError(f"{path}: {number if number < expected else expected} {what}, of {len(numbers)} tokens")
    if not numbers or len(numbers) > rows:
        raise ValueError(f"{path} holds {len(numbers)} tokens, {encoder_path} has a vocab_size of {rows}: no such pair")


def _check_merges(folder: Path, vocabulary: Vocabulary, merges: Merges) -> None:
    where = folder / (MERGES if (folder / MERGES).exists() else WHOLE)
    for pair in merges:
        if len(pair) != 2 or not {*pair, "".join(pair)} <= vocabulary.keys():
            raise ValueError(f"{where}: merge {' '.join(pair)!r} is no pair of tokens that make a third one")
    made = {"".join(pair) for pair in merges}
    for token in vocabulary:
        letters = token.removesuffix("</w>") if token != "</w>" else token
        if len(letters) > 1 and token not in made and not _is_special(token):
            raise ValueError(f"{where}: no merge makes the token {token!r}: some of the merges are missing")


def _is_special(token: str) -> bool:
    return token.startswith("<") and token.endswith(">")


def _specials(folder: Path, config: dict[str, Any]) -> dict[str, str]:
    """The special tokens, as the one file or the other says."""
    path = folder / SPECIALS_MAP
    mapped = components.read_json(path) if path.exists() else {}
    found = {}
    for name in SPECIALS:
        said = config[name] if name in config else mapped.get(name)
        token = said.get("content") if isinstance(said, dict) else said
        if not isinstance(token, str) or not token:
            raise ValueError(f"{folder / CONFIG}: {name} must be a token's text, got {said!r}")
        found[name] = token
    return found


def _check_unknown(path: Path, token: str) -> None:
    if path.exists() and (said := components.read_json(path)["model"].get("unk_token")) != token:
        raise ValueError(f"{path}: model.unk_token must be {token!r}, the unk_token beside it, got {said!r}")


def _check_end(path: Path, encoder: dict[str, Any], end: int, largest: int) -> None:
    """The encoder pools a text at its end, which it knows by this number, or in old ones as the largest of all."""
    said = encoder.get("eos_token_id", NEW_END)
    if said != end and not (said == OLD_END and end == largest):
        raise ValueError(f"{path}: eos_token_id must be {end}, the tokenizer's, got {said}")


def _load(folder: Path) -> Any:
    with quiet():
        from transformers import CLIPTokenizerFast

        return CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)


def _alone(path: Path) -> list[int] | None:
    """The text by tokenizer.json alone, as other libraries read it; None without one."""
    from tokenizers import Tokenizer

    if not path.exists():
        return None
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer.encode(TEXT).ids
