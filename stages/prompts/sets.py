"""Prompts: read through the `datasets` library, cleaned, and split so that no text serves both parts.

Consumes an embedded JSON Lines file or a set on the Hub (streamed); produces (id, text) pairs for calibration or for
evaluation. The embedded way touches no network and writes nothing. Knows no tokenizer but one that is handed in.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.settings import schema

PARTS = ("calibration", "evaluation")
POOL = 5000  # rows read from a set on the Hub: enough to choose from, seconds to stream
EVALUATION_SHARE = 4  # every fourth text of a set on the Hub is for evaluation


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
    rows = _embedded(settings) if settings.source == "embedded" else _hub(settings)
    kept, dropped = clean(rows)
    if dropped:
        print(f"{settings.name}: prompts dropped: {_phrase(dropped)}", file=sys.stderr)
    prompts = [Prompt(name, text) for name, text, split in kept if split == part]
    if len(prompts) < count:
        raise ValueError(f"prompts {settings.name!r} hold {len(prompts)} for {part}, fewer than the {count} asked for")
    return sorted(prompts, key=lambda prompt: _hash(f"{settings.seed}:{prompt.text}"))[:count]


def clean(rows: Iterable[tuple[str, Any, str]]) -> tuple[list[tuple[str, str, str]], Counter[str]]:
    """(id, text, part) rows with texts in one form, and how many were dropped: blank, not UTF-8 or seen before.

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


def count_truncated(prompts: list[Prompt], tokenizer: Any) -> int:
    """How many prompts are longer than the tokenizer's limit (77 tokens for CLIP), the rest of which is not seen."""
    lengths = [len(tokenizer(prompt.text, truncation=False, verbose=False).input_ids) for prompt in prompts]
    return sum(length > tokenizer.model_max_length for length in lengths)


def _embedded(settings: schema.Prompts) -> list[tuple[str, Any, str]]:
    path = Path(settings.file or "")
    if not path.is_file():
        raise FileNotFoundError(f"prompts.file {settings.file!r} is missing: name JSON Lines with id, text and split")
    with tempfile.TemporaryDirectory() as scratch:
        # By another name than "utf-8", for which `datasets` leaves the decoding, and its errors, to Arrow.
        decoding = {"encoding": "utf8", "encoding_errors": "replace"}
        options = {"data_files": str(path), "cache_dir": scratch} | decoding
        rows = list(_datasets().load_dataset("json", split="train", streaming=True, **options))
    return [(_checked(row, path, "id"), _checked(row, path, settings.column), _part(row, path)) for row in rows]


def _hub(settings: schema.Prompts) -> list[tuple[str, Any, str]]:
    datasets = _datasets()
    where = {"revision": settings.revision, "split": settings.split}
    try:
        rows = list(islice(datasets.load_dataset(settings.repo, settings.subset, streaming=True, **where), POOL))
    except OSError as error:  # absent repository, no network, offline mode
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise FileNotFoundError(
            f"prompts.repo {settings.repo!r} cannot be read ({reason}); without network use prompts=photographs"
        ) from error
    return [("", _checked(row, settings.repo, settings.column), "") for row in rows]


def _datasets() -> Any:
    import datasets

    datasets.disable_progress_bars()
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # asks the Hub even for local files
    return datasets


def _checked(row: dict, where: Any, column: str) -> Any:
    if column not in row:
        raise ValueError(f"{where} has no column {column!r}; it has {', '.join(sorted(row))}")
    return row[column]


def _part(row: dict, path: Path) -> str:
    part = _checked(row, path, "split")
    if part not in PARTS:
        raise ValueError(f"{path}: split of {row.get('id')!r} must be one of {', '.join(PARTS)}, got {part!r}")
    return part


def _normal(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _fault(text: str, seen: set[str]) -> str | None:
    if not text:
        return "blank"
    if "\N{REPLACEMENT CHARACTER}" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        return "not UTF-8"
    return "duplicate" if text.casefold() in seen else None


def _phrase(dropped: Counter[str]) -> str:
    return ", ".join(f"{count} {fault}" for fault, count in sorted(dropped.items()))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
