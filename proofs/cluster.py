"""What a picture and a calibration sample cost on a Ray cluster, and what its workers add to a loop on this machine.

Consumes an FP16 IR and a cluster that is there, of nodes that nothing else runs on; writes proofs/results/cluster.json.
The same pictures are drawn by the loop, by one worker and by several, all with as many threads (`--threads`), and must
come to the same bytes. Loading is apart: the clock starts with the first results, as many as have workers, so that
what is told is pictures per second of all of them together, and ends with the last.

    ray start --head --num-cpus=1 && ray start --address=HOST:PORT --num-cpus=1    # here, or on another machine
    python -m proofs.cluster mini-sdxl --pictures 64 --workers 2 --threads 1
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from stages.engines import engine as engines
from stages.engines.work import Work
from stages.files import layout, placing
from stages.generation import drawing, pipelines
from stages.generation.residency import Room
from stages.ir import anatomy
from stages.machine import description, memory, sizes
from stages.prompts import sets
from stages.settings import config

RESULTS = Path("proofs/results/cluster.json")
READS = ("model.{model}", "prompts", "device", *config.HOW)
LEAST = 1  # results of each worker before the clock starts


class Pictures(Work):
    """(prompt, seed) to the hash of a picture's pixels."""

    def __init__(self, settings: Any, room_gb: float) -> None:
        folder = layout.ir(settings.model_key, layout.FP16)
        super().__init__({"ir": folder}, settings.device, room_gb)
        self.sampler = settings.model.sampler

    def need_gb(self) -> float:
        folder = self.folders["ir"]
        asked = memory.request(self.sampler, self.device)
        return memory.together_gb(sizes.of_ir(folder), asked, anatomy.stored(folder))

    def load(self) -> Any:
        how = self.folders["ir"], "text-to-image", self.sampler, self.device
        return pipelines.load(*how, room=Room(self.room_gb))

    def do(self, loaded: Any, item: tuple[str, int]) -> str:
        picture = drawing.generate(loaded, item[0], self.sampler, item[1])
        return hashlib.sha256(np.asarray(picture).tobytes()).hexdigest()


def measure(engine: engines.Engine, settings: Any, items: list[tuple[str, int]], workers: int) -> dict[str, Any]:
    """Seconds until the first results, then seconds for each of the others; and what was drawn."""
    start, moments, drawn = time.perf_counter(), [], []
    for found in engine.map(Pictures(settings, memory.room_gb()), items, f"{engine.name}, {workers}", "picture"):
        moments.append(time.perf_counter())
        drawn.append(found)
    first = LEAST * workers
    each_s = (moments[-1] - moments[first - 1]) / (len(moments) - first)
    return {"workers": workers, "loading_s": moments[first - 1] - start, "picture_s": each_s, "drawn": drawn}


def compared(local: dict[str, Any], one: dict[str, Any], many: dict[str, Any]) -> dict[str, Any]:
    """`overhead`: of one worker against the loop; `scaling`: of all workers against one.

    >>> compared({"picture_s": 1.0}, {"picture_s": 1.04}, {"picture_s": 0.52})
    {'overhead': 0.04, 'scaling': 2.0}
    """
    overhead = one["picture_s"] / local["picture_s"] - 1
    return {"overhead": round(overhead, 4), "scaling": round(one["picture_s"] / many["picture_s"], 3)}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--address", default="auto")
    given = parser.parse_args(argv)
    with config.main_guard():
        if given.pictures <= LEAST * given.workers:
            raise ValueError(f"--pictures must be above --workers, got {given.pictures} and {given.workers}")
        how = ["engine=ray", f"engine.address={given.address}", f"device.threads={given.threads}"]
        settings = config.load(READS, given.model, how)
        prompts = sets.load_prompts(settings.prompts, "evaluation", min(given.pictures, 8))
        items = [(prompts[n % len(prompts)].text, n) for n in range(given.pictures)]
        found = {"local": measure(engines.LOCAL, settings, items, 1)}
        for name, count in (("one", 1), ("many", given.workers)):
            settings.engine.workers = count
            found[name] = measure(engines.chosen(settings.engine), settings, items, count)
        same = all(one.pop("drawn") == drawn for drawn in [found["local"]["drawn"]] for one in found.values())
        about = {"machine": description.describe()["cpu"], "pictures": given.pictures, "threads": given.threads}
        result = about | {"same": same} | found | compared(*found.values())
        known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        placing.write_text(RESULTS, json.dumps(known | {given.model: result}, indent=1) + "\n")
        print(
            f"{given.model}: {found['local']['picture_s']:.3f} s a picture by the loop, "
            f"{100 * result['overhead']:+.1f} % by one worker, {result['scaling']:.2f} times as fast "
            f"by {given.workers}; the same pictures: {same}"
        )


if __name__ == "__main__":
    main()
