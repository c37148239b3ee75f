"""What drawing imports: whole, without what it does not need, and nothing of it lost for others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.tiny_ir import tiny_ir, tiny_root

IMPORTING = """
import gc, sys
from stages.generation import libraries
made = libraries.pipeline_class("OVStableDiffusionXLPipeline")
assert made.__module__.startswith("optimum.intel.openvino") and gc.isenabled()
assert not {"nncf", "sklearn", "datasets", "pandas"} & set(sys.modules)
import nncf, sklearn.metrics
assert nncf.quantize and sklearn.metrics.roc_curve
"""

PUT_OFF = """
import sys
from stages.generation import libraries
libraries.pipeline_class("OVStableDiffusionXLPipeline")
put_off = {"torch._dynamo", "scipy.integrate", "scipy.optimize", "scipy.stats"}
assert not put_off & set(sys.modules)

import numpy as np, torch
from diffusers import EulerDiscreteScheduler, LMSDiscreteScheduler
from transformers.integrations import flash_paged
from transformers.loss import loss_for_object_detection as boxes
beta = EulerDiscreteScheduler(use_beta_sigmas=True)
beta.set_timesteps(4)
assert len(beta.sigmas) == 5 and bool((beta.sigmas.diff() < 0).all())
lms = LMSDiscreteScheduler()
lms.set_timesteps(4)
assert abs(lms.get_lms_coefficient(1, 1, 0) - float(lms.sigmas[2] - lms.sigmas[1])) < 1e-3 * float(lms.sigmas[1])
rows, columns = boxes.linear_sum_assignment(np.array([[1.0, 0.0], [0.0, 1.0]]))
assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
doubled = torch.compile(lambda x: 2 * x, backend="eager")
assert doubled(torch.ones(2)).tolist() == [2.0, 2.0] and put_off <= set(sys.modules)
assert torch._dynamo.allow_in_graph and callable(flash_paged.paged_attention_forward)
"""

RUNNING = """
import sys
from stages.checkpoints.lean import lean
with lean():
    import torch, transformers
    with torch.device("meta"):  # calls what torch marked for its compiler
        layer = torch.nn.Embedding(2, 3)
assert layer.weight.is_meta and torch._dynamo.disable is sys.modules["torch._dynamo"].disable
assert torch._dynamo.allow_in_graph.__module__.startswith("torch._dynamo")
"""

CONVERTING = """
import sys
from pathlib import Path
from stages.checkpoints import components
from stages.ir import tracing
component = next(one for one in components.COMPONENTS if one.name == sys.argv[2])
tracing.write_ir(Path(sys.argv[1]), component, Path(sys.argv[3]))
"""

WITHOUT_TORCH = """
import sys
from pathlib import Path
from stages.quantization import schemes
schemes.compress(Path(sys.argv[1]), Path(sys.argv[2]))
assert "torch" not in sys.modules
import nncf, torch
assert torch.nn and nncf.CompressWeightsMode.INT8_SYM
"""


def test_drawing_imports_no_more_than_it_needs_and_others_get_what_they_ask_for():
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_put_off_comes_when_it_is_called():
    done = subprocess.run([sys.executable, "-c", PUT_OFF], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_weights_are_compressed_without_torch(tmp_path: Path):
    source = tiny_ir("base") / "unet/openvino_model.xml"
    command = [sys.executable, "-c", WITHOUT_TORCH, str(source), str(tmp_path / "unet.xml")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and (tmp_path / "unet.bin").stat().st_size > 0


def test_a_stand_in_gives_way_to_what_is_called_all_the_same():
    done = subprocess.run([sys.executable, "-c", RUNNING], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_component_is_converted_by_a_process_that_has_imported_nothing(tmp_path: Path):
    """As a text encoder of SDXL's size is: a miniature's is converted where much is imported already."""
    checkpoint = tiny_root() / "artifacts/checkpoints/base"
    target = tmp_path / "openvino_model.xml"
    command = [sys.executable, "-c", CONVERTING, str(checkpoint), "text_encoder_2", str(target)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    made = tiny_ir("base") / "text_encoder_2/openvino_model.bin"
    assert target.with_suffix(".bin").read_bytes() == made.read_bytes()
