import pytest


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Not where the tests were started: after `make repro` there are figures and a cache, which would be told of."""
    monkeypatch.chdir(tmp_path)
