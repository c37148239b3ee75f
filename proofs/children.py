"""One UNet in a process of its own, asked for one step at a time: models too large to be held side by side by one
process, or by one allocator, can so be measured in turns.

Consumes the folder of an IR or of a checkpoint and input arrays; produces seconds per step. Compares nothing.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stages.checkpoints import quiet

Inputs = dict[str, np.ndarray]


@contextmanager
def step(way: str, folder: Path, inputs: Inputs) -> Iterator[Callable[[], float]]:
    """A function that runs one step and returns its seconds, as the child sees them.

    `way`: `openvino` as the plugin computes by default, `openvino-f32`, `openvino-vnni` as without AMX and bfloat16, or
    `torch-f32`.
    """
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs, way, folder, inputs), daemon=True)
    child.start()
    theirs.close()

    def ask() -> float:
        mine.send("step")
        return mine.recv()

    try:
        yield ask
    except EOFError as error:
        raise ValueError(f"{way} of {folder} was killed, most likely for memory") from error
    finally:
        mine.close()
        child.join()


def _serve(pipe: Any, way: str, folder: Path, inputs: Inputs) -> None:
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # others compute while this one waits
    if way.endswith("vnni"):  # read when OpenVINO is imported
        os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX512_CORE_VNNI"
    exact = way.endswith(("f32", "vnni"))
    call = _torch(folder, inputs) if way.startswith("torch") else _openvino(folder, inputs, exact)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        start = time.perf_counter()
        call()
        pipe.send(time.perf_counter() - start)


def _openvino(folder: Path, inputs: Inputs, float32: bool) -> Callable[[], Any]:
    import openvino as ov

    config = {"PERFORMANCE_HINT": "LATENCY"} | ({"INFERENCE_PRECISION_HINT": "f32"} if float32 else {})
    compiled = ov.Core().compile_model(folder / "unet/openvino_model.xml", "CPU", config)
    return lambda: compiled(inputs, share_inputs=True)


def _torch(folder: Path, inputs: Inputs) -> Callable[[], Any]:
    with quiet.quiet():
        import torch
        from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    added = {name: given.pop(name) for name in ("text_embeds", "time_ids")}

    def call() -> Any:
        with torch.no_grad():
            return unet(**given, added_cond_kwargs=added, return_dict=False)

    return call
