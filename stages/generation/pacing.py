"""UNet evaluations that a picture is spared: half of them, their inner part, or all of them, at chosen steps.

Consumes a pipeline and a `Speed`; stands in for the UNet's compiled model while one picture is drawn. Guidance is left
out where it changes little (Kynkäänniemi et al., Applying Guidance in a Limited Interval, arXiv 2404.07724): one row is
evaluated, and stands for both. Inner features are reused (Ma et al., DeepCache, arXiv 2312.00858), on a UNet that
`stages.ir.shallow` cut in two. Whole predictions are forecast out of the last ones. Nothing is stored in an IR, and the
pipeline, its scheduler and its random numbers are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from stages.generation import recording
from stages.ir import runtime
from stages.settings.schema import TIMESTEPS

if TYPE_CHECKING:
    from stages.ir.shallow import Shallow
    from stages.settings.schema import Speed

WHOLE, SHALLOW, FORECAST = "whole", "shallow", "forecast"
FIRST, LAST = 4, 2  # steps that are never forecast: predictions turn fastest there


@dataclass(frozen=True)
class Step:
    """How one step of a picture is come by; `guided`: with its unconditional row, where there is one."""

    way: str
    guided: bool


def step(speed: Speed, number: int, steps: int, timestep: float) -> Step:
    """The n-th of so many steps, from 0. The first is whole; without a word on it, so is every other.

    >>> from types import SimpleNamespace
    >>> third = SimpleNamespace(guidance_interval=None, evaluate_every=3, deep_every=None)
    >>> [step(third, n, 12, 500).way[0] for n in range(12)]
    ['w', 'w', 'w', 'w', 'w', 'f', 'f', 'w', 'f', 'f', 'w', 'w']
    """
    low, high = speed.guidance_interval or (0.0, 1.0)
    guided = low <= timestep / TIMESTEPS <= high
    if speed.evaluate_every and FIRST <= number < steps - LAST and (number - FIRST) % speed.evaluate_every:
        return Step(FORECAST, guided)
    if speed.deep_every and number % speed.deep_every:
        return Step(SHALLOW, guided)
    return Step(WHOLE, guided)


@dataclass
class Work:
    """What a picture took: rows given to the whole UNet, and to its outer part."""

    whole_rows: int = 0
    shallow_rows: int = 0


@contextmanager
def paced(pipeline: Any, speed: Speed, shallow: Shallow | None = None) -> Iterator[Work]:
    """While one picture is drawn: its steps as `speed` has them, `shallow` being the UNet's outer part, if any is used.

    ValueError where features are to be reused and there is no such part.
    """
    if speed.deep_every and shallow is None:
        raise ValueError("speed.deep_every reuses inner features: the UNet must be loaded cut in two")
    pace = _Pace(pipeline, speed, shallow)
    with recording.answering(pipeline.unet, pace.answer):
        yield pace.work


@dataclass
class _Pace:
    pipeline: Any
    speed: Speed
    shallow: Shallow | None
    work: Work = field(default_factory=Work)
    number: int = 0
    predictions: list[tuple[float, np.ndarray]] = field(default_factory=list)  # the last two evaluated: timestep, rows
    features: np.ndarray | None = None  # inner ones of the last whole evaluation

    def answer(self, request: Any, inputs: dict[str, Any], options: dict[str, Any]) -> Any:
        given = {name: np.asarray(value) for name, value in inputs.items()}
        timestep, rows = float(given["timestep"].ravel()[0]), given["sample"].shape[0]
        how = step(self.speed, self.number, self.pipeline.num_timesteps, timestep)
        self.number += 1
        wanted = rows if how.guided or not self.pipeline.do_classifier_free_guidance else rows // 2
        last = runtime.of_rows(given, slice(rows - wanted, None))  # the conditional half comes second
        prediction = self._predicted(how.way, request, last, options, timestep)
        if wanted < rows:
            prediction = np.concatenate([prediction, prediction])  # no difference for guidance to enlarge
        return recording.Answer({request.output(0): prediction})

    def _predicted(
        self, way: str, request: Any, given: dict[str, np.ndarray], options: dict[str, Any], timestep: float
    ) -> np.ndarray:
        rows = given["sample"].shape[0]
        if way == FORECAST and len(self.predictions) > 1 and self._fewest_rows() >= rows:
            return self._forecast(timestep, rows)
        if way == SHALLOW and self.features is not None and len(self.features) >= rows:
            self.work.shallow_rows += rows
            prediction = self.shallow(given, self.features[-rows:])
        else:
            self.work.whole_rows += rows
            result = request(given, **options)
            prediction = result[0].copy()
            self.features = result[1].copy() if self.shallow is not None else None
        self.predictions = [*self.predictions[-1:], (timestep, prediction)]
        return prediction

    def _fewest_rows(self) -> int:
        return min(len(prediction) for _, prediction in self.predictions)

    def _forecast(self, timestep: float, rows: int) -> np.ndarray:
        """On the straight line through the last two, each row by itself."""
        (t0, first), (t1, second) = self.predictions
        share = np.float32((timestep - t1) / (t1 - t0))
        return second[-rows:] + share * (second[-rows:] - first[-rows:])
