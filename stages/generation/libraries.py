"""optimum-intel's pipelines, imported leanly and without the chatter of those that they are built on.

Consumes the name of a pipeline's class; produces the class.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from stages.checkpoints.lean import lean, named


def pipeline_class(name: str) -> Any:
    """A class of optimum.intel.openvino."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # read at import, where the first lines are said
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    with lean():
        import diffusers
        import transformers
    found = named("optimum.intel.openvino", name)
    logging.getLogger("optimum").setLevel(logging.ERROR)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    return found
