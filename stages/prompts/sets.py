"""Prompts: read from a file or through the `datasets` library, cleaned, split so that no text serves both parts.

Consumes a prompt file, embedded or the user's, or a set on the Hub (streamed); produces (id, text) pairs for
calibration or for evaluation. A file touches no network and writes nothing. Knows no tokenizer but one handed in.
"""

from __future__ import annotations

import hashlib
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.endings import causes
from stages.files import names
from stages.prompts import reading
from stages.prompts.reading import PARTS

if TYPE_CHECKING:
    from stages.settings import schema

POOL = 5000  # rows read from a set on the Hub: enough to choose from, seconds to stream
EVALUATION_SHARE = 4  # every fourth text of a set on the Hub, or of a file without parts, is for evaluation


@dataclass(frozen=True)
class Prompt:
    id: str
    text: str


def load_prompts(settings: schema.Prompts, part: str, count: int) -> list[Prompt]:
    """`count` prompts of `part`, the same for the same settings; another `settings.seed` chooses others.

    Raises ValueError when the set has fewer, FileNotFoundError when it cannot be had.
    """
    if part not in PARTS:
        raise ValueError(f"part must be one of {', '.join(PARTS)}, got {part!r}")
    prompts = [Prompt(name, text) for name, text, split in _kept(settings) if split == part]
    _require(len(prompts), count, settings, part)
    return sorted(prompts, key=lambda prompt: _hash(f"{settings.seed}:{prompt.text}"))[:count]


def check_file(settings: schema.Prompts) -> None:
    """Raise what `load_prompts` would raise for a bad file, in a moment. A set on the Hub is not looked at."""
    if settings.source == "embedded":
        parts = Counter(part for _, _, part in _kept(settings))
        for part in PARTS:
            _require(parts[part], 1, settings, part)


def clean(rows: Iterable[tuple[str, Any, str]]) -> tuple[list[tuple[str, str, str]], Counter[str]]:
    """(id, text, part) rows with texts in one form, and how many were dropped: blank, unreadable or seen before.

    >>> clean([("1", " a  cat ", "evaluation"), ("2", "A cat", "calibration"), ("3", " ", "calibration")])
    ([('1', 'a cat', 'evaluation')], Counter({'duplicate': 1, 'blank': 1}))
    """
    kept, dropped, seen = [], Counter(), set()
    for name, raw, part in rows:
        text = _normal(raw) if isinstance(raw, str) else ""
        fault = _fault(text, seen)
        if fault:
            dropped[fault] += 1
            continue
        seen.add(text.casefold())
        kept.append((name or _hash(text)[:12], text, part or hub_part(text)))
    return kept, dropped


def hub_part(text: str) -> str:
    """The part that a cleaned text belongs to, whatever the seed: a set on the Hub has no parts of its own for us."""
    return PARTS[int(_hash(text.casefold())[:8], 16) % EVALUATION_SHARE == 0]


def divided(rows: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The rows of a file that names no parts: every fourth by hash is for evaluation, so that a short file has both."""
    order = {name: place for place, (_, name) in enumerate(sorted((_hash(text), name) for name, text, _ in rows))}
    return [(name, text, PARTS[order[name] % EVALUATION_SHARE == 0]) for name, text, _ in rows]


def count_truncated(prompts: list[Prompt], tokenizer: Any) -> int:
    """How many prompts are longer than the tokenizer's limit (77 tokens for CLIP), the rest of which is not seen."""
    lengths = [len(tokenizer(prompt.text, truncation=False, verbose=False).input_ids) for prompt in prompts]
    return sum(length > tokenizer.model_max_length for length in lengths)


def truncated(prompts: list[Prompt], negative: str, tokenizer: Any) -> dict[str, Any]:
    """What text encoders do not see the end of: identifiers of prompts, whether the negative one is such, and the
    tokens that they read."""
    every = [*prompts, *([Prompt("negative", negative)] if negative else [])]
    cut = [prompt for prompt in every if count_truncated([prompt], tokenizer)]
    ids = [prompt.id for prompt in cut if prompt in prompts]
    return {"prompts": ids, "negative_prompt": len(cut) > len(ids), "tokens": tokenizer.model_max_length}


def _kept(settings: schema.Prompts) -> list[tuple[str, str, str]]:
    """Cleaned rows of both parts; what was dropped is told."""
    embedded = settings.source == "embedded"
    rows = list(reading.read(Path(settings.file or ""), settings.column) if embedded else _hub(settings))
    kept, dropped = clean(rows)
    if embedded and not any(part for _, _, part in rows):
        kept = divided(kept)
    if found := names.twins([name for name, _, _ in kept]):  # a given id, and one that a text without any got
        raise ValueError(f"{settings.name}: two prompts have the id {found[1]!r}, which names pictures: rename one")
    if dropped:
        print(f"{settings.name}: prompts dropped: {_phrase(dropped)}", file=sys.stderr)
    return kept


def _require(found: int, wanted: int, settings: schema.Prompts, part: str) -> None:
    if found < wanted:
        where = settings.file if settings.source == "embedded" else settings.repo
        raise ValueError(
            f"prompts {settings.name!r} ({where}) hold {found} for {part}, fewer than the {wanted} asked for"
        )


def _hub(settings: schema.Prompts) -> list[tuple[str, Any, str]]:
    rows = enumerate(_streamed(settings), 1)
    return [("", reading.text_of(row, f"{settings.repo}, row {n}", settings.column), "") for n, row in rows]


def _streamed(settings: schema.Prompts) -> list[dict[str, Any]]:
    datasets = _datasets()
    where = {"revision": settings.revision, "split": settings.split}
    try:
        return list(islice(datasets.load_dataset(settings.repo, settings.subset, streaming=True, **where), POOL))
    except (OSError, RuntimeError) as error:  # absent repository, no network, offline mode
        if causes.of_disk(error) or causes.lacks_memory(error):
            raise
        if "scripts are no longer supported" in str(error):
            raise ValueError(
                f"prompts.repo {settings.repo!r} is a dataset script, which cannot be run: "
                "name a set with Parquet or JSON files"
            ) from error
        if isinstance(error, RuntimeError) and not causes.of_network(error):
            raise
        raise FileNotFoundError(
            f"prompts.repo {settings.repo!r} cannot be read ({_reason(error)}); without network use prompts=photographs"
        ) from error
    except ValueError as error:  # a subset or a split that the set does not have
        raise ValueError(
            f"prompts.repo {settings.repo!r} cannot be read with subset {settings.subset!r} and split "
            f"{settings.split!r}: {_reason(error)}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, RuntimeError):  # a client that was closed after it had failed
        return "the network failed"
    return (str(error).strip().splitlines() or ["no message"])[0]


def _datasets() -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # asks the Hub even for local files
    return datasets


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _fault(text: str, seen: set[str]) -> str | None:
    if not text:
        return "blank"
    if "\N{REPLACEMENT CHARACTER}" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return "not UTF-8"
    if any(unicodedata.category(letter) == "Cc" for letter in text):  # NUL and its like; line ends are spaces by now
        return "with control characters"
    return "duplicate" if text.casefold() in seen else None


def _phrase(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {fault}" for fault, count in sorted(dropped.items()))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
