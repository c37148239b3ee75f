"""UNet inputs recorded while a pipeline draws.

Consumes a loaded pipeline; produces copies of what its UNet was given. Does not run the pipeline itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from stages.ir.runtime import Inputs


@contextmanager
def recording(pipeline: Any, keep: Callable[[int], bool]) -> Iterator[list[Inputs]]:
    """Yield a list that fills with the UNet's inputs at the steps (0, 1, ... since entering) that `keep` wants.

    They are copies: OpenVINO shares the memory of what it is given, and a later request may write into it.
    """
    unet, samples, step = pipeline.unet, [], count()
    compile = unet.compile

    def compile_and_listen() -> None:
        compile()
        if not isinstance(unet.request, _Recorder):  # compiled just now, perhaps not for the first time
            unet.request = _Recorder(unet.request, keep, samples, step)

    unet.compile = compile_and_listen
    compile_and_listen()
    try:
        yield samples
    finally:
        unet.compile = compile
        if isinstance(unet.request, _Recorder):
            unet.request = unet.request.request


class _Recorder:
    """Stands in for the UNet's compiled model: notes the inputs, then calls it."""

    def __init__(self, request: Any, keep: Callable[[int], bool], samples: list[Inputs], step: Iterator[int]) -> None:
        self.request, self._keep, self._samples, self._step = request, keep, samples, step

    def __call__(self, inputs: dict[str, Any], *args: Any, **options: Any) -> Any:
        if self._keep(next(self._step)):
            self._samples.append({name: np.asarray(value).copy() for name, value in inputs.items()})
        return self.request(inputs, *args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)
