"""What DVC loads when it composes params.yaml, on `dvc exp run` alone: .dvc/config names the folder above this one.

All settings are checked before they are written; outputs of models and schemes that are not selected stay in the tree;
dvc.lock survives. Hydra imports every module of a package called hydra_plugins.
"""

import atexit
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT))  # DVC's own process need not have the project on its path, or has another copy of it

from stages.files import dvcstate  # noqa: E402
from stages.settings import resolving  # noqa: E402


def restore() -> None:
    dvcstate.save_lock(ROOT)
    dvcstate.overlook_lock(ROOT)


resolving.register()
if "dvc.repo.experiments.queue.base" in sys.modules:
    dvcstate.keep_outputs(ROOT)
    dvcstate.save_lock(ROOT)
    atexit.register(restore)
