"""Files of a Hub repository: without the Hub, behind a gate, of a poor mirror, and against a record that is wrong."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from stages.checkpoints import hub, hubcache
from stages.checkpoints.repository import Repository, select_pipeline
from tests.hub_server import HubServer

REPO, MAIN = "me/small", "a" * 40
WEIGHTS = "unet/model.safetensors"
NAMES = ["README.md", "config.json", WEIGHTS]
CONTENTS = {"README.md": b"licence", "config.json": b"{}", WEIGHTS: b"weights" * 99, "notes.txt": b"unwanted"}


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name, content in CONTENTS.items():
        (tmp_path / "repo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repo" / name).write_bytes(content)
    with HubServer({REPO: tmp_path / "repo"}) as server:
        server.stand_in(monkeypatch, tmp_path / "cache")
        yield server


@pytest.fixture
def record(tmp_path) -> Path:
    return tmp_path / "revisions/small.json"


def select(names: list[str]) -> list[str]:
    if WEIGHTS not in names:
        raise ValueError(f"{WEIGHTS} is missing")
    return [name for name in NAMES if name in names]


def fetch(record: Path, revision: str = "main", repo: str = REPO) -> dict[str, Path]:
    return hub.fetch(repo, revision, record, select)


def recorded(record: Path, revision: str = "main") -> dict:
    return json.loads(record.read_text())[REPO][revision]


def cached_by_others(names: list[str] = NAMES, revision: str = "main") -> Path:
    """What another program, which wrote no record of ours, has left in the cache; the snapshot's folder."""
    from huggingface_hub import hf_hub_download

    for name in names:
        hf_hub_download(REPO, name, revision=MAIN)
    folder = hubcache.folder() / "models--me--small"
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / revision).write_text(MAIN)
    return folder / "snapshots" / MAIN


def go_offline(monkeypatch, how: str = "HF_HUB_OFFLINE") -> None:
    if how == "HF_HUB_OFFLINE":
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")


def blob_of(path: Path) -> Path:
    return path.resolve()


def one_line(failure: pytest.ExceptionInfo) -> str:
    assert "\n" not in str(failure.value)
    return str(failure.value)


# Without the Hub


@pytest.mark.parametrize("how", ["HF_HUB_OFFLINE", "unreachable"])
@pytest.mark.parametrize("revision", ["main", "v1", MAIN])
def test_a_cache_that_others_filled_serves_without_a_record_and_without_the_hub(
    server, record, monkeypatch, capsys, revision, how
):
    cached_by_others(revision=revision)
    server.requests.clear()
    go_offline(monkeypatch, how)
    files = fetch(record, revision)
    assert {name: path.read_bytes() for name, path in files.items()} == {name: CONTENTS[name] for name in NAMES}
    assert server.requests == []
    assert "me/small@aaaaaaa: taken from the cache, as far as it is there" in capsys.readouterr().err


def test_what_is_recorded_of_the_cache_is_what_the_hub_says_and_marked_as_partial(
    server, record, monkeypatch, tmp_path
):
    cached_by_others()
    fetch(tmp_path / "online.json")
    with monkeypatch.context() as offline:
        go_offline(offline)
        fetch(record)
    online, cached = recorded(tmp_path / "online.json"), recorded(record)
    assert cached.pop("partial") is True
    assert cached == {"commit": MAIN, "files": {name: online["files"][name] for name in NAMES}}


def test_a_later_run_online_completes_what_the_cache_said_at_the_same_commit(server, record, monkeypatch, tmp_path):
    cached_by_others(["config.json", WEIGHTS])
    fetch(tmp_path / "online.json")
    with monkeypatch.context() as offline:
        go_offline(offline)
        fetch(record)
    server.commits[REPO] = "b" * 40
    assert list(fetch(record)) == NAMES
    assert recorded(record) == recorded(tmp_path / "online.json")
    assert not [path for _, path, _ in server.requests if "b" * 40 in path]


def test_a_later_run_offline_keeps_to_the_commit_that_the_first_one_found(server, record, monkeypatch):
    snapshot = cached_by_others()
    go_offline(monkeypatch)
    fetch(record)
    (snapshot.parent.parent / "refs/main").write_text("b" * 40)
    assert all(MAIN in path.parts for path in fetch(record).values())
    assert recorded(record)["commit"] == MAIN


def test_two_parts_of_one_repository_are_both_recorded(server, record, monkeypatch):
    cached_by_others()
    go_offline(monkeypatch)
    for name in NAMES:
        hub.fetch(REPO, "main", record, lambda _, name=name: [name])
    assert list(recorded(record)["files"]) == NAMES


def test_a_cache_that_holds_too_little_says_so_and_records_nothing(server, record, monkeypatch):
    cached_by_others(["config.json"])
    go_offline(monkeypatch)
    with pytest.raises(
        ValueError, match="cannot be asked about me/small@main: .*the cache holds too little of me/small@aaa"
    ):
        fetch(record)
    assert not record.exists()


def test_a_blob_that_is_gone_is_named_and_nothing_is_recorded(server, record, monkeypatch):
    blob_of(cached_by_others() / "README.md").unlink()
    go_offline(monkeypatch)
    with pytest.raises(FileNotFoundError, match="README.md is not in the cache and .*cannot be asked"):
        fetch(record)
    assert not record.exists()


def test_an_empty_cache_and_no_hub_are_both_named(server, record, monkeypatch):
    go_offline(monkeypatch)
    with pytest.raises(
        ValueError, match="cannot be asked about me/small@main: .*and the cache holds nothing of me/small@main$"
    ):
        fetch(record)


def test_a_blob_that_is_not_what_its_name_says_is_found_without_a_record(server, record, monkeypatch):
    snapshot = cached_by_others()
    blob = blob_of(snapshot / WEIGHTS)
    blob.write_bytes(b"x" * len(CONTENTS[WEIGHTS]))
    go_offline(monkeypatch)
    with pytest.raises(ValueError, match="model.safetensors has not the SHA-256.*it was removed, run again"):
        fetch(record)
    assert not blob.exists() and not record.exists()
    with pytest.raises(FileNotFoundError, match="model.safetensors is not in the cache"):
        fetch(record)


def test_a_cache_of_plain_files_cannot_be_verified_without_the_hub(server, record, monkeypatch, tmp_path):
    snapshot = cached_by_others()
    whole = shutil.copytree(snapshot, tmp_path / "plain")
    shutil.rmtree(snapshot)
    whole.rename(snapshot)
    with monkeypatch.context() as offline:
        go_offline(offline)
        with pytest.raises(ValueError, match="has no hash to be verified by.*run again online"):
            fetch(record)
    assert sorted(path.name for path in snapshot.rglob("*.*")) == ["README.md", "config.json", "model.safetensors"]
    fetch(record)


def test_a_commit_that_main_is_recorded_to_be_needs_no_asking(server, record):
    fetch(record)
    server.requests.clear()
    fetch(record, MAIN)
    assert server.requests == []


@pytest.mark.parametrize("fault", ["gone", "gated", "failing"])
def test_a_commit_in_the_cache_serves_whatever_the_hub_says(server, record, fault):
    cached_by_others()
    if fault == "gone":
        server.repositories.clear()
    elif fault == "gated":
        server.private.add(REPO)
    else:
        server.failing = 500
    assert list(fetch(record, MAIN)) == NAMES


# Gates and tokens


@pytest.mark.parametrize("token", [None, "hf_of_somebody_else"])
def test_a_gated_repository_says_where_its_terms_are(server, record, monkeypatch, token):
    server.gated.add(REPO)
    server.tokens = {"hf_of_somebody_else": set()}
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match="is gated") as failure:
        fetch(record)
    assert one_line(failure) == (
        f"me/small is gated: accept its terms at {server.endpoint}/me/small and set HF_TOKEN (or run `hf auth login`)"
    )


@pytest.mark.parametrize("gate", ["gated", "private"])
def test_a_token_that_may_read_opens_the_gate(server, record, monkeypatch, gate):
    getattr(server, gate).add(REPO)
    server.tokens = {"hf_mine": {REPO}}
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    assert list(fetch(record)) == NAMES


def test_a_private_repository_asks_for_a_token_and_not_to_run_again(server, record):
    server.private.add(REPO)
    with pytest.raises(ValueError, match=r"is not a repository on .*, or it is private: then set HF_TOKEN") as failure:
        fetch(record)
    assert "run again" not in one_line(failure)


@pytest.mark.parametrize("known", [True, False], ids=["files", "listing"])
@pytest.mark.parametrize("token", ["hf_expired", "hf_with\x01control", "hf_with_an_…"])
def test_a_token_that_is_not_valid_is_blamed_and_never_printed(server, record, monkeypatch, capsys, token, known):
    if known:
        fetch(record)
        shutil.rmtree(hubcache.folder())
    server.tokens = {}
    monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(ValueError, match="the Hub token.*set HF_TOKEN") as failure:
        fetch(record)
    printed = one_line(failure) + "".join(capsys.readouterr())
    assert "hf_expired" not in printed and "hf_with" not in printed and "run again" not in printed


def test_user_and_password_of_a_mirror_are_not_printed(server, record, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.endpoint.replace("//", "//me:secret@"))
    server.answer = lambda info: info | {"siblings": []}
    with pytest.raises(ValueError, match="http://127.0.0.1") as failure:
        fetch(record)
    assert "secret" not in str(failure.value)


# Mirrors


def without(*keys: str):
    def change(info: dict) -> dict:
        siblings = [{key: value for key, value in file.items() if key not in keys} for file in info["siblings"]]
        return info | {"siblings": siblings}

    return change


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (without("size"), "lists README.md of me/small without its size and hash.*set HF_ENDPOINT"),
        (without("blobId"), "lists README.md of me/small without its size and hash"),
        (without("size", "blobId", "lfs"), "lists README.md of me/small without its size and hash"),
        (lambda info: info | {"siblings": []}, "lists no files of me/small@main"),
        (lambda info: {key: value for key, value in info.items() if key != "siblings"}, "lists no files"),
        (lambda info: info | {"siblings": [{"rfilename": "x", "lfs": {"size": 1}}]}, "answers .* as no Hub does"),
        (lambda info: [info], "answers about me/small@main as no Hub does: is a proxy in between"),
        (lambda info: b"<html>log in to the guest network</html>", "answers about me/small@main as no Hub does"),
        (lambda info: info | {"sha": None}, "answers with commit None"),
    ],
)
def test_an_answer_that_leaves_files_unverifiable_is_refused_before_anything_is_recorded(
    server, record, answer, message
):
    server.answer = answer
    with pytest.raises(ValueError, match=message) as failure:
        fetch(record)
    assert one_line(failure) and not record.exists()
    assert not [path for _, path, _ in server.requests if "/resolve/" in path]


def test_a_renamed_repository_is_followed(server, record):
    server.renamed["me/old-name"] = REPO
    assert list(fetch(record, repo="me/old-name")) == NAMES


# A record that is wrong, and a file that is


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
@pytest.mark.parametrize("part", ["size", "hash"])
def test_a_sound_file_is_kept_where_the_record_is_wrong(server, record, name, part):
    path = fetch(record)[name]
    known = json.loads(record.read_text())
    facts = known[REPO]["main"]["files"][name]
    if part == "size":
        facts["size"] += 1
    else:
        kind = "sha256" if "sha256" in facts else "git"
        facts[kind] = hashlib.new("sha256" if kind == "sha256" else "sha1", b"other").hexdigest()
    record.write_text(json.dumps(known))
    with pytest.raises(ValueError, match="was kept: remove me/small from .*small.json") as failure:
        fetch(record)
    assert one_line(failure) and path.read_bytes() == CONTENTS[name]
    record.unlink()
    assert fetch(record)[name] == path


def test_a_file_of_the_wrong_name_is_removed_and_only_that(server, record):
    paths = fetch(record)
    blob_of(paths[WEIGHTS]).write_bytes(b"cut")
    with pytest.raises(ValueError, match="model.safetensors has 3 bytes instead of .*; it was removed, run again"):
        fetch(record)
    assert not paths[WEIGHTS].exists() and paths["config.json"].exists()
    server.requests.clear()
    assert fetch(record)[WEIGHTS].read_bytes() == CONTENTS[WEIGHTS]
    assert server.fetched(WEIGHTS) == 1 and not server.fetched("config.json")


def test_a_file_whose_name_tells_nothing_is_kept(server, record):
    path = fetch(record)[WEIGHTS]
    path.unlink()
    path.write_bytes(b"somebody's own")
    with pytest.raises(
        ValueError, match=r"does not tell whether it is whole: remove .*model.safetensors and run again"
    ):
        fetch(record)
    assert path.read_bytes() == b"somebody's own"


def test_a_link_that_leads_elsewhere_loses_nothing(server, record, tmp_path):
    path = fetch(record)[WEIGHTS]
    (tmp_path / "elsewhere").write_bytes(b"somebody's own")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="does not tell whether it is whole"):
        fetch(record)
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "small.json is not valid JSON"),
        (json.dumps({REPO: {"main": {"commit": MAIN}}}), "small.json: what it says of me/small@main is not whole"),
        (json.dumps({REPO: {"main": {"commit": MAIN, "files": {"x": {"size": 1}}}}}), "is not whole; remove me/small"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(server, record, content, message):
    record.parent.mkdir()
    record.write_text(content)
    with pytest.raises(ValueError, match=message):
        fetch(record)


def test_a_mirror_that_gives_no_etag_is_not_called_unreachable(server, record, monkeypatch):
    fetch(record)
    shutil.rmtree(hubcache.folder())
    server.failing = 403
    with pytest.raises(ValueError, match="forbids access to me/small"):
        fetch(record)
    server.failing = 404
    with pytest.raises(FileNotFoundError, match="is not in the cache and .* does not give it"):
        fetch(record)


# Whole pipelines


def test_a_pipeline_of_which_the_cache_lacks_a_part_is_not_taken_for_whole(tmp_path):
    root = tmp_path / "pipeline"
    (root / "unet").mkdir(parents=True)
    (root / "model_index.json").write_text("{}")
    (root / "unet/config.json").write_text("{}")

    def select(names: list[str]) -> list[str]:
        return select_pipeline(names, None, ["unet", "vae"])

    with pytest.raises(FileNotFoundError, match="has no vae, which its model_index.json names"):
        Repository("local", str(root), None, tmp_path / "record").take(select)


# What is told at once, and what is left


def test_without_the_hub_all_that_is_lacking_is_named(server, record, monkeypatch):
    fetch(record)
    for name in ("README.md", WEIGHTS):
        path = hubcache.folder() / "models--me--small/snapshots" / MAIN / name
        blob_of(path).unlink()
        path.unlink()
    go_offline(monkeypatch)
    with pytest.raises(hub.Missing, match="README.md, unet/model.safetensors are not in the cache") as failure:
        fetch(record)
    assert "config.json" not in one_line(failure) and failure.value.errno is None


@pytest.mark.parametrize("content", ["[1]", '"x"', "3", '{"me/small": 1}', '{"me/small": {"main": 1}}', "[" * 9999])
def test_a_record_of_another_shape_is_named_with_what_to_do(server, record, content):
    record.parent.mkdir()
    record.write_text(content)
    with pytest.raises(ValueError, match=r"small.json is .*: restore it \('git checkout .*small.json'") as failure:
        fetch(record)
    assert one_line(failure)


def test_a_listing_that_is_recorded_bad_says_how_to_have_the_mended_one(server, record):
    weights = server.repositories[REPO] / WEIGHTS
    content = weights.read_bytes()
    weights.unlink()
    with pytest.raises(ValueError, match=f"^{WEIGHTS} is missing$"):
        fetch(record)
    weights.write_bytes(content)
    server.commits[REPO] = "b" * 40
    with pytest.raises(ValueError, match=r"if the repository was mended since, remove me/small from .*small.json"):
        fetch(record)
    known = json.loads(record.read_text())
    del known[REPO]
    record.write_text(json.dumps(known))
    assert fetch(record)[WEIGHTS].read_bytes() == content


def test_what_a_killed_download_left_is_swept_and_what_a_living_one_writes_is_not(server, record):
    from filelock import FileLock

    blobs = hubcache.folder() / "models--me--small/blobs"
    blobs.mkdir(parents=True)
    for name in ("dead.0123abcd.incomplete", "alive.0123abcd.incomplete"):
        (blobs / name).write_bytes(b"half")
    locks = hubcache.folder() / ".locks/models--me--small"
    locks.mkdir(parents=True)
    with FileLock(locks / "alive.lock"):
        fetch(record)
    assert [path.name for path in blobs.glob("*.incomplete")] == ["alive.0123abcd.incomplete"]
    fetch(record)
    assert not list(blobs.glob("*.incomplete"))


def test_a_network_that_goes_between_two_files_is_one_line_and_the_next_run_completes(server, record):
    server.gone_after = 4  # the listing, and the first file
    with pytest.raises((ValueError, FileNotFoundError), match="config.json.*run again") as failure:
        fetch(record)
    assert one_line(failure)
    server.gone_after = None
    server.requests.clear()
    assert list(fetch(record)) == NAMES
    assert not server.fetched("README.md") and server.fetched("config.json") == 1
