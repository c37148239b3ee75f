"""UNet inputs recorded while a pipeline draws.

Consumes a loaded pipeline; produces copies of what its UNet was given, and, if asked, of what it answered. Does not run
the pipeline itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

import numpy as np

from stages.ir import extremes, finite, runtime
from stages.ir.runtime import Inputs


class _Enough(Exception):
    """The last input that was wanted is there: what would come of it is nobody's business."""


@contextmanager
def recording(
    pipeline: Any,
    keep: Callable[[int], bool],
    last: int | None = None,
    beside: list[Inputs | None] | None = None,
    answers: list[np.ndarray] | None = None,
    lot: int | None = None,
) -> Iterator[list[Inputs]]:
    """Yield a list that fills with the UNet's inputs at the steps (0, 1, ... since entering) that `keep` wants.

    They are copies: OpenVINO shares the memory of what it is given, and a later request may write into it. At the step
    `last` the UNet is not evaluated: the drawing is given up, and the block left. NotFinite names the step and the
    input that holds NaN or infinity. `beside` fills with the extremes that the UNet's model gives (stages.ir.extremes),
    for the same steps; None where it was not evaluated. `answers` fills with its predictions, for the same steps too,
    but for those where it was not. With a `lot` one row of the last step's is evaluated all the same, for `beside`.
    """
    samples: list[Inputs] = []
    step = count()

    def listen(request: Any, inputs: dict[str, Any], options: dict[str, Any]) -> Any:
        number = next(step)
        finite.require(inputs, f"the UNet's inputs at step {number}")
        if keep(number):
            samples.append(_copied(inputs))
        if number == last:
            if beside is not None and keep(number):
                beside.append(None if lot is None else _told_at(number, request, _row(inputs, lot), options)[1])
            raise _Enough
        if beside is None:
            answer = request(inputs, **options)
        else:
            answer, found = _told_at(number, request, inputs, options)
            if keep(number):
                beside.append(found)
        if answers is not None and keep(number):
            answers.append(np.array(next(iter(answer.values()))))
        return answer

    try:
        with answering(pipeline.unet, listen):
            yield samples
    except _Enough:
        pass


@contextmanager
def answering(unet: Any, answer: Callable[[Any, dict[str, Any], dict[str, Any]], Any]) -> Iterator[None]:
    """Inside, `answer(request, inputs, options)` stands in the place of every call of the UNet's compiled model.

    One inside of another answers first: what it asks of its request is what the outer one hears.
    """
    compile = unet.compile

    def compile_and_listen() -> None:
        compile()
        if not _listens(unet.request, answer):  # compiled just now, perhaps not for the first time
            unet.request = _Listener(unet.request, answer)

    unet.compile = compile_and_listen
    compile_and_listen()
    try:
        yield
    finally:
        unet.compile = compile
        if _listens(unet.request, answer):
            unet.request = unet.request.request


def _listens(request: Any, answer: Callable[..., Any]) -> bool:
    """Whether this answer stands before a compiled model, itself or behind others."""
    while isinstance(request, _Listener):
        if request.answer == answer:
            return True
        request = request.request
    return False


class _Listener:
    """Stands in for the UNet's compiled model."""

    def __init__(self, request: Any, answer: Callable[..., Any]) -> None:
        self.request, self.answer = request, answer

    def __call__(self, inputs: dict[str, Any], **options: Any) -> Any:
        return self.answer(self.request, inputs, options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.request, name)


def _told_at(
    step: int, request: Any, inputs: dict[str, Any], options: dict[str, Any]
) -> tuple[dict[Any, np.ndarray], Inputs]:
    """`row_by_row`, and NotFinite that names the step where an extreme is not."""
    answer, found = row_by_row(request, inputs, options)
    finite.require(found, f"what the UNet's layers are given at step {step}")
    return answer, found


def _row(inputs: dict[str, Any], lot: int) -> Inputs:
    """One row of a request, each one's turn by the lot."""
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    row = lot % runtime.rows(arrays)
    return runtime.of_rows(arrays, slice(row, row + 1))


def _copied(inputs: dict[str, Any]) -> Inputs:
    return {name: np.asarray(value).copy() for name, value in inputs.items()}


class Answer(dict[Any, np.ndarray]):
    """What stands in for a compiled model's answer, by port: as much of OpenVINO's OVDict as optimum's UNet reads."""

    def to_dict(self) -> dict[Any, np.ndarray]:
        return self


def row_by_row(request: Any, inputs: dict[str, Any], options: dict[str, Any]) -> tuple[Answer, Inputs]:
    """A model's own results for all rows, and the extremes that it gives with them. One row after the other takes no
    longer, and half the memory: that of a model without extremes (proofs/README.md)."""
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    found, parts = [], []
    for number in range(runtime.rows(arrays)):
        row = runtime.of_rows(arrays, slice(number, number + 1))
        every = {port.get_any_name(): (port, value) for port, value in request(row, **options).items()}
        found.append({name: np.array(value) for name, (_, value) in every.items() if extremes.is_own(name)})
        parts.append({port: np.array(value) for name, (port, value) in every.items() if not extremes.is_own(name)})
    return Answer({port: np.concatenate([part[port] for part in parts]) for port in parts[0]}), extremes.of_all(found)
