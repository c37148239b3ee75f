"""Third-party libraries without their chatter: what tracing always says, and notices of transformers and diffusers.

Consumes nothing; produces silence while a block lasts. Errors still come through.
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from stages.checkpoints.lean import lean


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what tracing always says: constant shape checks, and notices of transformers and diffusers."""
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")  # read at import, where the first notice is given
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with lean():
        import torch
        import transformers

    with warnings.catch_warnings():
        for category in (torch.jit.TracerWarning, FutureWarning, DeprecationWarning):
            warnings.simplefilter("ignore", category)
        transformers.utils.logging.disable_progress_bar()
        yield
