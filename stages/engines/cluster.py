"""The way into a Ray cluster that is there: found within seconds or refused in a line, and as quiet as the rest of us.

Consumes an address; produces the module `ray`, connected. Starts no cluster. Ray's own lines, its statistics and its
handler of SIGTERM are turned off here: what ends a stage, and what it says, is stages.endings'.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE_S = 5  # to reach the head
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"  # a gRPC client's first words: RFC 9113, 3.4
SETTINGS = b"\4"  # the type of frame that answers them
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_DEDUP_LOGS": "0"}
SOURCE = Path(__file__).parents[1]  # the package `stages`: every node works with this very code


def connected(address: str) -> Any:
    """The module `ray`; ValueError where it is not installed, or where no cluster answers at the address."""
    os.environ.update(QUIET)
    try:
        import ray
        import ray._private.worker as worker
    except ImportError as error:
        raise ValueError(
            f"engine=ray needs Ray, which is not installed ({error}): run 'make cluster', or take engine=local"
        ) from error
    if ray.is_initialized():
        return ray
    _reach(address, ray._private.services)
    worker.print_to_stdstream = _unsaid  # what raylets publish would be printed between our lines, whatever the level
    politely = signal.getsignal(signal.SIGTERM)
    code = {"py_modules": [str(SOURCE)], "env_vars": QUIET}
    how = {"log_to_driver": False, "configure_logging": False, "logging_level": logging.CRITICAL, "runtime_env": code}
    try:
        with _hushed():
            ray.init(address=address, **how)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        raise ValueError(_refusal(address, error)) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, politely)
    return ray


def _reach(address: str, services: Any) -> None:
    """Ray itself would ask for minutes, or for ever, an address that is dead or somebody else's. For a loopback address
    it takes this machine's own, where a head that listens on loopback alone is not to be had."""
    try:
        found = services.get_ray_address_from_environment(address, None) if address == "auto" else address
        host, _, port = found.rpartition(":")
        host = services.resolve_ip_for_localhost(host.strip("[]"))
        with socket.create_connection((host, int(port)), PATIENCE_S) as speaking:
            speaking.sendall(HELLO)
            if speaking.recv(4)[3:] != SETTINGS:
                raise ConnectionError("whoever listens there is no head of Ray's")
    except OSError as error:  # a ConnectionError or a timeout among them
        raise ValueError(_refusal(address, error)) from error


def _refusal(address: str, error: Exception) -> str:
    first = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(".")
    where = "on this machine" if address == "auto" else f"at {address}"
    return (
        f"engine.address {address}: no Ray cluster is to be had {where} ({first}): start one with 'ray start --head', "
        "and join it from here with 'ray start --address=HEAD:PORT', or take engine=local"
    )


@contextmanager
def _hushed() -> Iterator[None]:
    """Without what C++ writes to standard error: told to be quiet, Ray tells first that it was told so."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _unsaid(*_: Any, **__: Any) -> None:
    pass
