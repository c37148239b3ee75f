"""Numbers that are numbers: nothing that holds NaN or infinity is recorded, quantized or drawn from.

Consumes arrays of one request or result by name; raises NotFinite with the component, and whoever knows more, such as
the model and the prompt, says so by `of`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

CURE = "run 'dvc repro -f -s export' for this model, or set device.inference_precision=f32"


class NotFinite(ValueError):
    """NaN or infinity where only numbers may be."""


def require(arrays: Mapping[str, Any], what: str) -> None:
    """NotFinite unless every array by name (NumPy's, or torch's) holds numbers alone: `what` begins the sentence.

    >>> require({"sample": np.zeros(2)}, "the UNet's inputs at step 0")
    """
    for name, array in arrays.items():
        values = np.asarray(array.float() if hasattr(array, "float") else array)  # NumPy has no bfloat16 of torch's
        if values.dtype.kind in "fc" and not np.isfinite(values).all():
            wrong = np.count_nonzero(~np.isfinite(values))
            kinds = "NaN" if np.isnan(values).any() else "infinite"
            raise NotFinite(f"{what}: {wrong:,} of {values.size:,} values of {name} are {kinds}; {CURE}")


@contextmanager
def of(whom: str) -> Iterator[None]:
    """Within, NotFinite is told of `whom`: a model, a prompt.

    >>> with of("mini-vega"):
    ...     pass
    """
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{whom}: {error}") from error
