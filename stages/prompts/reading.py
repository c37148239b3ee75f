"""Rows of a prompt file: JSON Lines, plain text, CSV or TSV, each of them checked as it is read.

Consumes a path and the name of the column that holds the texts; produces (id, text, part) rows, or an error that names
file, line and key. Rows may lack an id and a part, or the file both columns. Imports nothing heavy, draws nothing.

    prompts.jsonl    {"text": "a cat", "id": "cat", "split": "evaluation"}    a JSON object a line
    prompts.txt      a cat                                                    blank lines and lines with # are left out
    prompts.csv      text,id,split / a cat,cat,evaluation                     the first line names the columns
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.files import names

PARTS = ("calibration", "evaluation")
KINDS = {float: "a number", int: "a number", bool: "true or false", list: "a list", dict: "an object"}
Row = tuple[str, Any, str]


def read(path: Path, column: str) -> list[Row]:
    """(id, text, part) of every row, "" for an id or a part that is not given; bytes that are not UTF-8 are replaced.

    Raises FileNotFoundError, and ValueError for whatever would fail or be drawn over another picture later.
    """
    reader = READERS.get(path.suffix.lower())
    if not path.is_file():
        raise FileNotFoundError(f"prompts.file {str(path)!r} is missing: name a file that ends in {', '.join(READERS)}")
    if reader is None:
        raise ValueError(f"prompts.file {str(path)!r} must end in one of {', '.join(READERS)}")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    numbered = {f"{path}, line {number}": values for number, values in reader(text, path, column)}
    if not numbered:
        raise ValueError(f"prompts.file {str(path)!r} holds no prompts")
    rows = {where: _row(values, where, column) for where, values in numbered.items()}
    _require_different_ids(rows)
    _require_parts_of_all_or_none(rows)
    return list(rows.values())


def text_of(values: dict[str, Any], where: str, column: str) -> str | None:
    """The text of a row, None where it is empty in JSON or in a set."""
    if column not in values:
        raise ValueError(f"{where} has no column {column!r}; it has {', '.join(sorted(values))}: set prompts.column")
    text = values[column]
    if text is not None and not isinstance(text, str):
        raise ValueError(f"{where}: column {column!r} must hold text, got {_kind(text)}: set prompts.column")
    return text


def _row(values: dict[str, Any], where: str, column: str) -> Row:
    return _id(values.get("id"), where), text_of(values, where, column), _part(values.get("split"), where)


def _id(value: Any, where: str) -> str:
    """A whole number is an id like any other; what is empty is none."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{where}: id must be text or a whole number, got {_kind(value)}")
    if not names.is_file_name(_text(value)):
        raise ValueError(f"{where}: id {names.shown(_text(value))} must be {names.ALLOWED_DOTTED}")
    return str(value)


def _text(value: str | int) -> str:
    """A whole number of thousands of digits, which Python does not write, is no id either."""
    try:
        return str(value)
    except ValueError:
        return ""


def _part(value: Any, where: str) -> str:
    if value is None or value == "":
        return ""
    if value not in PARTS:
        raise ValueError(f"{where}: split must be one of {', '.join(PARTS)}, got {value!r}")
    return value


def _require_different_ids(rows: dict[str, Row]) -> None:
    """Different on file systems too that do not tell upper case from lower: pictures are named by them."""
    seen: dict[str, tuple[str, str]] = {}
    for where, (name, _, _) in rows.items():
        before, place = seen.setdefault(name.casefold(), (name, where))
        if name and place != where:
            line = place.rpartition(", ")[2]
            raise ValueError(f"{where}: id {name!r} occurs twice, as {before!r} in {line} already: ids name pictures")


def _require_parts_of_all_or_none(rows: dict[str, Row]) -> None:
    without = next((where for where, (_, _, part) in rows.items() if not part), None)
    if without and any(part for _, _, part in rows.values()):
        raise ValueError(f"{without}: split is missing, which other lines have: give all of them one, or none")


def _json_lines(text: str, path: Path, _column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in _lines(text):
        try:
            values = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number} is not valid JSON: {error}") from error
        if not isinstance(values, dict):
            raise ValueError(
                f'{path}, line {number} must be an object such as {{"text": "a cat"}}, got {_kind(values)}'
            )
        yield number, values


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object that names nothing twice, of which JSON would take the last."""
    if (twice := names.repeated(name for name, _ in pairs)) is not None:
        raise ValueError(f"{twice!r} stands there twice")
    return dict(pairs)


def _plain(text: str, _path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((number, {column: line}) for number, line in _lines(text) if not line.startswith("#"))


def _commas(text: str, path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    return _table(text, path, column, ",")


def _tabs(text: str, path: Path, column: str) -> Iterator[tuple[int, dict[str, Any]]]:
    return _table(text, path, column, "\t")


def _table(text: str, path: Path, column: str, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = _cells(text, path, delimiter)
    top, header = next(rows, (1, []))
    header = [name.strip() for name in header]
    if header:
        text_of(dict.fromkeys(header), f"{path}, line {top}", column)
    if (twice := names.repeated(header)) is not None:
        raise ValueError(f"{path}, line {top} names column {twice!r} twice")
    for number, cells in rows:
        if len(cells) != len(header):
            wanted = f"{len(header)}, as line {top} has names: quote a text that holds a comma, a tab or a line's end"
            raise ValueError(f"{path}, line {number} has {len(cells)} columns instead of {wanted}")
        yield number, dict(zip(header, cells, strict=True))


def _cells(text: str, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, by the line that they begin in: a quoted text may go over several."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}, line {number} cannot be read: {error}; check its quotes") from error
        if any(cell.strip() for cell in cells):
            yield number, cells


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not blank; only what ends a line in a file does, which is less than str.splitlines() takes."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip():
            yield number, line.strip()


def _kind(value: Any) -> str:
    return KINDS.get(type(value), "nothing" if value is None else "text")


READERS = {".jsonl": _json_lines, ".json": _json_lines, ".txt": _plain, ".csv": _commas, ".tsv": _tabs}
