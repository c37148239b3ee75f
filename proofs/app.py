"""How soon the page is there, how soon its first picture, and what its processes hold after a hundred of them.

Consumes artifacts/ir of `make repro`; produces proofs/results/app.json. The page is started as anybody starts it, and
asked over HTTP, as its own script asks it: no browser's work is counted.

    python -m proofs.app mini-vega
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.app import fields
from stages.files import placing
from stages.settings import config
from stages.studio import shelf

RESULTS = Path("proofs/results/app.json")
PICTURES, WARM = 100, 10  # the first ten fill what is kept for reuse
PROMPT = "an owl sticker on a teal background"


class Client:
    """A tab of the page, without a browser."""

    def __init__(self, address: str) -> None:
        import httpx

        self.http = httpx.Client(base_url=address, timeout=600)
        self.session = secrets.token_hex(6)
        settings = self.http.get("/config").json()
        draw = next(part["id"] for part in settings["components"] if part["props"].get("elem_id") == "draw")
        events = {tuple(target): one["id"] for one in settings["dependencies"] for target in one["targets"]}
        self.event = events[draw, "click"]
        opened = next(number for (_, kind), number in events.items() if kind == "load")
        asked = {"data": [], "fn_index": opened, "session_hash": self.session}
        self.http.post("/gradio_api/run/predict", json=asked).raise_for_status()

    def draw(self, values: list[Any]) -> None:
        """One picture, until it is on the page."""
        *_, last = self.news(values)
        assert last["success"] and "Done" in json.dumps(last["output"]), last

    def news(self, values: list[Any]) -> Iterator[dict[str, Any]]:
        """What the page is told of one picture, to the last."""
        asked = {"data": values, "fn_index": self.event, "session_hash": self.session}
        self.http.post("/gradio_api/queue/join", json=asked).raise_for_status()
        with self.http.stream("GET", "/gradio_api/queue/data", params={"session_hash": self.session}) as news:
            for line in news.iter_lines():
                told = json.loads(line.removeprefix("data: ")) if line.startswith("data: ") else {}
                yield told
                if told.get("msg") == "process_completed":
                    return


@contextmanager
def page() -> Iterator[tuple[subprocess.Popen, str]]:
    """Its process and address, once it says so."""
    command = [sys.executable, "-m", "stages.app"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or []:
                if line.startswith("Open "):
                    yield process, line.split()[1]
                    return
            raise ValueError("the page did not start: the reason stands above")
        finally:
            process.terminate()


def measure(model: str) -> dict[str, Any]:
    import psutil

    filled = fields.filled(shelf.find(), "text-to-image", model)
    values = dict.fromkeys(fields.NAMES) | filled | {"task": "text-to-image", "prompt": PROMPT, "new_seed": True}
    began = time.perf_counter()
    with page() as (process, address):
        started_s = time.perf_counter() - began
        about, client, held_mb = psutil.Process(process.pid), Client(address), []
        page_cpu_s = _cpu_s(about)
        for number in range(PICTURES):
            client.draw([values[name] for name in fields.NAMES])
            held_mb.append(_held_mb(about))
            if number == 0:
                first_s, first_cpu_s = time.perf_counter() - began, _cpu_s(about)
        cpu_s = _cpu_s(about)
    return {
        "precision": filled["precision"],
        "page_s": round(started_s, 2),
        "page_cpu_s": page_cpu_s,
        "first_picture_s": round(first_s, 2),
        "first_picture_cpu_s": first_cpu_s,
        "held_mb": held_mb,
        "growth_percent": round(100 * (held_mb[-1] / held_mb[WARM - 1] - 1), 2),
        "cpu_s": cpu_s,
    }


def _held_mb(process: Any) -> float:
    """Resident memory of the page and of the process that draws; what both have mapped counts twice."""
    return round(sum(one.memory_info().rss for one in _all(process)) / 1e6, 1)


def _cpu_s(process: Any) -> float:
    """Of all threads of both: what a busy machine does not change much."""
    times = [one.cpu_times() for one in _all(process)]
    return round(sum(one.user + one.system for one in times), 2)


def _all(process: Any) -> list[Any]:
    return [process, *process.children(recursive=True)]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m proofs.app", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default="mini-vega")
    model = parser.parse_args(argv).model
    with config.main_guard():
        found = measure(model)
        known = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        placing.write_text(RESULTS, json.dumps(known | {model: found}, indent=1) + "\n")
    print(f"{model}: page {found['page_s']} s, first picture {found['first_picture_s']} s, {PICTURES} pictures "
          f"{found['held_mb'][WARM - 1]} -> {found['held_mb'][-1]} MB ({found['growth_percent']:+} %)")  # fmt: skip


if __name__ == "__main__":
    main()
