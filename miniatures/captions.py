"""Captions as the UNets see them: token ids, penultimate hidden states, pooled state, time ids."""

from __future__ import annotations

from typing import Any

from miniatures import architecture


def tokenize(tokenizer: Any, captions: list[str]) -> Any:
    """(N, TOKENS) token ids, padded."""
    options = dict(padding="max_length", max_length=architecture.TOKENS, truncation=True, return_tensors="pt")
    return tokenizer(captions, **options).input_ids


def encode(text_encoders: tuple[Any, Any], ids: Any) -> tuple[Any, Any]:
    """Hidden states (N, TOKENS, 160) of both towers side by side and the second one's pooled state (N, 96)."""
    first = text_encoders[0](ids, output_hidden_states=True)
    second = text_encoders[1](ids, output_hidden_states=True)
    hidden = [output.hidden_states[-2] for output in (first, second)]
    import torch

    return torch.cat(hidden, dim=-1), second.text_embeds


def time_ids(count: int) -> Any:
    """Original size, crop and target size as the pipelines send them: (count, 6)."""
    import torch

    size = architecture.SIZE_PX
    return torch.tensor([[size, size, 0, 0, size, size]], dtype=torch.float32).repeat(count, 1)


def refiner_time_ids(scores: Any) -> Any:
    """Original size, crop and aesthetic score: (N, 5) for (N,) scores."""
    import torch

    size = architecture.SIZE_PX
    fixed = torch.tensor([[size, size, 0, 0]], dtype=torch.float32).repeat(len(scores), 1)
    return torch.cat([fixed, scores[:, None]], dim=-1)
