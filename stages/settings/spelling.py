"""What a misspelt word of the settings may have been meant to be.

Consumes a word and the words that are allowed; produces the end of an error's sentence.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: object, words: Iterable[object]) -> str:
    """` (did you mean vega?)`, or nothing where no word is near."""
    near = difflib.get_close_matches(str(word), [str(known) for known in words], n=1)
    return f" (did you mean {near[0]}?)" if near else ""
