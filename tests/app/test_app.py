"""The command itself: a page and a process that draws for it, which may die."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stages.app import fields
from stages.studio import shelf

pytest.importorskip("gradio")
ROOT = Path(__file__).parents[2]


def values(**given: Any) -> list[Any]:
    filled = fields.filled(shelf.find(), "text-to-image", "base") | {"task": "text-to-image", "new_seed": True}
    filled = dict.fromkeys(fields.NAMES) | filled | {"prompt": "owl"} | given
    return [filled[name] for name in fields.NAMES]


def drawer(page: int) -> int:
    import psutil

    (found,) = [one.pid for one in psutil.Process(page).children() if "spawn_main" in " ".join(one.cmdline())]
    return found


def until_it_draws(news: Iterator[dict[str, Any]]) -> None:
    next(told for told in news if re.search(r"step \d+ of 1000", json.dumps(told)))


def has_torch(pid: int) -> bool:
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="what a process has mapped is told by Linux alone")
def test_a_drawing_process_that_is_killed_costs_its_picture_and_the_page_goes_on(root, tmp_path, monkeypatch, capfd):
    from proofs import app as proof

    monkeypatch.chdir(root)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with proof.page() as (page, address):
        client, first = proof.Client(address), drawer(page.pid)
        client.draw(values())
        assert has_torch(first) and not has_torch(page.pid)
        going = client.news(values(steps=1000, width=96, height=96))
        until_it_draws(going)
        os.kill(first, signal.SIGKILL)
        *_, told = going
        said = json.dumps(told)
        assert told["success"] and "the picture is lost: its process was killed (SIGKILL)" in said
        assert "draw it again" in said
        client.draw(values())
        second = drawer(page.pid)
        assert second != first
        going = client.news(values(steps=1000, width=96, height=96))
        until_it_draws(going)
        for pid in (second, page.pid):  # Ctrl-C reaches both
            os.kill(pid, signal.SIGINT)
        assert page.wait(30) == 0
    assert not Path(f"/proc/{second}").exists()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr().err == ""
