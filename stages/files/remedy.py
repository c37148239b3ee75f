"""The quickest way back to what is missing or damaged: out of DVC's cache where that has it, else by its stage.

Consumes a path and the stage that makes it; produces the words for an error message.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

CACHE = Path(".dvc/cache/files/md5")


def remedy(path: Path, rerun: str) -> str:
    """`run 'dvc repro export@vega'`, or, of what was made here before, `run 'dvc checkout artifacts/ir/vega/fp16'`.

    What no stage makes is made by a command, `python -m stages.schemes vega`.
    """
    if rerun.startswith("python "):
        return f"run '{rerun}'"
    made = next((out for out in _outputs() if Path(out["path"]) in (path, *path.parents)), None)
    if made is None or not (CACHE / made.get("md5", "")[:2] / made.get("md5", "")[2:]).is_file():
        return f"run 'dvc repro {rerun}'"
    return f"run 'dvc checkout {made['path']}' (if that fails, 'dvc repro {rerun}')"


def _outputs() -> list[dict[str, Any]]:
    """Outputs with their hashes, as dvc.lock of the working directory names them."""
    import yaml

    try:
        stages = (yaml.safe_load(Path("dvc.lock").read_text(encoding="utf-8")) or {}).get("stages") or {}
    except (OSError, ValueError, yaml.YAMLError):
        return []
    return [out for stage in stages.values() for out in stage.get("outs", [])]
