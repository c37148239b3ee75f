"""Pieces of unfinished work: there as they were written, or made anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from stages.files import pieces


def file(folder: Path) -> Path:
    (folder / "piece.bin").write_bytes(bytes(100))
    return folder / "piece.bin"


def tree(folder: Path) -> Path:
    (folder / "piece" / "unet").mkdir(parents=True)
    file(folder / "piece" / "unet")
    return folder / "piece"


@pytest.mark.parametrize("make", [file, tree])
def test_a_piece_is_there_once_it_is_noted(tmp_path: Path, make) -> None:
    piece = make(tmp_path)
    pieces.note(piece)
    assert pieces.is_there(piece) and piece.exists()


@pytest.mark.parametrize("make", [file, tree])
def test_what_was_not_finished_is_taken_away_in_silence(tmp_path: Path, make, capsys: pytest.CaptureFixture) -> None:
    assert not pieces.is_there(make(tmp_path))
    assert list(tmp_path.iterdir()) == [] and capsys.readouterr().err == ""


@pytest.mark.parametrize("make", [file, tree])
@pytest.mark.parametrize("what", ["bit", "cut", "note", "gone"])
def test_a_piece_that_changed_is_taken_away_and_told(
    tmp_path: Path, make, what: str, capsys: pytest.CaptureFixture
) -> None:
    piece = make(tmp_path)
    pieces.note(piece)
    (held,) = tmp_path.rglob("piece.bin")
    if what == "note":
        (tmp_path / f".{piece.name}.sha256").write_bytes(b"\xff" * 64)
    elif what == "gone":
        held.unlink()
    else:
        held.write_bytes(bytes(99) + b"\1" if what == "bit" else bytes(60))
    assert not pieces.is_there(piece) and list(tmp_path.iterdir()) == []
    told = f"{piece}, of a run that was stopped, is damaged: it is made anew\n"
    assert capsys.readouterr().err == ("" if (what, make) == ("gone", file) else told)
