"""Stage `scorer`: the CLIP model that benchmarks score pictures by, fetched or copied, and verified.

Consumes a folder or a Hub repository, as `clip` says; produces artifacts/scorer as transformers lays such a model out,
or a folder with its manifest alone where `clip.kind` is none. The commit that `main` stood for and the hashes of all
files are kept in artifacts/revisions/scorer.json, which belongs in git. Scores nothing.
"""

from __future__ import annotations

from pathlib import Path

from stages.checkpoints import components, repository, weights
from stages.files import layout, manifest, placing
from stages.measurement import clip
from stages.settings import config, schema

READS = ("clip",)
NEEDED = ("config.json", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json")


def scorer(settings: schema.Clip, root: Path = Path(".")) -> dict:
    """Write artifacts/scorer and return its manifest; its facts are empty where there is no scorer."""
    taken, facts = {}, {}
    with placing.whole(root / layout.SCORER) as folder:
        if settings.kind != "none":
            taken = fetch(settings, folder, root / layout.revisions("scorer"))
            facts = {"title": settings.title, "licence": settings.licence}
        return manifest.write(folder, stage="scorer", inputs=taken, settings=config.as_dict(settings), facts=facts)


def fetch(settings: schema.Clip, folder: Path, record: Path) -> dict[str, str]:
    """Fill `folder` with a model that loads and return the SHA-256 of every file taken, by repository and name."""
    source = repository.Repository(settings.kind, settings.repo, settings.revision, record)
    taken = source.place(select, folder, variant=None)
    found = components.read_json(folder / "config.json").get("model_type")
    if found != "clip":
        raise ValueError(f"{settings.repo}: config.json describes {found!r}, allowed: 'clip'")
    weights.check_weights(folder)
    clip.load(folder)  # here, rather than after hours of a benchmark
    return taken


def select(names: list[str]) -> list[str]:
    """Configurations, tokenizer, notices and the weights as safetensors; nothing else."""
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise ValueError(f"{missing[0]} is missing: a CLIP model as transformers saves it is wanted")
    wanted = {*NEEDED, *components.TOKENIZER_FILES, *repository.NOTICES}
    return sorted(wanted.intersection(names)) + repository.select_weights(names, "", "model", None)


def main(argv: list[str] | None = None) -> None:
    with config.main_guard():
        _, overrides = config.arguments("scorer", argv)
        settings = config.load(READS, None, overrides).clip
        files = scorer(settings)["files"]
        total_mb = sum(file["size"] for file in files.values()) / 1e6
        print(f"scorer {settings.title}: {len(files)} files, {total_mb:.1f} MB, verified")


if __name__ == "__main__":
    main()
