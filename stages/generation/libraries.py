"""optimum-intel and what it draws with, imported in two thirds of the time that they take by themselves.

Consumes the name of a pipeline's class; produces the class. Nothing that draws needs what is left out, and nothing of
it is lost: `nncf`, which brings `datasets`, `pandas` and `pyarrow` along, and `sklearn` are imported as ever by whoever
asks afterwards.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

UNUSED = ("nncf", "sklearn")  # optimum quantizes with the one; transformers scores guesses of its own with the other


def pipeline_class(name: str) -> Any:
    """A class of optimum.intel.openvino, without the chatter of those that it is built on."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read at import, where the first lines are said
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    with uncollected(), _without(*UNUSED):
        import diffusers
        import optimum.intel.openvino
        import transformers

        found = getattr(optimum.intel.openvino, name)  # imported here: the module is lazy
    logging.getLogger("optimum").setLevel(logging.ERROR)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return found


@contextmanager
def uncollected() -> Iterator[None]:
    """While much is imported, which makes millions of objects that stay: looking for garbage takes a tenth of it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def _without(*packages: str) -> Iterator[None]:
    """As if they were not installed, for libraries that use them where they are. None is Python's word for that."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
