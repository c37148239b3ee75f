"""What of a prompt nobody reads: CLIP's text encoders take so many tokens, and cut off the rest without a word.

Consumes a pipeline and a request; produces a sentence for each text that is too long.
"""

from __future__ import annotations

from typing import Any

from stages.studio.request import Request


def said(pipeline: Any, request: Request) -> list[str]:
    guided = request.guidance > 1
    texts = {"prompt": request.prompt} | ({"negative prompt": request.negative_prompt} if guided else {})
    return [f"of the {name} {lost!r} was not read: it has more than {most} tokens"
            for name, text in texts.items() for lost, most in _lost(pipeline, text)]  # fmt: skip


def _lost(pipeline: Any, text: str) -> list[tuple[str, int]]:
    """What the tokenizer that reads most cuts off, and how many tokens it reads between start and end."""
    tokenizers = [one for one in (pipeline.tokenizer, pipeline.tokenizer_2) if one is not None]
    tokenizer = max(tokenizers, key=lambda one: one.model_max_length)
    most = tokenizer.model_max_length - 2
    tokens = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return [(tokenizer.decode(tokens[most:]).strip(), most)] if len(tokens) > most else []
