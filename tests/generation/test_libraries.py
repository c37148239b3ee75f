"""What drawing imports: whole, without what it does not need, and nothing of it lost for others."""

from __future__ import annotations

import subprocess
import sys

IMPORTING = """
import gc, sys
from stages.generation import libraries
made = libraries.pipeline_class("OVStableDiffusionXLPipeline")
assert made.__module__.startswith("optimum.intel.openvino") and gc.isenabled()
assert not {"nncf", "sklearn", "datasets", "pandas"} & set(sys.modules)
import nncf, sklearn.metrics
assert nncf.quantize and sklearn.metrics.roc_curve
"""


def test_drawing_imports_no_more_than_it_needs_and_others_get_what_they_ask_for():
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
