"""`${checked:2}`, by which conf/config.yaml has all settings checked while they are composed.

Whoever composes conf/ resolves it before writing params.yaml: this project, and DVC on `dvc exp run`, which loads it as
a plugin of Hydra (hydra_plugins beside this file). A wrong setting is refused before anything is written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from stages.settings import checks

if TYPE_CHECKING:
    from omegaconf import DictConfig


def register() -> None:
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("checked", _checked, replace=True)


def _checked(value: Any, *, _root_: DictConfig) -> Any:
    """`value` itself, if the whole configuration that it is part of is allowed."""
    from omegaconf import OmegaConf

    copy = OmegaConf.create(OmegaConf.to_container(_root_, resolve=False))
    copy.layout = value  # or resolving the copy would come back here
    try:
        checks.check(OmegaConf.to_container(copy, resolve=True))
    except ValueError as error:
        raise _refusal(str(error)) from None  # `from error` would have it printed twice
    return value


def _refusal(message: str) -> Exception:
    """An exception that OmegaConf and DVC hand on as it is: one line, no advice to report a bug."""
    from omegaconf.errors import InterpolationResolutionError

    bases: tuple[type[Exception], ...] = (InterpolationResolutionError,)  # a ValueError
    if "dvc.exceptions" in sys.modules:
        bases = (sys.modules["dvc.exceptions"].DvcException, *bases)
    refused = type("Refused", bases, {})(message)
    refused._initialized = True  # OmegaConf adds its own lines to any other
    return refused
