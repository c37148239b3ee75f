"""Where things lie: the folders of the project by model and precision, each named in one place.

Consumes keys; produces paths relative to the project's root, as dvc.yaml declares them. Looks at no disk.
"""

from pathlib import Path

FP16 = "fp16"  # the precision that every other one is made of and compared with
REFERENCE = "reference"  # what pictures of FP16 in float32 are filed under, beside those of the precisions
TAKEN = (FP16, REFERENCE, "base")  # what no scheme may be called
IR = Path("artifacts/ir")
SCORER = Path("artifacts/scorer")
TINY_VAE = Path("artifacts/tiny-vae")
PUBLISHED = Path("artifacts/published")
REPORTS = Path("reports")
BENCHMARKS = REPORTS / "benchmark"
SCHEMES = REPORTS / "schemes"
BESIDE = REPORTS / "beside.json"  # digests of what commands beside the pipeline measured: the page depends on them
MACHINE = REPORTS / "machine.json"
TRUE_SIZE = REPORTS / "true-size.json"  # of this machine
REFERENCE_TRUE_SIZE = REPORTS / "reference" / "true-size.json"  # in git, of a machine that it names
README = Path("README.md")


def checkpoint(model: str) -> Path:
    return Path("artifacts/checkpoints") / model


def revisions(model: str) -> Path:
    """Commits that names of revisions stood for, and the hashes of all files: a record that belongs in git."""
    return Path("artifacts/revisions") / f"{model}.json"


def ir(model: str, precision: str) -> Path:
    """`ir("vega", "int8")` is artifacts/ir/vega/int8."""
    return IR / model / precision


def staged(model: str, precision: str) -> Path:
    """An IR folder as it is published, with its card: what goes to the Hub."""
    return Path("artifacts/staged") / model / precision


def published(model: str, precision: str) -> Path:
    """The same, once DVC keeps it; its .dvc file beside it belongs in git."""
    return PUBLISHED / model / precision


def calibration(model: str) -> Path:
    return Path("artifacts/calibration") / model


def benchmark(model: str) -> Path:
    return BENCHMARKS / model


def unfinished_benchmark(model: str) -> Path:
    """What finished pieces of a benchmark are kept beside until all of it is done: no stage's output."""
    return Path("artifacts/benchmark") / model


def lighter(model: str, precision: str, speed: str) -> Path:
    """The pipeline of an IR folder with the parts that a speed makes lighter."""
    return Path("artifacts/speed") / model / f"{precision}-{speed}"


def unfinished_speed(model: str) -> Path:
    return Path("artifacts/benchmark") / f"{model}-speed"


def speed(model: str) -> Path:
    """Where what a model's pictures may be spared is compared."""
    return REPORTS / "speed" / model


def reference(command: str, model: str) -> Path:
    """A model's schemes or peers as a named machine measured them: in git, for the page of who has not measured any."""
    return REPORTS / "reference" / f"{command}-{model}.json"


def schemes(model: str) -> Path:
    """Where a model's quantization schemes are compared; the figures of the selected one are the benchmark's."""
    return SCHEMES / model


def peers(model: str) -> Path:
    """Where a model's pictures stand beside those of other programs."""
    return REPORTS / "peers" / model


def peer(model: str, name: str) -> Path:
    """The IR folder that another program's quantization made of a model's FP16 one."""
    return Path("artifacts/peers") / model / name


def unfinished_peers(model: str) -> Path:
    return Path("artifacts/benchmark") / f"{model}-peers"
