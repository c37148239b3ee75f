"""Why a folder may not be handed on: all reasons at once, each with what to do about it.

Consumes what is chosen and the settings; produces sentences, none where the folder may go. What the way asks for, such
as a token or a remote, is the way's own to say.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from stages.cards import licences
from stages.files import belonging, layout, manifest
from stages.files.layout import FP16
from stages.publishing import chosen as choosing
from stages.publishing.chosen import Chosen
from stages.report import verdicts
from stages.report.verdicts import FAILED, UNDECIDED, Verdict

SHOWN = 5  # names of files told in one sentence


def reasons(chosen: Chosen, settings: Any) -> list[str]:
    return [
        *strangers(chosen),
        *random_weights(chosen),
        *licence(chosen),
        *other_ir(chosen, settings.quantization.name),
        *other_figures(chosen),
        *gates(chosen, settings),
    ]


def strangers(chosen: Chosen) -> list[str]:
    """Files that no stage wrote: they might be anything."""
    known = {manifest.NAME, *chosen.made["files"]}
    there = {path.relative_to(chosen.folder).as_posix() for path in chosen.folder.rglob("*") if not path.is_dir()}
    if not (unknown := sorted(there - known)):
        return []
    return [f"{chosen.folder} holds what its manifest does not know: {listed(unknown)}; take it out of there"]


def random_weights(chosen: Chosen) -> list[str]:
    try:
        manifest.require_publishable(chosen.folder, rerun="")
    except ValueError as error:
        return [str(error)]
    return []


def licence(chosen: Chosen) -> list[str]:
    """What is not known to be allowed is not done."""
    where = f"model.{chosen.model}.licence"
    if not chosen.licence:
        return [f"{chosen} has no licence: say in {where} what its weights are under, and run 'dvc repro' again"]
    found = licences.of(chosen.licence)
    said = [
        f"{one.title} forbids that {chosen} is handed on: {one.asks} There is no way around it but other weights"
        for one in found
        if one.redistribution == "forbidden"
    ]
    if lacking := licences.texts_lacking(chosen.folder):
        said += [
            f"{lacking[0]} of {chosen} says only where its licence is to be read, and the text is to go along: put it "
            "beside the checkpoint as LICENSE, and run 'dvc repro' again"
        ]
    return said + [
        f"the licence {one.name!r} of {chosen} is unknown: if it allows it, add it to stages/cards/licences.yaml; "
        f"if the name in {where} is misspelt, mend it there"
        for one in found
        if one.redistribution == "unknown"
    ]


def other_ir(chosen: Chosen, selected: str) -> list[str]:
    """An IR that was made of another FP16 one than is there, where one is."""
    source = layout.ir(chosen.model, FP16)
    if chosen.precision == FP16 or not (source / manifest.NAME).is_file():
        return []
    rerun = choosing.stage_of(chosen.model, chosen.precision, selected)
    told = belonging.other(chosen.folder, rerun=rerun, ir=source)
    return [told] if told else []


def other_figures(chosen: Chosen) -> list[str]:
    """Figures and pictures of an IR that is not this one, or by another CLIP model than is there."""
    if not chosen.is_measured:
        return []
    measured, again = chosen.result.record.get("inputs") or {}, f"run 'dvc repro benchmark@{chosen.model}'"
    if measured.get(chosen.precision) != manifest.digest(chosen.folder):
        return [f"the figures of {chosen} were measured of another IR than the one in {chosen.folder}: {again}"]
    if chosen.precision != FP16 and measured.get(FP16) != chosen.made["inputs"].get("ir"):
        return [f"the figures of {chosen} compare it with another FP16 IR than it was made of: {again}"]
    record = layout.benchmark(chosen.model) / "record.json"
    if told := belonging.measured_other(record, measured, rerun=f"benchmark@{chosen.model}", scorer=layout.SCORER):
        return [told]
    return []


def gates(chosen: Chosen, settings: Any) -> list[str]:
    """A gate for each that failed, and one for all that are undecided for the same reason."""
    if chosen.precision == FP16:  # what others are compared with
        return []
    said = judged(chosen, settings)
    undecided = [one for one in said if one.verdict == UNDECIDED]
    grouped = {one.reason: [other.gate.head for other in undecided if other.reason == one.reason] for one in undecided}
    return [failed(one) for one in said if one.verdict == FAILED] + [
        f"gates undecided: {', '.join(heads)}: {reason}" for reason, heads in grouped.items()
    ]


def judged(chosen: Chosen, settings: Any) -> list[Verdict]:
    """Of this precision alone, as the scheme that made it is, selected or not."""
    own = SimpleNamespace(name=chosen.precision, scheme=chosen.made["facts"].get("scheme"))
    said = verdicts.judge([chosen.result], SimpleNamespace(gates=settings.gates, quantization=own))
    return [one for one in said if one.scheme == chosen.precision]


def failed(one: Verdict) -> str:
    return (
        f"gate failed: {one.told}; choose another scheme (python -m stages.schemes {one.model}), "
        f"or ask for less on purpose (gates.{one.gate.key}=...)"
    )


def listed(names: list[str]) -> str:
    """`a, b, c, d, e and 12 more`"""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
