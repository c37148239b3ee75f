"""One training loop for every miniature: resumable, with a decaying learning rate and averaged weights.

Knows nothing of pictures or captions: a member brings its modules and a function that returns the loss of one step.
Under `torchrun` the processes share each batch and average their gradients; on a CPU, one process per core is twice as
fast as one process with as many threads, for these small layers.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAVE_EVERY = 200
SEEDS = {
    name: seed
    for seed, name in enumerate(
        "vae clip sdxl-shallow sdxl ssd-1b vega sdxl-refiner lcm-ssd-1b vegart tiny-vae".split()
    )
}


def rank() -> int:
    """This process's number under torchrun, else 0."""
    return int(os.environ.get("RANK", 0))


def workers() -> int:
    """How many processes share a batch: torchrun's WORLD_SIZE, else 1."""
    return int(os.environ.get("WORLD_SIZE", 1))


def join() -> None:
    """Meet the other processes, if there are any; one thread each."""
    import torch

    if workers() > 1 and not torch.distributed.is_initialized():
        torch.set_num_threads(1)
        torch.distributed.init_process_group("gloo")


def seed(name: str) -> None:
    """Make the initial weights of a training the same in every run and every process."""
    import torch

    torch.manual_seed(SEEDS[name])


def device() -> str:
    """Where the training runs: the GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def first_alone(make: Callable[[], Any]) -> Any:
    """`make()` in process 0, then in the others, which find what it left behind."""
    import torch

    join()
    if rank() > 0:
        torch.distributed.barrier()
    made = make()
    if rank() == 0 and workers() > 1:
        torch.distributed.barrier()
    return made


def average_gradients(parameters: list[Any]) -> None:
    """Replace each gradient by its mean over the processes: one message for all of them."""
    import torch

    flat = torch.cat([p.grad.reshape(-1) for p in parameters])
    torch.distributed.all_reduce(flat)
    for p, mean in zip(parameters, (flat / workers()).split([p.numel() for p in parameters]), strict=True):
        p.grad.copy_(mean.view(p.shape))


def rate(step: int, steps: int, peak: float, warmup: int = 50) -> float:
    """Linear warm-up, then half a cosine down to a twentieth of the peak."""
    if step < warmup:
        return peak * (step + 1) / warmup
    fraction = (step - warmup) / max(1, steps - warmup)
    return peak * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def fit(
    name: str,
    module: Any,
    loss_of_step: Callable[[Any, int], Any],
    *,
    steps: int,
    peak_rate: float,
    folder: Path,
    average: float = 0.998,
) -> Any:
    """Train `module` (a torch Module) for `steps` and return it with its averaged weights loaded.

    `loss_of_step(generator, step)` draws its randomness from a generator seeded by step and process, so that an
    interrupted run that resumes equals an undisturbed one. Settings and curve are kept in `folder/name.json`.
    """
    import torch
    from tqdm import tqdm

    join()
    folder.mkdir(parents=True, exist_ok=True)
    state_file = folder / f"{name}.pt"
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=peak_rate, weight_decay=0.01, betas=(0.9, 0.98), fused=True)
    averaged = [p.detach().clone() for p in parameters]
    first, curve, seconds = 0, [], 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=True, map_location=device())
        for p, kept in zip(parameters, state["parameters"], strict=True):
            p.data.copy_(kept)
        averaged, first, curve, seconds = (state[key] for key in ("averaged", "step", "curve", "seconds"))
        optimizer.load_state_dict(state["optimizer"])

    def save(step: int) -> None:
        if rank() > 0:
            return
        state = dict(parameters=[p.detach() for p in parameters], averaged=averaged, step=step, curve=curve)
        state |= dict(seconds=seconds + time.monotonic() - started, optimizer=optimizer.state_dict())
        torch.save(state, state_file.with_suffix(".partial"))
        state_file.with_suffix(".partial").replace(state_file)
        settings = dict(
            steps=steps, peak_rate=peak_rate, average=average, seed=SEEDS[name], seconds=round(state["seconds"])
        )
        settings |= dict(parameters=sum(p.numel() for p in parameters), device=device(), processes=workers())
        state_file.with_suffix(".json").write_text(json.dumps({**settings, "curve": curve}))

    running, started = 0.0, time.monotonic()
    bar = tqdm(range(first, steps), desc=name, initial=first, total=steps, mininterval=10, disable=rank() > 0)
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, peak_rate)
        loss = loss_of_step(torch.Generator().manual_seed(step * workers() + rank()), step)
        optimizer.zero_grad()
        loss.backward()
        if workers() > 1:
            for p in parameters:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        decay = min(average, (1 + step) / (10 + step))
        torch._foreach_lerp_(averaged, [p.detach() for p in parameters], 1 - decay)
        running += loss.item()
        if (step + 1) % 50 == 0:
            curve.append([step + 1, round(running / 50, 5)])
            running = 0.0
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == steps:
            save(step + 1)
    for p, kept in zip(parameters, averaged, strict=True):
        p.data.copy_(kept)
    return module.eval()
