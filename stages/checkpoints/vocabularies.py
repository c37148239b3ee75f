"""A byte-pair tokenizer's files read: which numbers its tokens have, and which pairs are merged.

Consumes a tokenizer's folder, in either of two layouts: tokenizer.json, or vocab.json with merges.txt; produces a
`Vocabulary`, or an error that names the file. What it must be like, tokens.py knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.checkpoints import components, mistaken

WHOLE, PLAIN, MERGES, ADDED = "tokenizer.json", "vocab.json", "merges.txt", "added_tokens.json"
END = "end_of_word_suffix"
MODEL = {  # what a tokenizer.json says of its byte pairs
    "continuing_subword_prefix": "", END: "</w>", "dropout": None, "fuse_unk": False, "byte_fallback": False,
    "ignore_merges": False,
}  # fmt: skip
Numbers = dict[str, int]
Merges = list[tuple[str, ...]]


@dataclass(frozen=True)
class Vocabulary:
    """Numbers by token, and by token that was added to them; pairs in the order of merging; where both stand."""

    numbers: Numbers
    added: Numbers
    merges: Merges
    path: Path
    merges_path: Path


def read(folder: Path) -> Vocabulary:
    """ValueError where the two layouts stand side by side and differ; FileNotFoundError where neither is whole."""
    whole, plain, merges = folder / WHOLE, folder / PLAIN, folder / MERGES
    found = _of_whole(whole) if whole.exists() else None
    if plain.exists() and (found is None or merges.exists()):
        legacy = _numbers(plain, components.read_json(plain)), _read_merges(merges)
        if found is not None and found != legacy:
            raise ValueError(f"{folder}: {WHOLE} holds another vocabulary or other merges than {PLAIN} and {MERGES}")
        return Vocabulary(legacy[0], _added(folder), legacy[1], plain, merges)
    if found is None:
        raise FileNotFoundError(f"{folder} has neither {WHOLE} nor {PLAIN} with {MERGES}")
    return Vocabulary(found[0], _added(folder), found[1], whole, whole)


def unknown_token(folder: Path) -> str | None:
    """The token for what is not in the vocabulary, where a tokenizer.json says it."""
    return components.read_json(folder / WHOLE)["model"].get("unk_token")


def _of_whole(path: Path) -> tuple[Numbers, Merges]:
    model = components.read_json(path).get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        raise ValueError(f"{path}: model must be of type BPE, as that of every CLIP tokenizer")
    for key, wanted in MODEL.items():
        found = model.get(key, None if key == END else wanted)
        if found != wanted and (key == END or found is not None):
            raise ValueError(f"{path}: model.{key} must be {wanted!r}, as in every CLIP tokenizer, got {found!r}")
    merges = model.get("merges")
    pairs = [one.split(" ") if isinstance(one, str) else one for one in merges] if isinstance(merges, list) else [None]
    if not all(isinstance(pair, list) and all(isinstance(half, str) for half in pair) for pair in pairs):
        raise ValueError(f"{path}: model.merges must be a list of pairs of tokens")
    return _numbers(path, model.get("vocab")), [tuple(pair) for pair in pairs]


def _numbers(path: Path, found: Any) -> Numbers:
    if not isinstance(found, dict):
        raise ValueError(f"{path}: a number for every token must be there, got {type(found).__name__}")
    for token, number in found.items():
        if not isinstance(token, str) or type(number) is not int or number < 0:
            raise ValueError(f"{path}: the number of token {token!r} must be a whole number >= 0, got {number!r}")
    return found


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


def _added(folder: Path) -> Numbers:
    """Tokens beside the vocabulary, with their numbers; both layouts may have some."""
    path, whole = folder / ADDED, folder / WHOLE
    found = _numbers(path, components.read_json(path)) if path.exists() else {}
    if whole.exists():
        tokens = components.read_json(whole).get("added_tokens")
        if not isinstance(tokens, list) or not all(isinstance(one, dict) and "content" in one for one in tokens):
            raise ValueError(f"{whole}: added_tokens must be a list of tokens, each with its content and id")
        if not all(isinstance(one["content"], str) for one in tokens):
            raise ValueError(f"{whole}: the content of added_tokens must be text")
        found = found | _numbers(whole, {one["content"]: one.get("id") for one in tokens})
    return found
