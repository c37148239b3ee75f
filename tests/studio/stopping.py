"""A drawing that somebody wants no longer, of a studio in this process or in another one."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from stages.studio.studio import Progress, Stopped


def stopped(studio: Any, request: Any) -> list[int]:
    """The steps that were told of a drawing which is asked to stop after the second one, and does."""
    stop, steps = threading.Event(), []

    def tell(progress: Progress) -> None:
        steps.append(progress.step)
        if progress.step == 2:
            stop.set()

    with pytest.raises(Stopped):
        studio.draw(request, tell, stop)
    return steps
