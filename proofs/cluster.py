"""What a picture and a calibration draft cost on a Ray cluster, and what its workers add to a loop on this machine.

Consumes an FP16 IR and a cluster that is there, of nodes that nothing else runs on; writes proofs/results/cluster.json.
The same items are done by the loop as stages run it (its thread bound to a core), by the loop as a worker runs it (not
bound), by one worker and by several, all with as many threads of OpenVINO's and torch's (`--threads`), and must come to
the same bytes. Loading is apart: the clock starts with the first results, as many as have workers, so that what is told
is items per second of all of them together, and ends with the last. What a worker needs for an item itself is told
beside it: the rest is the way there and back.

    ray start --head --num-cpus=1 && ray start --address=HOST:PORT --num-cpus=1    # here, or on another machine
    python -m proofs.cluster mini-sdxl --items 64 --workers 2 --threads 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from stages.calibration import collecting
from stages.engines import engine as engines
from stages.engines.work import Work
from stages.files import layout, placing
from stages.generation.at_work import PipelineWork
from stages.generation.residency import Room
from stages.machine import description, memory
from stages.measurement import tasks
from stages.prompts import sets
from stages.settings import config

RESULTS = Path("proofs/results/cluster.json")
READS = ("model.{model}", "prompts", "calibration", "device", *config.HOW)
LEAST = 1  # results of each worker before the clock starts
PROMPTS = 8  # different ones, which pictures are drawn of with other seeds
LOOPS = {"bound": True, "free": False}  # by name: whether a thread is bound to a core


class Timed(Work):
    """Another work, whose results come with the seconds, and the processor's, that each took where it was done."""

    def __init__(self, work: Work, *, pinned: bool) -> None:
        super().__init__(work.folders, work.device, work.room_gb)
        self.work, self.pinned = work, pinned

    def need_gb(self) -> float:
        return self.work.need_gb()

    def load(self) -> Work:
        import torch

        torch.set_num_threads(self.device.threads or torch.get_num_threads())
        work = self.work.at(self.folders, self.device.threads, self.room_gb)
        work.pinned = self.pinned
        work.loaded()
        return work

    def do(self, loaded: Work, item: Any) -> tuple[Any, float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        found = loaded(item)
        return found, time.perf_counter() - wall, time.process_time() - cpu


class Pictures(PipelineWork):
    """Jobs to what a benchmark keeps of them: the picture, and the latents after every step."""

    def do(self, loaded: tuple[Any, Room], item: tasks.Job) -> list[np.ndarray]:
        run = tasks.run(loaded[0], item, self.sampler, self.sampler.steps)
        return [np.asarray(run.picture), *run.latents]


def pictures(settings: Any, folder: Path, count: int) -> tuple[Work, list[Any]]:
    prompts = sets.load_prompts(settings.prompts, "evaluation", min(count, PROMPTS))
    jobs = [tasks.Job("text-to-image", prompts[n % len(prompts)], n, None, {}) for n in range(count)]
    return Pictures(folder, settings.model.sampler, settings.device, memory.room_gb()), jobs


def drafts(settings: Any, folder: Path, count: int) -> tuple[Work, list[Any]]:
    """Of a base: a refiner's wait for its base's."""
    settings.calibration.prompts, settings.calibration.evaluations = count, None
    chosen = sets.load_prompts(settings.prompts, "calibration", count)
    work = collecting.Recording(settings, folder, settings.model_key, len(chosen), memory.room_gb())
    return work, collecting.encoded(work, dict(enumerate(chosen)), {})


def measure(engine: engines.Engine, work: Timed, items: list[Any], workers: int) -> dict[str, Any]:
    """Seconds until the first results, then of each of the others: on the clock here, and where it was done
    (`inside_s`, of processors `cpu_s`); and the hash of all that was made."""
    start, moments, inside, cpu, whole = time.perf_counter(), [], [], [], hashlib.sha256()
    for found, wall_s, cpu_s in engine.map(work, items, f"{engine.name}, {workers}", "item"):
        moments.append(time.perf_counter())
        inside.append(wall_s)
        cpu.append(cpu_s)
        _add(whole, found)
    first = LEAST * workers
    each_s = (moments[-1] - moments[first - 1]) / (len(moments) - first)
    times = {"loading_s": moments[first - 1] - start, "item_s": each_s}
    times |= {"inside_s": statistics.mean(inside[first:]), "cpu_s": statistics.mean(cpu[first:])}
    return {"workers": workers, **{name: round(value, 5) for name, value in times.items()}, "made": whole.hexdigest()}


def _add(whole: Any, found: Any) -> None:
    """Arrays in lists and dictionaries, to a hash of them."""
    if isinstance(found, np.ndarray):
        whole.update(repr((found.dtype.str, found.shape)).encode() + found.tobytes())
        return
    for one in found.values() if isinstance(found, dict) else found:
        _add(whole, one)


def compared(bound: dict[str, Any], free: dict[str, Any], one: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """`overhead` of one worker against the loop, `processor` that of its processor time, which other work on the
    machine moves less, `unbound` of the loop whose threads are bound to no core; `way`: a worker's time between items;
    `scaling`: of all workers against one.

    >>> loop = {"item_s": 1.0, "cpu_s": 1.0}
    >>> one = {"item_s": 1.05, "inside_s": 1.04, "cpu_s": 1.01}
    >>> compared(loop, {"item_s": 1.02}, one, {"item_s": 0.52})
    {'overhead': 0.05, 'processor': 0.01, 'unbound': 0.02, 'way': 0.0095, 'scaling': 2.019}
    """
    overhead, unbound = (other["item_s"] / bound["item_s"] - 1 for other in (one, free))
    shares = {"overhead": overhead, "processor": one["cpu_s"] / bound["cpu_s"] - 1, "unbound": unbound}
    shares |= {"way": 1 - one["inside_s"] / one["item_s"]}
    rounded = {name: round(value, 4) for name, value in shares.items()}
    return rounded | {"scaling": round(one["item_s"] / many["item_s"], 3)}


def all_ways(settings: Any, work: Work, items: list[Any], workers: int) -> dict[str, Any]:
    """The four ways, and whether all of them made the same."""
    found = {name: measure(engines.LOCAL, Timed(work, pinned=bound), items, 1) for name, bound in LOOPS.items()}
    for name, count in (("one", 1), ("many", workers)):
        settings.engine.workers = count
        engine = engines.chosen(settings.engine)
        found[name] = measure(engine, Timed(work, pinned=False), items, count)
        engine.rest()
    same = len({one.pop("made") for one in found.values()}) == 1
    return {"same": same, **found, **compared(*found.values())}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--items", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--address", default="auto")
    given = parser.parse_args(argv)
    with config.main_guard():
        if given.items <= LEAST * given.workers:
            raise ValueError(f"--items must be above --workers, got {given.items} and {given.workers}")
        if given.threads < 1:
            raise ValueError(f"--threads must be >= 1, got {given.threads}")
        how = ["engine=ray", f"engine.address={given.address}", f"device.threads={given.threads}"]
        settings = config.load(READS, given.model, how)
        if settings.model.role == "refiner":
            raise ValueError(f"{given.model} is a refiner, whose items wait for its base's: name a base")
        about = {"machine": description.describe()["cpu"], "items": given.items, "threads": given.threads}
        about["load"] = description.load_average()
        result, folder = about, layout.ir(given.model, layout.FP16)
        for kind, make in (("pictures", pictures), ("drafts", drafts)):
            result[kind] = all_ways(settings, *make(settings, folder, given.items), given.workers)
            print(line(given.model, kind, result[kind]))
        known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        placing.write_text(RESULTS, json.dumps(known | {given.model: result}, indent=1) + "\n")


def line(model: str, kind: str, found: dict[str, Any]) -> str:
    loop_s = found["bound"]["item_s"]
    return (
        f"{model}, {kind}: {loop_s:.3f} s by the loop, {100 * found['overhead']:+.1f} % by one worker, "
        f"{found['scaling']:.2f} times as fast by {found['many']['workers']}; the same bytes: {found['same']}"
    )


if __name__ == "__main__":
    main()
