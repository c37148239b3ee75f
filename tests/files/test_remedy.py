"""The quick cure is named where DVC's cache has what is missing, the slow one where it has not."""

import hashlib
import json
from pathlib import Path

import yaml

from stages.files.remedy import cache, remedy

FOLDER = Path("artifacts/ir/vega/fp16")


def made(tmp_path: Path, md5: str) -> None:
    outs = [{"path": str(FOLDER), "hash": "md5", "md5": md5}]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"export@vega": {"outs": outs}}}))


def test_what_was_never_made_is_made_by_its_stage(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert remedy(FOLDER / "unet/x.bin", "export@vega") == "run 'dvc repro export@vega'"
    (tmp_path / "dvc.lock").write_text("# a stub\nschema: '2.0'\n")
    assert remedy(FOLDER, "export@vega") == "run 'dvc repro export@vega'"


def keep(content: bytes, suffix: str = "", named: bytes | None = None) -> str:
    """The hash that the cache keeps this content under, or that of other content that became this."""
    md5 = hashlib.md5(content if named is None else named).hexdigest()
    file = Path(f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}{suffix}")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return md5


def test_what_the_cache_holds_whole_is_checked_out_and_linked_anew(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    listing = json.dumps([{"md5": keep(b"weights"), "relpath": "unet/x.bin"}]).encode()
    made(tmp_path, f"{keep(listing, '.dir')}.dir")
    said = "run 'dvc checkout --relink -f artifacts/ir/vega/fp16'"
    assert remedy(FOLDER / "unet/x.bin", "export@vega") == said == remedy(FOLDER, "export@vega")
    assert remedy(Path("artifacts/ir/vega/int8"), "quantize@vega") == "run 'dvc repro quantize@vega'"
    assert remedy(FOLDER, "python -m stages.schemes vega") == "run 'python -m stages.schemes vega'"


def test_what_the_cache_holds_damaged_is_removed_from_it_first(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    md5 = keep(b"weighty", named=b"weights")
    listing = json.dumps([{"md5": md5, "relpath": "unet/x.bin"}]).encode()
    made(tmp_path, f"{keep(listing, '.dir')}.dir")
    said = remedy(FOLDER, "export@vega")
    assert said == f"run 'rm -f .dvc/cache/files/md5/{md5[:2]}/{md5[2:]} && dvc repro -f -s export@vega'"


def test_what_is_there_but_in_no_cache_is_made_again_whatever_dvc_thinks(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "ab12.dir")
    assert remedy(FOLDER, "export@vega") == "run 'dvc repro export@vega'"
    FOLDER.mkdir(parents=True)
    assert remedy(FOLDER, "export@vega") == "run 'dvc repro -f -s export@vega'"


def test_a_cache_elsewhere_is_looked_into(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text(
        "[core]\n    analytics = false\n[cache]\n    dir = ../shared\n['remote \"x\"']\n"
    )
    assert cache().resolve() == tmp_path / "shared/files/md5"
    (tmp_path / ".dvc/config").write_text("[cache]\n    type = hardlink\n")
    assert cache() == Path(".dvc/cache/files/md5")
