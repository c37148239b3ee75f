"""Captions as the UNets see them: token ids, penultimate hidden states, pooled state, the refiner's time ids."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from miniatures import architecture


def tokenize(tokenizer: Any, captions: list[str]) -> Any:
    """(N, TOKENS) token ids, padded."""
    options = dict(padding="max_length", max_length=architecture.TOKENS, truncation=True, return_tensors="pt")
    return tokenizer(captions, **options).input_ids


@dataclass
class Texts:
    """Every caption as the UNets see it, the empty one last: `hidden` (N, TOKENS, 160), `pooled` (N, 96)."""

    hidden: Any
    pooled: Any

    def of(self, index: Any) -> tuple[Any, Any]:
        return self.hidden[index], self.pooled[index]

    @property
    def empty(self) -> int:
        return len(self.pooled) - 1


def encode(text_encoders: tuple[Any, Any], tokenizer: Any, captions: list[str]) -> Texts:
    """Penultimate hidden states of both towers side by side and the second one's pooled state, of all and of ""."""
    import torch

    ids = tokenize(tokenizer, [*captions, ""]).to(text_encoders[0].device)
    with torch.no_grad():
        first = text_encoders[0](ids, output_hidden_states=True)
        second = text_encoders[1](ids, output_hidden_states=True)
    hidden = torch.cat([output.hidden_states[-2] for output in (first, second)], dim=-1)
    return Texts(hidden, second.text_embeds)


def refiner_time_ids(scores: Any) -> Any:
    """Original size, crop and aesthetic score: (N, 5) for (N,) scores."""
    import torch

    size = architecture.SIZE_PX
    fixed = torch.tensor([[size, size, 0, 0]], dtype=torch.float32, device=scores.device).repeat(len(scores), 1)
    return torch.cat([fixed, scores[:, None]], dim=-1)
