"""Steps of a picture, counted three times: as asked for, as the sampler says, as calls of the compiled UNet.

Consumes runs; produces the counts for a record, and a sentence where they are not the same: a picture whose UNet runs
twice a step, or that runs twice the steps, takes twice the time and shows nothing of it. Runs nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stages.measurement.tasks import Job, Run

TOLERATED = 1.5  # times the steps asked for: samplers round shares of a schedule, and some evaluate its end once more


def share(job: Job) -> float:
    """Of the schedule that a job runs: image-to-image and a refiner begin somewhere within it."""
    return job.settings.get("strength", 1.0 - job.settings.get("denoising_start", 0.0))


def asked(job: Job, steps: int, order: int = 1) -> int:
    """Evaluations that a job asks for; `order`: of a solver that evaluates more than once a step (Heun's is 2).

    25 steps at strength 0.5 ask for 13 at most.
    """
    return order * max(1, math.ceil(share(job) * steps - 1e-9))


def counted(runs: list[Run], steps: int, order: int = 1) -> dict[str, int | None]:
    """{"asked_steps", "unet_calls"} of the runs of one task; of the calls those that are furthest from the steps."""
    known = [run for run in runs if run.unet_calls is not None]
    odd = max(known, key=lambda run: abs(run.unet_calls - run.steps), default=None)
    return {"asked_steps": asked(runs[0].job, steps, order), "unet_calls": odd and odd.unet_calls}


def doubts(row: dict[str, Any], precision: str) -> list[str]:
    """Sentences about one precision's row of a record, by task; none where counts agree or are not there."""
    said = []
    for task, found in (row.get("tasks") or {}).items():
        calls, own, most = ((found or {}).get(name) for name in ("unet_calls", "own_steps", "asked_steps"))
        if calls is not None and calls != own:
            said.append(
                f"{precision} called its UNet {calls} times for the {own} steps of a picture ({task}): its times are "
                "of other work than they say"
            )
        if most is not None and own > TOLERATED * most:
            said.append(f"{precision} ran {own} steps of {task} where {most} were asked for: its times are of those")
    return said
