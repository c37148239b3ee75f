"""What stands on the easel: nothing yet, a picture on its way, or one or two finished ones with what they took.

Consumes progress and kept pictures; produces HTML, everything in it escaped. Two pictures lie one over the other with
the report's line between them: Gradio's own slider knows mouse and touch, but no keys.
"""

from __future__ import annotations

import functools
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from stages.report import grids, pictures, templates

if TYPE_CHECKING:
    from stages.app.gallery import Kept
    from stages.studio.request import Request
    from stages.studio.studio import Progress

HERE = Path(__file__).parent
TEMPLATES = (HERE, HERE.parent / "report")  # the report's compare.html
PARTS = {
    "load": "loading",
    "text_encoders": "text encoders",
    "unet": "UNet, all steps",
    "decode": "decoding",
    "whole": "the whole picture",
}
DOING = {
    "libraries": "loading libraries",
    "load": "loading {model} {precision}",
    "text": "reading the prompt",
    "decode": "decoding",
}


def empty() -> str:
    return _template().render(shown=[], progress=None)


def going(request: Request, progress: Progress, place: str = "") -> str:
    """A picture on its way; `place` says which of two it is."""
    known = {"model": request.model, "precision": request.precision}
    doing = DOING.get(progress.part, "step {step} of {steps}").format(step=progress.step, steps=progress.steps, **known)
    preview = pictures.data_uri(progress.preview, max(progress.preview.size)) if progress.preview else None
    words = {"doing": f"{place}{doing}", "preview": preview}
    return _template().render(shown=[], request=request, progress=progress, **words)


def finished(shown: list[Kept]) -> str:
    return _template().render(shown=shown, progress=None, parts=PARTS, gain=grids.GAIN)


@functools.cache
def _template() -> Any:
    made = templates.environment(*TEMPLATES)
    made.filters |= {
        "address": address,
        "embedded": lambda kept: SimpleNamespace(uri=address(kept), width=kept.size[0], height=kept.size[1]),
        "filename": lambda kept: f"{kept.request.model}-{kept.request.precision}-{kept.request.seed}.png",
        "link": _link,
        "sayings": lambda shown: list(dict.fromkeys(said for kept in shown for said in kept.said)),
        "seconds": lambda value: f"{value:.2f} s",
    }
    return made.get_template("easel.html")


def address(kept: Kept) -> str:
    """Where the page's server has the file."""
    return f"gradio_api/file={kept.path}"


def _link(kept: Kept) -> str:
    from stages.studio import metadata

    return metadata.link(kept.request)
