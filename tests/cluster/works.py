"""Work of tests: items that say who did them, of a folder that is read where they are done."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from stages.engines.work import Work

PATIENCE_S = 60


class Saying(Work):
    """(item, what the folder's file holds, process); after so many seconds, and not at all where it is fatal; not
    before two processes have come to the folder `meeting`, if there is one, however long one of them takes to start."""

    seconds = 0.0
    meeting: Path | None = None
    fatal: int | None = None
    refused: int | None = None

    def need_gb(self) -> float:
        return 0.5

    def load(self) -> str:
        return (self.folders["ir"] / "said").read_text()

    def do(self, loaded: str, item: int) -> Any:
        time.sleep(self.seconds)
        if self.meeting:
            meet(self.meeting)
        if item == self.fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == self.refused:
            raise ValueError(f"item {item} cannot be done")
        return item, loaded, os.getpid()


def meet(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / str(os.getpid())).touch()
    last = time.monotonic() + PATIENCE_S
    while len(list(folder.iterdir())) < 2 and time.monotonic() < last:
        time.sleep(0.01)


def saying(folder: Path, device: Any, **how: Any) -> Saying:
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "said").exists():
        (folder / "said").write_text("so")
    work = Saying({"ir": folder}, device, 0.5)
    for name, value in how.items():
        setattr(work, name, value)
    return work
