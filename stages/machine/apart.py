"""Work done in a process of its own, which gives all its memory back to the system when it ends.

Consumes a function of a module and its arguments; returns what it returns and raises what it raises. A child that was
killed becomes an error with a name and a remedy.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any


def run(what: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """`function(*arguments)` in a fresh process; ValueError naming `what` it did if that process was killed."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool as error:
            raise ValueError(
                f"the process {what} was killed, most likely for memory: close other programs, or see `make plan` for "
                "what each model needs"
            ) from error
