"""A command, not a stage: a page in the browser to draw with the models at hand.

    python -m stages.app                                     # http://127.0.0.1:7860, or the next free port
    python -m stages.app --port 8000 --memory 8 device.threads=4
    POCKETXL_APP_PASSWORD=... python -m stages.app --host 0.0.0.0    # for others too, who log in as `pocketxl`

Consumes the IR in artifacts/ir; produces a page until Ctrl-C, and nothing on the disk. A process of its own draws, and
if the system kills it for memory the page goes on. Models are loaded when they are first drawn with, as many as fit the
memory; who comes while somebody draws waits in a queue. Nothing is asked of any network.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from stages.app import serving
from stages.settings import config

READS = ("device",)


def app(arguments: argparse.Namespace) -> None:
    """Serve until somebody ends it."""
    settings = config.load(READS, None, arguments.overrides)
    serving.password(arguments.host)  # a missing one is told before anything is loaded
    print("The page opens in a few seconds ...", flush=True)
    from stages.studio.separate import SeparateStudio

    # Its process imports what draws while this one imports what serves.
    with SeparateStudio(settings.device, Path("."), arguments.memory) as studio:
        with serving.served(studio, Path("."), arguments.host, arguments.port) as address:
            print(serving.closing(address, arguments.host), flush=True)
            _wait()
            studio.end()  # who draws is told so before the page is closed


def _wait() -> None:
    """Until Ctrl-C or a polite kill, after which the folder of pictures is removed."""
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    ended.wait()


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m stages.app", description=(__doc__ or "").splitlines()[0])
    made.add_argument("--host", default=serving.LOOPBACK, help=f"other than loopback: wants {serving.PASSWORD} set")
    made.add_argument("--port", type=int, help=f"{serving.PORT} or the next that is free, without it")
    made.add_argument("--memory", type=float, metavar="GB", help="what models may take; without it what is free")
    made.add_argument("overrides", nargs="*", metavar="device.key=value", help="settings for this run only")
    return made


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        app(parser().parse_args(argv))


if __name__ == "__main__":
    main()
