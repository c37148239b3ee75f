"""Inputs made wrong, or merely unusual, at random: values, documents and bytes, the same for the same seed.

Consumes sound originals; produces Hypothesis strategies, and `drawn`, which takes so many examples of one. What is
changed is said with it, so that a reader sees what became of what.
"""

from __future__ import annotations

import json
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as any_of

TEXTS = any_of.one_of(
    any_of.text(max_size=12),
    any_of.sampled_from(
        [
            "",
            " ",
            ".*",
            "../../x",
            "/etc/passwd",
            "a" * 300,
            "\u0000",
            "\ud800",
            "null",
            "nan",
            "1e999",
            "é",
            "💡",
            "%s",
        ]
    ),
)
NUMBERS = any_of.one_of(
    any_of.integers(-3, 70), any_of.sampled_from([-1, 0, 2**31, 2**63, 10**30, -(10**30), 10**400]),
    any_of.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip
SCALARS = any_of.one_of(any_of.none(), any_of.booleans(), NUMBERS, TEXTS)
VALUES = any_of.recursive(
    SCALARS, lambda inner: any_of.lists(inner, max_size=3) | any_of.dictionaries(TEXTS, inner, max_size=3), max_leaves=5
)


def drawn(strategy: Any, seed: str, count: int) -> list[Any]:
    """`count` examples, by this seed the same ones."""
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck), derandomize=False,
    )  # fmt: skip
    @hypothesis.given(strategy)
    def collect(example: Any) -> None:
        found.append(example)

    collect()
    return found[:count]


def leaves(document: Any, path: tuple = ()) -> list[tuple]:
    """Where a document holds a value that is no mapping and no list."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    found = []
    for key, value in pairs:
        inside = leaves(value, (*path, key)) if isinstance(value, dict | list) and value else []
        found += inside or [(*path, key)]
    return found


def changed(document: Any, path: tuple, value: Any) -> Any:
    """A copy with another value in this place; without it where the value is `...`."""
    copied = json.loads(json.dumps(document))
    node = copied
    for key in path[:-1]:
        node = node[key]
    if value is ...:
        del node[path[-1]]
    else:
        node[path[-1]] = value
    return copied


def near(value: Any) -> Any:
    """Values of the same type, most of them sound ones of something else."""
    if isinstance(value, bool):
        return any_of.booleans()
    if isinstance(value, int):
        return any_of.sampled_from(
            [value, value + 1, value - 1, 2 * value, -value, 8 * value, float(value), str(value)]
        )
    if isinstance(value, float):
        return any_of.sampled_from([value, value / 2, 2 * value, -value, round(value), str(value)])
    if isinstance(value, str):
        return any_of.sampled_from([value, value.upper(), value[:-1], f"{value}x", f"{value} ", f"../{value}"])
    return any_of.sampled_from([value, None, [], {}, [value]])


def at(document: Any, path: tuple) -> Any:
    for key in path:
        document = document[key]
    return document


def documents(original: Any) -> Any:
    """(what was changed, the changed document): one value missing or another, or a key too many."""
    places = any_of.sampled_from(leaves(original))
    values = any_of.one_of(any_of.just(...), VALUES)
    others = places.flatmap(lambda path: any_of.tuples(any_of.just(path), near(at(original, path))))
    pairs = any_of.one_of(any_of.tuples(places, values), others)
    made = pairs.map(lambda pair: (pair, changed(original, *pair)))
    whole = VALUES.map(lambda value: (((), value), value))
    return any_of.one_of(made, made, made, made, made, made, whole)


def contents(original: bytes) -> Any:
    """(what was done, the bytes): flipped, cut, longer, empty, doubled, another file altogether."""
    places = any_of.integers(0, max(0, len(original) - 1))
    flipped = any_of.tuples(places, any_of.integers(1, 255)).map(lambda p: (f"flip {p}", _flip(original, *p)))
    cut = places.map(lambda place: (f"cut at {place}", original[:place]))
    added = any_of.binary(min_size=1, max_size=9).map(lambda more: (f"and {more!r}", original + more))
    zeroed = any_of.tuples(places, any_of.integers(1, 64)).map(
        lambda p: (f"zeros {p}", original[: p[0]] + bytes(p[1]) + original[p[0] + p[1] :])
    )
    others = any_of.sampled_from([
        b"", original * 2, b"\n", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        b"<!doctype html><html><body>404</body></html>", b"\xff\xfe\x00" * 9, b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04" + bytes(40),
    ]).map(lambda content: (f"{content[:20]!r} instead", content))  # fmt: skip
    return any_of.one_of(flipped, cut, added, zeroed, others)


def _flip(content: bytes, place: int, bits: int) -> bytes:
    return content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :] if content else content
