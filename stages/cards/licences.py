"""Licences of weights: what a model's declaration says, what that asks, and the texts that go along with a folder.

Consumes licences.yaml and the texts in licences/; produces facts, and files LICENSE and NOTICE in a folder. What a
checkpoint brought itself goes before what is held here. A licence that is not listed is unknown, never free.
"""

from __future__ import annotations

import functools
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.files import placing

FILE, TEXTS = Path(__file__).with_name("licences.yaml"), Path(__file__).with_name("licences")
AND = " AND "
CARRIED = ("LICENSE", "NOTICE")  # how the names of files begin that go wherever weights go
STRICTEST = ("unknown", "forbidden", "pass_on_terms", "free")  # whichever comes first decides for all of them
ABSENT = "Its text did not come with them and is not held by PocketXL."
CHANGED = "Changed by PocketXL: converted to OpenVINO IR; README.md beside this file says how, and what was quantized."


@dataclass(frozen=True)
class Licence:
    """See licences.yaml; `name` as the model declares it, `file` the text that is held, None where it is not."""

    name: str
    title: str
    hub: str
    redistribution: str
    asks: str
    notice: str | None
    url: str | None
    file: Path | None


def of(declared: str | None) -> list[Licence]:
    """Every licence of a declaration such as `openrail++ AND mit`; none where nothing is declared."""
    return [_licence(name.strip()) for name in declared.split(AND)] if declared and declared.strip() else []


def redistribution(declared: str | None) -> str:
    """`free`, `pass_on_terms`, `forbidden` or `unknown`: the strictest of all."""
    return min([one.redistribution for one in of(declared)] or ["unknown"], key=STRICTEST.index)


def joined(*declared: str | None) -> str:
    """One declaration out of those of several parts, each licence once; `unknown` for a part that declares none."""
    names: dict[str, str] = {}
    for one in (one for parts in declared for one in of(parts or "unknown")):
        names.setdefault(one.name.lower(), one.name)
    return AND.join(names.values())


def place(folder: Path, declared: str | None, sources: list[dict[str, Any]]) -> None:
    """Complete LICENSE and NOTICE in a folder that has what the checkpoint brought."""
    licences = of(declared)
    if len(licences) > 1:
        for one in licences:
            _place_text(folder / f"LICENSE-{_slug(one.name)}.txt", [one], sources)
    elif not files(folder):
        _place_text(folder / "LICENSE", licences, sources)
    notices = [one.notice for one in licences if one.notice]
    if notices and not list(folder.glob("NOTICE*")):
        placing.write_text(folder / "NOTICE", "\n\n".join([*notices, CHANGED]) + "\n")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("LICENSE*"))


def texts_lacking(folder: Path) -> list[str]:
    """Those of them that say no more than where to read."""
    return [name for name in files(folder) if ABSENT in (folder / name).read_text(encoding="utf-8", errors="replace")]


def notices(folder: Path) -> str:
    """What stands in the notices of a folder: attribution that is to be passed on."""
    return "\n\n".join(path.read_text(encoding="utf-8").strip() for path in sorted(folder.glob("NOTICE*")))


def front_matter(declared: str | None, folder_files: list[str]) -> dict[str, str]:
    """`license`, and what goes with it, as the Hub wants it."""
    licences = of(declared)
    if not licences:
        return {"license": "unknown"}
    link = {"license_link": folder_files[0]} if folder_files else {}
    if len(licences) == 1 and licences[0].hub != "other":
        return {"license": licences[0].hub} | link
    return {"license": "other", "license_name": _slug("-and-".join(one.name for one in licences))} | link


def _licence(name: str) -> Licence:
    facts = known().get(name.lower())
    if facts is None:
        asks = "It is not known here: read it where the weights come from before you use them or hand them on."
        return Licence(name, name, "other", "unknown", asks, None, None, None)
    file = TEXTS / f"{name.lower()}.txt"
    facts = {key: value for key, value in facts.items() if key != "text"}
    return Licence(name, **facts, file=file if file.is_file() else None)


@functools.cache
def known() -> dict[str, dict[str, Any]]:
    import yaml

    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def _place_text(path: Path, licences: list[Licence], sources: list[dict[str, Any]]) -> None:
    if path.exists():
        return
    if licences and licences[0].file:
        shutil.copyfile(licences[0].file, path)
    else:
        placing.write_text(path, _where_to_read(licences, sources))


def _where_to_read(licences: list[Licence], sources: list[dict[str, Any]]) -> str:
    said = " and ".join(one.title for one in licences)
    lines = [f"Licence of these weights: {said}." if said else "No licence of these weights is declared."]
    places = [one.url for one in licences if one.url]
    places += [f"https://huggingface.co/{source['name']}" for source in sources if source["kind"] == "hub"]
    lines += [ABSENT]
    lines += [f"Read it at {' and '.join(places)}." if places else "Ask whoever gave you the checkpoint."]
    return "\n".join(lines) + "\n"


def _slug(name: str) -> str:
    kept = "".join(letter if letter.isalnum() or letter in "+.-" else "-" for letter in name.lower())
    return "-".join(part for part in kept.split("-") if part)
