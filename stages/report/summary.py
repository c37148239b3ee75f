"""What the figures say, in sentences: the last words of a run, why a step is no faster, what to know before comparing.

Consumes results; produces text, for the page, the terminal and the README. A difference is called one only where its
interval leaves out 1. Reads no benchmark files, measures nothing.
"""

from __future__ import annotations

import statistics

from stages.report import comparison, results, words
from stages.report.results import BEFORE, Result

HARDLY_VISIBLE_DB = 30.0  # PSNR of 8-bit pictures from which on people rarely tell them apart
FLOAT32 = "fp16 in float32"  # the reference, where memory holds it


def in_a_sentence(found: list[Result], at_true_size: str = "") -> str:
    """The last words of a run, for a terminal: what quantizing did to size, pictures and speed; what is quickest.

    `at_true_size`: what is known of that, which stands first where all that was measured are miniatures.
    """
    after = found[0].after.upper()
    sizes = [size for result in found if (size := result.smaller())]
    psnrs = [psnr for result in found if (psnr := result.figure(result.after, "psnr_db")) is not None]
    said = [f"{after} makes the UNets {words.span(sizes)} smaller"] if sizes else []
    if psnrs:
        visible = "hardly to be seen" if min(psnrs) >= HARDLY_VISIBLE_DB else "to be seen"
        said.append(f"pictures keep {min(psnrs):.1f} dB PSNR or more against float32's (differences {visible})")
    said += [speed] if (speed := speed_in_words(found)) else []
    first = f"{'; '.join(said)}." if said else ""
    lines = [" ".join(part for part in (first, descendants(found)) if part) or f"{BEFORE.upper()} figures only."]
    if at_true_size and all(result.family == "mini" for result in found):
        lines = [at_true_size, f"These miniatures, which are mostly overhead: {lines[0]}"]
    return "\n".join(lines)


def speed_in_words(found: list[Result]) -> str:
    """`a step takes 1.07× as long as FP16's, which this processor computes in bfloat16`"""
    speeds = [speed for result in found if (speed := result.figure(result.after, "speedup_step", "ratio"))]
    if not speeds:
        return ""
    middle = statistics.median(speeds)
    if middle >= 1:
        return f"a step runs {middle:.2f}× as fast as FP16's"
    floats = {results.floats_in(result.record.get("precisions", {}).get(BEFORE)) for result in found}
    why = ", which this processor computes in bfloat16" if "bfloat16" in floats else ""
    return f"a step takes {1 / middle:.2f}× as long as FP16's{why}"


def speed_on_page(found: list[Result]) -> str:
    """`A step takes 1.2× as long as FP16's, …: models this small are mostly overhead.` Empty where it is faster."""
    said = speed_in_words(found)
    if "as long" not in said:
        return ""
    small = ": models this small are mostly overhead" if all(result.family == "mini" for result in found) else ""
    return f"{said[0].upper()}{said[1:]}{small}."


def descendants(found: list[Result]) -> str:
    """How much sooner the quickest models finish a picture than the largest one, each at its own number of steps."""
    largest = results.largest(found)
    faster = {
        result: gain
        for result in results.bases(found)
        if (gain := results.times_faster(result, largest, result.after)) and gain > 1.05
    }
    said = []
    for few in (False, True):
        group = [result for result in faster if (result in results.few_step(found)) is few]
        if group:
            quickest = max(group, key=lambda result: faster[result])
            steps = f", in {quickest.steps()} steps," if few else ""
            verb, than = ("", "") if said else (" draws", f" than {largest.title}")
            said.append(f"{quickest.title}{steps}{verb} {words.times(faster[quickest])} faster{than}")
    return f"{'; '.join(said)}." if said else ""


def warnings(found: list[Result], machine: dict) -> list[str]:
    """What a reader must know before comparing: absent figures, a busy machine, several machines, random weights."""
    said = [f"{line.title}: {line.reason}" for line in comparison.comparison(found)[1] if line.reason]
    for result in found:
        said += [f"{result.title}: {doubt}" for doubt in result.record.get("doubts") or []]
        noise = result.record.get("noise") or {}
        if noise.get("flagged"):
            said.append(f"{result.title} was measured on a busy machine ({busy(noise)}): read its times with care, "
                        f"or repeat them with 'dvc repro -f -s benchmark@{result.key}'")  # fmt: skip
    said += [note for result in found for note in short_of_memory(result)]
    said += [f"{result.title}: left out for time: {what}" for result in found for what in left_out(result)]
    said += [f"{result.title}: {note}" for result in found for note in elsewhere(result)]
    said += [
        f"{result.title}: no FID: {why}" for result in found if (why := (result.record.get("fid") or {}).get("why"))
    ]
    ids = {result.record["machine"] for result in found if result.record.get("machine")}
    if len(ids | {machine.get("id", "")} - {""}) > 1:
        said.append("These figures come from more than one machine: compare ratios, not times, between models")
    if any(result.family == "synthetic" for result in found):
        said.append("Synthetic models have random weights: only their times and sizes mean anything")
    return said


def short_of_memory(result: Result) -> list[str]:
    """What was measured otherwise than usual, since memory did not hold it."""
    said, reference = [], result.record.get("reference")
    if result.record.get("interleaved") is False and len(result.record["precisions"]) > 1:
        said.append(f"{result.title}: precisions were measured one after the other, memory does not hold both")
    if reference not in (None, FLOAT32) and not result.record.get("random_weights"):
        said.append(f"{result.title}: fidelity is against {reference}, memory does not hold it in float32")
    return said


def left_out(result: Result) -> list[str]:
    """What the benchmark's time did not hold."""
    return result.record.get("left_out") or []


def elsewhere(result: Result) -> list[str]:
    """Which figures a cluster had a part in, and which not."""
    found = result.record.get("elsewhere")
    if not found:
        return []
    nodes = found.get("nodes") or {}
    by = ", ".join(f"{count} by {node}" for node, count in nodes.items())
    return [
        f"{found.get('pictures')} pictures, with the predictions at their points, were drawn on a cluster ({by}) and "
        "not timed; all times, memory and energy are of this machine alone"
    ]


def busy(noise: dict) -> str:
    """`load 1.4, 12 % taken by other processes, 1 % by other guests`, as far as recorded."""
    load, others, steal = (noise.get(name) for name in ("load", "others", "steal"))
    said = [f"load {load:.1f}"] if results.is_number(load) else []
    said += [f"{100 * others:.0f} % taken by other processes"] if results.is_number(others) else []
    said += [f"{100 * steal:.0f} % by other guests"] if results.is_number(steal) else []
    return ", ".join(said)
