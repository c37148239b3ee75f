"""torch, diffusers, transformers and optimum imported in two thirds of the time that they take by themselves.

Consumes a block that imports them; produces the same modules. Nothing that draws or converts needs what is left out,
and nothing of it is lost: `nncf`, which brings `datasets`, `pandas` and `pyarrow` along, `sklearn`, torch's compiler
and the parts of scipy that stand at the top of a library are imported as ever by whoever asks afterwards.
"""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

UNUSED = ("nncf", "sklearn")  # optimum quantizes with the one; transformers scores guesses of its own with the other


@contextmanager
def lean() -> Iterator[None]:
    """For imports alone: what is imported is called after the block, when it finds the real libraries."""
    with uncollected(), _looked_up_once(), without(*UNUSED), _put_off():
        yield


def named(library: str, name: str) -> Any:
    """What a library that imports lazily has by this name: its module is imported when it is asked for, here."""
    with lean():
        return getattr(importlib.import_module(library), name)


@contextmanager
def uncollected() -> Iterator[None]:
    """While much is imported, which makes millions of objects that stay: looking for garbage takes a tenth of it.

    Ever after it takes a third of a second: they are never looked through again, where nothing large can be among them
    yet.
    """
    collects, early = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if early:
            gc.freeze()
        if collects:
            gc.enable()


@contextmanager
def _looked_up_once() -> Iterator[None]:
    """Which package each module comes from: diffusers and transformers both read it out of every package's files."""
    asked = importlib.metadata.packages_distributions
    importlib.metadata.packages_distributions = functools.cache(asked)
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = asked


@contextmanager
def _put_off() -> Iterator[None]:
    """Stand-ins for what libraries import at their top and drawing never calls, as far as it is not imported.

    diffusers and transformers mark functions for torch's compiler, which takes a third of all imports; transformers
    assigns boxes to objects by scipy, and diffusers' schedules that need it name it when they do.
    """
    wanted: dict[str, dict[str, Any]] = {
        "torch._dynamo": {"disable": _uncompiled, "allow_in_graph": lambda function: function},
        "scipy.integrate": {},
        "scipy.optimize": {"linear_sum_assignment": _assigned},
        "scipy.stats": {},
    }
    placed = {name: _stand_in(name, has) for name, has in wanted.items() if name not in sys.modules}
    sys.modules.update(placed)
    try:
        yield
    finally:
        for name, module in placed.items():
            _take_away(name, module)


def _stand_in(name: str, has: dict[str, Any]) -> ModuleType:
    """A package with these names; whatever else it is asked for is the real one's, and so are modules below it."""
    found, module = importlib.util.find_spec(name), ModuleType(name)
    assert found is not None and found.submodule_search_locations is not None
    module.__path__ = list(found.submodule_search_locations)

    def real(attribute: str) -> Any:
        if attribute.startswith("__"):
            raise AttributeError(attribute)
        _take_away(name, module)
        return getattr(importlib.import_module(name), attribute)

    vars(module).update(has, __getattr__=real)
    return module


def _take_away(name: str, module: ModuleType) -> None:
    if sys.modules.get(name) is module:
        del sys.modules[name]
    above, _, own = name.rpartition(".")
    if vars(sys.modules[above]).get(own) is module:
        delattr(sys.modules[above], own)


def _uncompiled(function: Any = None, recursive: bool = True, *, reason: str | None = None, **running: Any) -> Any:
    """torch's own way of marking its functions: the compiler is imported when one is called. It says more of one that
    runs, which takes the real one."""
    import torch

    if running:
        real = vars(sys.modules["torch._dynamo"])["__getattr__"]("disable")
        return real(function, recursive, reason=reason, **running)
    return torch._disable_dynamo(function, recursive)


def _assigned(*given: Any, **how: Any) -> Any:
    from scipy.optimize import linear_sum_assignment

    return linear_sum_assignment(*given, **how)


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """As if they were not installed, for libraries that use them where they are, unless they are imported already. None
    is Python's word for that."""
    hidden = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
