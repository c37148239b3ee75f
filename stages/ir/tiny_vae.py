"""The decoder that may take the VAE's place where a speed asks for a tiny one.

Consumes a folder or a Hub repository of an AutoencoderTiny, as `tiny_vae` says; produces artifacts/tiny-vae, the FP16
IR of its decoder, made where it is first needed. The commit that `main` stood for and the hashes of all files are kept
in artifacts/revisions/tiny-vae.json.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from stages.checkpoints import components, repository, sources, synthetic, whole
from stages.files import layout, manifest, placing
from stages.ir import converting
from stages.settings import config

if TYPE_CHECKING:
    from stages.settings.schema import TinyVae

CLASS = "AutoencoderTiny"
DECODER = next(component for component in components.COMPONENTS if component.name == "vae_decoder")


def tiny_vae(settings: TinyVae, root: Path = Path(".")) -> Path | None:
    """Write artifacts/tiny-vae, unless it is there of the same, and return it; None where there is none."""
    target = root / layout.TINY_VAE
    if settings.kind == "none":
        return None
    if manifest.is_whole(target, settings=config.as_dict(settings)):
        return target
    with tempfile.TemporaryDirectory() as scratch, placing.whole(target) as folder:
        taken = _fetch(settings, Path(scratch), root / layout.revisions("tiny-vae"))
        converting.convert(Path(scratch), DECODER, folder / DECODER.name)
        source = sources.one("vae_decoder", settings, root / layout.revisions("tiny-vae"), taken)
        facts = {"title": settings.title, "licence": settings.licence, "sources": [source]}
        facts |= {"random_weights": True} if settings.kind == "synthetic" else {}
        manifest.write(folder, stage="tiny-vae", inputs=taken, settings=config.as_dict(settings), facts=facts)
    return target


def _fetch(settings: TinyVae, folder: Path, record: Path) -> dict[str, str]:
    """Fill `folder` with a checkpoint of a VAE alone; returns the SHA-256 of every file taken."""
    place = folder / DECODER.folder
    if settings.kind == "synthetic":
        synthetic.write_part(DECODER.folder, {"_class_name": CLASS, **components.TINY_VAE}, place)
        return {}
    source = repository.Repository(settings.kind, settings.repo, settings.revision, record)
    taken = source.place(_select, place, variant=None)
    with repository.told({place: settings.repo}):
        found = components.read_json(place / "config.json").get("_class_name")
        if found != CLASS:
            raise ValueError(f"{place}/config.json describes {found!r}, allowed: {CLASS!r}")
        whole.check_part(place, CLASS)
    return taken


def _select(names: list[str]) -> list[str]:
    if "config.json" not in names:
        raise ValueError("config.json is missing: tiny_vae.repo must name the folder of an AutoencoderTiny")
    return ["config.json", *repository.select_weights(names, "", DECODER.stem, None)]
