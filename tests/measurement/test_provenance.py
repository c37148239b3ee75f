import datetime
import subprocess

import pytest

from stages.measurement import provenance


def git(*arguments):
    who = ("-c", "user.name=someone", "-c", "user.email=someone@example.org")
    subprocess.run(["git", *who, *arguments], check=True, capture_output=True)


def test_a_checkout_tells_its_commit_and_whether_files_were_changed_since(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    (tmp_path / "params.yaml").write_text("model: {}\n")
    git("add", "params.yaml")
    git("commit", "-qm", "Begin")
    found = provenance.measured()
    assert datetime.date.fromisoformat(found["date"]) and len(found["commit"]) == 7 and found["project"] is None
    (tmp_path / "params.yaml").write_text("model: {a: 1}\n")
    git("remote", "add", "origin", "https://someone:secret@example.org/owner/pocketxl.git")
    assert provenance.measured() | {"date": None} == {
        "date": None, "commit": f"{found['commit']} with changes", "project": "https://example.org/owner/pocketxl",
    }  # fmt: skip


def test_a_folder_that_is_no_checkout_tells_the_day_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert provenance.measured() | {"date": None} == {"date": None, "commit": None, "project": None}


@pytest.mark.parametrize(
    "remote", ["git@example.org:owner/pocketxl.git", "/home/someone/pocketxl", "file:///srv/x", ""]
)
def test_a_remote_without_a_page_is_not_shown(remote):
    assert provenance.page(remote) is None
