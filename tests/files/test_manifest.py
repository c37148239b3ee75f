"""Manifests: what is written is verified, what is changed is named, and no folder is ever half there."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stages.files import manifest, placing


def filled(folder: Path) -> Path:
    (folder / "unet").mkdir(parents=True)
    (folder / "unet" / "openvino_model.bin").write_bytes(bytes(1000))
    (folder / "model_index.json").write_text("{}")
    manifest.write(folder, stage="export", inputs={"checkpoint": "ab"}, settings={"role": "base"}, facts={"n": 1})
    return folder


def test_a_written_folder_verifies_and_tells_its_files(tmp_path):
    read = manifest.verify(filled(tmp_path / "ir"), rerun="export@mini")
    assert set(read["files"]) == {"model_index.json", "unet/openvino_model.bin"}
    assert read["files"]["unet/openvino_model.bin"]["size"] == 1000
    assert read["files"]["model_index.json"]["sha256"].startswith("44136fa355b3678a")  # sha256 of "{}"
    assert read["facts"] == {"n": 1} and read["tools"]["openvino"]


def test_equal_folders_have_equal_digests_and_other_settings_another_key(tmp_path):
    one, two = filled(tmp_path / "one"), filled(tmp_path / "two")
    assert manifest.digest(one) == manifest.digest(two)
    assert manifest.key("export", {}, {"a": 1}) != manifest.key("export", {}, {"a": 2})


def test_a_flipped_byte_of_the_same_size_is_found_and_named(tmp_path):
    folder = filled(tmp_path / "ir")
    (folder / "unet/openvino_model.bin").write_bytes(bytes(999) + b"\1")
    with pytest.raises(ValueError, match=r"openvino_model.bin has other contents.*dvc repro export@mini"):
        manifest.verify(folder, rerun="export@mini")


def test_a_truncated_file_is_found_and_named(tmp_path):
    folder = filled(tmp_path / "ir")
    (folder / "unet/openvino_model.bin").write_bytes(bytes(10))
    with pytest.raises(ValueError, match="has 10 bytes instead of 1000"):
        manifest.verify(folder, rerun="export@mini")


def test_a_missing_file_and_a_missing_manifest_name_the_stage_to_rerun(tmp_path):
    folder = filled(tmp_path / "ir")
    (folder / "model_index.json").unlink()
    with pytest.raises(FileNotFoundError, match="model_index.json is missing: run 'dvc repro export@mini'"):
        manifest.verify(folder, rerun="export@mini")
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match="manifest.json is missing: run 'dvc repro export@mini'"):
        manifest.verify(folder, rerun="export@mini")


def test_a_manifest_whose_names_leave_the_folder_is_refused(tmp_path):
    folder = filled(tmp_path / "ir")
    content = json.loads((folder / "manifest.json").read_text())
    content["files"]["../secret"] = {"sha256": "", "size": 0}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"'\.\./secret' is refused"):
        manifest.verify(folder, rerun="export@mini")


@pytest.mark.parametrize("place", range(3, 400, 36))
def test_a_manifest_with_a_turned_bit_is_refused_or_says_the_same(tmp_path, place):
    folder = filled(tmp_path / "ir")
    before, path = manifest.read(folder, rerun="export@mini"), folder / "manifest.json"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    try:
        found = manifest.read(folder, rerun="export@mini")
    except ValueError as error:
        assert "run 'dvc repro export@mini'" in str(error)
    else:
        assert {name: found[name] for name in before if name != "seal"} == {n: before[n] for n in before if n != "seal"}


def test_whole_moves_a_finished_folder_over_an_older_one(tmp_path):
    target = tmp_path / "ir"
    for content in ("old", "new"):
        with placing.whole(target) as folder:
            (folder / content).touch()
            assert not (target / content).exists()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_whole_keeps_the_older_folder_when_the_block_fails(tmp_path):
    target = tmp_path / "ir"
    with placing.whole(target) as folder:
        (folder / "old").touch()
    with pytest.raises(OSError, match="disk"), placing.whole(target) as folder:
        (folder / "half").touch()
        raise OSError("disk full")
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_whole_sweeps_what_a_killed_process_left_but_not_what_a_living_one_writes(tmp_path):
    script = (
        "import pathlib, sys, time\nfrom stages.files import placing\n"
        "with placing.whole(pathlib.Path(sys.argv[1])) as folder:\n"
        "    (folder / 'half').touch()\n    print('ready', flush=True)\n    time.sleep(60)\n"
    )
    target, repository = tmp_path / "ir", Path(__file__).parents[2]
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(target)], stdout=subprocess.PIPE, cwd=repository, text=True
    )
    assert child.stdout.readline() == "ready\n"
    placing.sweep(target)
    assert len(list(tmp_path.glob(".ir.partial-*/half"))) == 1
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not target.exists()
    with placing.whole(target):
        assert not list(tmp_path.glob(".ir.partial-*/half"))
    assert list(tmp_path.iterdir()) == [target]


def test_link_shares_the_file_and_copies_across_file_systems(tmp_path, monkeypatch):
    source = tmp_path / "a"
    source.write_text("weights")
    placing.link(source, tmp_path / "b" / "a")
    assert (tmp_path / "b" / "a").samefile(source)

    def refuse(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    placing.link(source, tmp_path / "c" / "a")
    assert not (tmp_path / "c" / "a").samefile(source) and (tmp_path / "c" / "a").read_text() == "weights"


def test_a_large_file_that_another_folder_holds_stands_once(tmp_path: Path) -> None:
    def fill(name: str, unet: bytes) -> Path:
        folder = tmp_path / name
        (folder / "vae").mkdir(parents=True)
        (folder / "vae/model.bin").write_bytes(b"v" * 200_000)
        (folder / "unet.bin").write_bytes(unet * 200_000)
        (folder / "config.json").write_text("{}")
        manifest.write(folder, stage="export", inputs={}, settings={}, beside=sorted(tmp_path.glob("*")))
        return folder

    one, two = fill("one", b"1"), fill("two", b"2")
    assert (one / "vae/model.bin").samefile(two / "vae/model.bin")
    assert not (one / "unet.bin").samefile(two / "unet.bin")
    assert not (one / "config.json").samefile(two / "config.json"), "not worth a link"
    manifest.verify(two, rerun="export@two")
    (one / "unet.bin").write_bytes(b"3" * 200_000)  # no longer what its manifest says
    three = fill("three", b"1")
    assert not (one / "unet.bin").samefile(three / "unet.bin")
    manifest.verify(three, rerun="export@three")
    assert not list(tmp_path.glob("**/*.partial"))


def test_the_origin_of_weights_goes_from_manifest_to_manifest() -> None:
    facts = {"model": "vega", "licence": "mit", "sources": [{"name": "me/vega"}], "random_weights": True, "samples": 3}
    assert manifest.origin({"facts": facts}) == {name: value for name, value in facts.items() if name != "samples"}
    assert manifest.origin({"facts": {"samples": 3}}) == {}


def test_random_weights_are_not_publishable(tmp_path: Path) -> None:
    manifest.require_publishable(filled(tmp_path / "real"), rerun="export@x")
    random = filled(tmp_path / "random")
    manifest.write(random, stage="export", inputs={}, settings={}, facts={"random_weights": True})
    with pytest.raises(ValueError, match="random has random weights, for planning alone: it is not to be published"):
        manifest.require_publishable(random, rerun="export@x")


def test_the_code_of_a_room_is_its_files_by_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("1")
    before = manifest.code(tmp_path)
    (tmp_path / "notes.md").write_text("of no effect")
    assert manifest.code(tmp_path) == before
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    assert manifest.code(tmp_path) != before
