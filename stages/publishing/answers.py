"""What the Hub says to whoever writes there, in one line with what to do, and without anybody's token.

Consumes errors of huggingface_hub; produces ValueErrors that stand alone: the errors behind them may hold the token, or
an address that lets anyone who reads it write.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from stages.checkpoints import asking
from stages.checkpoints.asking import LOG_IN

AGAIN = "run the same command again: what has arrived is not sent twice"
ADDRESS = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")  # what follows the ? may be a signature
WRITE = "with a token that may write"
HINTS = {
    401: f"does not accept the Hub token: {LOG_IN} {WRITE}",
    403: f"forbids it: {LOG_IN} {WRITE} to that repository or organization",
    404: "does not know the repository: create it there, or check owner and name",
    409: f"says that somebody else is changing the repository: {AGAIN}",
    412: f"says that the repository was changed meanwhile: look at what is there, then {AGAIN}",
    413: "says that this is too much for one commit or for the account: look at the limits of the account",
    429: "wants to be asked less often: wait some minutes, then run the same command again",
}


@contextmanager
def told(doing: str) -> Iterator[None]:
    """`with told("the upload to me/vega"):`"""
    import httpx

    try:
        yield
    except (UnicodeEncodeError, httpx.LocalProtocolError):  # their messages hold the token itself
        raise ValueError(f"the Hub token holds characters that no token has: {LOG_IN} anew") from None
    except json.JSONDecodeError:
        raise ValueError(f"{doing}: {asking.endpoint()} answers as no Hub does: is a proxy in between?") from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:
        raise ValueError(line(doing, error)) from None


def line(doing: str, error: BaseException) -> str:
    """The Hub's answer where there is one, wherever in the chain of causes it stands; else that it was cut off."""
    first = error
    while status(error) is None and error.__cause__ is not None:
        error = error.__cause__
    answered = status(error)
    if answered is None:
        reason = (
            asking.first_line(error) if error is first else f"{asking.first_line(first)} {asking.first_line(error)}"
        )
        return f"{doing} was cut off ({without_secrets(reason)}): {AGAIN}"
    said = without_secrets(str(getattr(error, "server_message", None) or "").strip().split("\n")[0])
    status_and_words = f"status {answered}: {said}" if said else f"status {answered}"
    return f"{doing}: {asking.endpoint()} {HINTS.get(answered, f'does not do it: {AGAIN}')} ({status_and_words})"


def status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def without_secrets(text: str) -> str:
    from huggingface_hub import get_token

    return ADDRESS.sub(r"\1", text).replace(get_token() or "\0", "…")
