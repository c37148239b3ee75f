"""What completes an IR folder, before its manifest: the licence's text and the model card.

Consumes a folder with everything else in it, and what its manifest will say; produces README.md, LICENSE and, where the
licence asks for one, NOTICE.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stages.cards import about, card, licences
from stages.files import manifest, placing

CARD = "README.md"


def complete(folder: Path, *, stage: str, settings: dict[str, Any], facts: dict[str, Any]) -> None:
    """For the last step before `manifest.write`, with the same arguments. A card that is linked there is left alone."""
    licences.place(folder, facts.get("licence"), facts.get("sources") or [])
    said = about.draft(stage, settings, facts, manifest.tools())
    placing.write_text(folder / CARD, card.text(about.of(folder, said)))
