"""The process that draws for the page, which writes down whom it speaks to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from stages.studio import separate

SPOKEN = "spoken"  # a file of the project folder


def studio(device: Any, root: Path, limit_gb: float | None) -> Any:
    spoken = Path(root, SPOKEN).open("a", buffering=1)

    def listen(event: str, arguments: tuple) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            spoken.write(f"{arguments[1][0]}\n")
        if event == "socket.getaddrinfo":
            spoken.write(f"{arguments[0]}\n")

    sys.addaudithook(listen)
    return separate.studio(device, root, limit_gb)
