"""Work that is carried elsewhere: the same recipe, on that machine's folders and without what was loaded here."""

from __future__ import annotations

import copy
from pathlib import Path

from stages.calibration import collecting
from tests.test_calibrate import settings
from tests.tiny_ir import CPU, tiny_ir


def test_elsewhere_threads_are_as_many_and_bound_to_no_core() -> None:
    work = collecting.Recording(settings(), tiny_ir("base"), "base", 1, 1.0)
    here = work.loaded()[0]
    there = work.at({"ir": tiny_ir("base")}, 1, 0.5)
    pipeline, room = there.loaded()
    assert (pipeline.ov_config["INFERENCE_NUM_THREADS"], pipeline.ov_config["ENABLE_CPU_PINNING"]) == (1, False)
    assert "ENABLE_CPU_PINNING" not in here.ov_config and room.limit_gb == 0.5
    assert work.pinned and work.loaded()[0] is here and work.device == CPU


def test_what_is_loaded_does_not_travel() -> None:
    work = collecting.Recording(settings(), tiny_ir("base"), "base", 1, 1.0)
    work._loaded = Path("here")
    assert copy.copy(work)._loaded is None and work.loaded() == Path("here")
