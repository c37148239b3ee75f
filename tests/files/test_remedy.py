"""The quick cure is named where DVC's cache has what is missing, the slow one where it has not."""

from pathlib import Path

import yaml

from stages.files.remedy import remedy

FOLDER = Path("artifacts/ir/vega/fp16")


def made(tmp_path: Path, md5: str) -> None:
    outs = [{"path": str(FOLDER), "hash": "md5", "md5": md5}]
    (tmp_path / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"export@vega": {"outs": outs}}}))


def test_what_was_never_made_is_made_by_its_stage(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert remedy(FOLDER / "unet/x.bin", "export@vega") == "run 'dvc repro export@vega'"
    (tmp_path / "dvc.lock").write_text("# a stub\nschema: '2.0'\n")
    assert remedy(FOLDER, "export@vega") == "run 'dvc repro export@vega'"


def test_what_the_cache_holds_is_checked_out(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    made(tmp_path, "ab12.dir")
    assert remedy(FOLDER / "unet/x.bin", "export@vega") == "run 'dvc repro export@vega'"
    (tmp_path / ".dvc/cache/files/md5/ab").mkdir(parents=True)
    (tmp_path / ".dvc/cache/files/md5/ab/12.dir").touch()
    said = "run 'dvc checkout artifacts/ir/vega/fp16' (if that fails, 'dvc repro export@vega')"
    assert remedy(FOLDER / "unet/x.bin", "export@vega") == said == remedy(FOLDER, "export@vega")
    assert remedy(Path("artifacts/ir/vega/int8"), "quantize@vega") == "run 'dvc repro quantize@vega'"
