"""Mini-CLIP: one image tower and the family's two text towers, trained contrastively on captioned pictures.

The text towers then serve the UNets unchanged, as CLIP ViT-L and OpenCLIP bigG serve SDXL. Image tower and second text
tower are also published together as a `CLIPModel`, for the benchmark's CLIP score and similarity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from miniatures import architecture, captions, emoji, loop

SUBJECTS, VARIANTS = 64 // loop.workers(), 3  # a batch: so many subjects, each on so many backgrounds or as a sticker


def disturbed(pictures: Any, generator: Any) -> Any:
    """(N, 3, H, W) moved by up to three pixels, blurred and noisy: features are to outlive a generator's flaws."""
    import torch

    count, size = len(pictures), pictures.shape[-1]
    top, left = torch.randint(7, (2,), generator=generator).tolist()
    moved = torch.nn.functional.pad(pictures, (3, 3, 3, 3), mode="replicate")[..., top : top + size, left : left + size]
    soft = torch.nn.functional.avg_pool2d(moved, 3, stride=1, padding=1, count_include_pad=False)
    share = torch.rand((count, 1, 1, 1), generator=generator)
    level = 0.2 * torch.rand((count, 1, 1, 1), generator=generator)
    noise = torch.randn(pictures.shape, generator=generator)
    return soft * share + moved * (1 - share) + level * noise


def contrast(texts: Any, images: Any, scale: Any) -> Any:
    """CLIP's loss: of N texts and N pictures, (N, width) each, every text is to find its picture and the reverse."""
    import torch

    unit = [torch.nn.functional.normalize(features, dim=-1) for features in (texts, images)]
    scores = scale.exp().clamp(max=100) * unit[0] @ unit[1].T
    own = torch.arange(len(scores), device=scores.device)
    loss = torch.nn.functional.cross_entropy
    return (loss(scores, own) + loss(scores.T, own)) / 2


def train(tokenizer: Any, work: Path, steps: int) -> tuple[Any, tuple[Any, Any]]:
    """The CLIP model, and the two text encoders as SDXL's pipeline takes them."""
    import torch

    loop.seed("clip")
    model, first = architecture.build_clip(len(tokenizer), tokenizer.eos_token_id)
    widths = architecture.TEXT_WIDTHS
    # SDXL's first text encoder has no projection; it needs one to be trained, and loses it afterwards.
    module = torch.nn.ModuleDict(dict(clip=model, first=first, projection=torch.nn.Linear(*widths, bias=False)))
    module.to(loop.device())
    rendered = [emoji.render(subject, architecture.SIZE_PX) for subject in emoji.subjects()]
    ids = captions.tokenize(tokenizer, [emoji.caption(*c) for c in emoji.combinations()])
    each = len(ids) // len(rendered)
    trained = [
        [i for i in range(each) if not emoji.held_out(*emoji.combinations()[s * each + i])]
        for s in range(len(rendered))
    ]

    def draw(generator: Any) -> tuple[Any, Any]:
        chosen = torch.randperm(len(rendered), generator=generator)[:SUBJECTS].tolist()
        rows = []
        for subject in chosen:
            own = torch.randperm(len(trained[subject]), generator=generator)[:VARIANTS].tolist()
            rows += [subject * each + trained[subject][i] for i in own]
        named = [emoji.combinations()[row] for row in rows]
        flat = [
            emoji.compose(rendered[row // each], colour, style)
            for row, (_, colour, style) in zip(rows, named, strict=True)
        ]
        pictures = disturbed(torch.from_numpy(emoji.as_input(np.stack(flat))), generator)
        return ids[rows].to(loop.device()), pictures.to(loop.device())

    def loss(generator: Any, step: int) -> Any:
        tokens, pictures = draw(generator)
        output = model(input_ids=tokens, pixel_values=pictures)
        early = module["projection"](first(tokens).pooler_output)
        scale = model.logit_scale
        return contrast(output.text_embeds, output.image_embeds, scale) + contrast(early, output.image_embeds, scale)

    loop.fit("clip", module, loss, steps=steps, peak_rate=1.5e-3, folder=work)
    return model, (first, architecture.second_text_encoder(model))
