"""Prompt files of every kind, changed at random: accepted ones are read as another reader reads them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as any_of

from tests.soak import mutating
from tests.soak.kind import Kind

PROMPTS = [
    {"text": "a red cat", "id": "cat", "split": "evaluation"},
    {"text": "a blue dog", "id": "dog", "split": "calibration"},
    {"text": 'an "owl", teal', "id": "3", "split": "calibration"},
]


def _prompt_files() -> Any:
    lines = "\n".join(json.dumps(row) for row in PROMPTS).encode()
    rows = mutating.documents(PROMPTS).map(
        lambda pair: (
            str(pair[0])[:200],
            "\n".join(json.dumps(row) for row in (pair[1] if isinstance(pair[1], list) else [pair[1]])).encode(),
        )
    )
    table = io.StringIO()
    writer = csv.DictWriter(table, list(PROMPTS[0]))
    writer.writeheader(), writer.writerows(PROMPTS)
    tables = mutating.contents(table.getvalue().encode())
    made = [rows.map(lambda e: (".jsonl", *e)), mutating.contents(lines).map(lambda e: (".jsonl", *e))]
    made += [
        tables.map(lambda e: (".csv", *e)),
        mutating.contents(b"a cat\n# no\n\na dog\n").map(lambda e: (".txt", *e)),
    ]
    return any_of.one_of(*made)


def _prompts_read(example: tuple[str, str, bytes]) -> Any:
    from stages.prompts import reading

    path = Path(f"others{example[0]}")
    path.write_bytes(example[2])
    return reading.read(path, "text")


def _other_prompts(example: tuple[str, str, bytes], rows: list[tuple[str, Any, str]]) -> str:
    suffix, _, content = example
    text = content.decode("utf-8-sig", errors="replace")
    if suffix == ".jsonl":
        there = [json.loads(line)["text"] for line in text.replace("\r", "\n").split("\n") if line.strip()]
    elif suffix == ".csv":
        rows_there = csv.DictReader(io.StringIO(text, newline=""))
        there = [row["text"] for row in rows_there if any(str(value or "").strip() for value in row.values())]
    else:
        lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
        there = [line for line in lines if line and not line.startswith("#")]
    ids = [name.casefold() for name, _, _ in rows if name]
    if len(ids) != len(set(ids)):
        return f"two prompts of one id: {ids}"
    if unsafe := [name for name in ids if "/" in name or name.startswith(".") or len(name) > 100]:
        return f"an id that names no file: {unsafe[0]!r}"
    return "" if [text for _, text, _ in rows] == there else f"{rows} is read, where {there} is written"


KINDS = {"prompts": Kind(_prompt_files, _prompts_read, _other_prompts)}
