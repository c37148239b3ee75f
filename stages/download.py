"""Stage `download`: one model's checkpoint, fetched, swapped or fused as its YAML file says, and verified.

Consumes a folder, Hub repositories (HF_ENDPOINT, HF_HUB_OFFLINE and HF_HOME are honoured) or the name of an
architecture, which is filled with random weights; produces artifacts/checkpoints/<model> in plain diffusers layout.
The commits that `main` stood for and the hashes of all files are kept in artifacts/revisions/<model>.json, which
belongs in git. Converts nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from stages.checkpoints import assembling, hub, sources
from stages.files import layout, manifest, placing
from stages.machine import budget, sizes, usage
from stages.machine.budget import Need
from stages.settings import config, schema

READS = ("model.{model}.source", "model.{model}.licence")


def download(model: str, source: schema.Source, licence: str, root: Path = Path(".")) -> dict:
    """Write artifacts/checkpoints/<model> and return its manifest."""
    target, record = root / layout.checkpoint(model), root / layout.revisions(model)
    with placing.whole(target) as folder:
        inputs = assembling.assemble(source, folder, record)
        facts = {"licence": licence, "sources": sources.described(source, record, inputs)}
        return manifest.write(
            folder,
            stage="download",
            inputs=inputs,
            beside=sorted(target.parent.glob("*")),
            settings={"source": config.as_dict(source), "licence": licence},
            facts=facts | ({"random_weights": True} if source.kind == "synthetic" else {}),
        )


def _need(source: schema.Source) -> Need:
    """What is in the Hub cache already is linked and takes no more disk."""
    need = budget.download(sizes.of_source(source), source.kind)
    parts = [source, *(part for part in (source.unet, source.vae) if part), *source.adapters]
    repos = {part.repo for part in parts if part.kind == "hub"}
    cached = hub.cached_bytes(repos) if repos else 0
    return replace(need, disk_gb=max(0.0, need.disk_gb - cached / 1e9))


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        model, overrides = config.arguments("download", argv)
        settings = config.load(READS, model, overrides)
        source = settings.model.source
        need = _need(source)
        with usage.recorded("download", model, need, layout.checkpoint(model)):
            files = download(model, source, settings.model.licence)["files"]
        total_mb = sum(file["size"] for file in files.values()) / 1e6
        print(f"download {model}: {len(files)} files, {total_mb:.1f} MB, verified")


if __name__ == "__main__":
    main()
