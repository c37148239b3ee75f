"""Who is served, what is refused, what is left behind; by plain requests, without a browser."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

from stages.app import serving
from stages.app.guard import Guard

pytest.importorskip("gradio")
PNG = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'


def ask(address: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> tuple[int, str, dict]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers or {}), timeout=30) as answer:
            return answer.status, answer.read().decode(errors="replace"), dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace"), dict(error.headers)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A page of a project that has no IR."""
    with serving.served(SimpleNamespace(), tmp_path_factory.mktemp("empty")) as address:
        yield address


def test_the_page_forbids_itself_to_load_from_or_send_to_anybody(served):
    status, text, headers = ask(served)
    assert status == 200 and "default-src 'self'" in headers["content-security-policy"]
    assert "googleapis" not in text and headers["referrer-policy"] == "no-referrer"
    assert re.findall(r'(?:src|href)="(https?:[^"]+)"', text) == []
    assert json.loads(ask(f"{served}/config")[1])["analytics_enabled"] is False


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Host": "evil.example"}, "not known"),
        ({"Origin": "http://evil.example"}, "another site"),
        ({"Origin": "null"}, "another site"),
    ],
)
def test_another_site_s_request_through_a_reader_s_browser_is_refused(served, headers, said):
    for path in ("/", "/gradio_api/queue/join", "/gradio_api/upload"):
        status, text, _ = ask(served + path, headers, b"{}" if path != "/" else None)
        assert status == 403 and said in text


def test_no_file_but_the_page_s_own_and_no_address_is_handed_out(served):
    for what in ("https://example.org/a.png", "/etc/passwd", str(Path(__file__))):
        assert ask(f"{served}/gradio_api/file={what}")[0] in (403, 404)
    assert ask(f"{served}/gradio_api/proxy=https://example.org/a.png")[0] == 403


def test_an_upload_is_bounded(served):
    body = PNG.encode() + bytes(33_000_000) + b"\r\n--x--\r\n"
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    assert ask(f"{served}/gradio_api/upload", kind, body)[0] == 413


def test_without_an_ir_the_page_says_which_command_makes_one(tmp_path):
    from stages.app.page import Page

    page = Page(SimpleNamespace(), tmp_path, tmp_path / "pictures")
    said = page.opened(SimpleNamespace(session_hash="a", query_params={}))[1]
    assert "make repro" in said and "dvc repro quantize@" in said


def test_what_stop_says_ends_with_what_the_drawing_ended_with(tmp_path):
    from stages.app.page import Page

    page, asked = Page(SimpleNamespace(), tmp_path, tmp_path / "pictures"), SimpleNamespace(session_hash="a")
    session = page.sessions.of("a")
    assert len(list(page.stopped(asked))) == 1  # nothing is drawn: nothing changes
    session.drawing = True
    said = page.stopped(asked)
    assert "Stopping" in next(said) and session.stop.is_set()
    session.word, session.drawing = "Stopped.", False
    session.ended.set()
    assert list(said) == ["Stopped."]


def test_others_are_let_in_by_a_password_alone(tmp_path, monkeypatch):
    monkeypatch.delenv(serving.PASSWORD, raising=False)
    with pytest.raises(ValueError, match=serving.PASSWORD):
        serving.password("0.0.0.0")
    monkeypatch.setenv(serving.PASSWORD, "short")
    with pytest.raises(ValueError, match="at least 12"):
        serving.password("0.0.0.0")
    monkeypatch.setenv(serving.PASSWORD, "a long enough one")
    monkeypatch.setattr(serving, "WRONG_S", 0.0)
    with serving.served(SimpleNamespace(), tmp_path, "0.0.0.0") as address:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert ask(f"{address}/config")[0] == 401 and ask(f"{address}/gradio_api/upload", form, b"x")[0] == 401
        assert ask(f"{address}/login", form, b"username=pocketxl&password=wrong")[0] == 400
        status, _, headers = ask(f"{address}/login", form, b"username=pocketxl&password=a+long+enough+one")
        assert status == 200
        cookie = headers["set-cookie"].partition(";")[0]
        assert ask(f"{address}/config", {"Cookie": cookie})[0] == 200
    assert serving.password("127.0.0.1") is None and serving.is_loopback("::1") and not serving.is_loopback("10.0.0.1")


def test_the_folder_of_pictures_goes_with_the_page_and_a_killed_one_s_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(serving.placing, "scratch", lambda name: tmp_path / "page")
    killed = tmp_path / ".page.partial-killed"
    killed.mkdir()
    before = os.environ.get("GRADIO_TEMP_DIR")
    with serving.served(SimpleNamespace(), tmp_path):
        (folder,) = tmp_path.iterdir()
        assert folder != killed and folder.stat().st_mode & 0o077 == 0
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
    assert list(tmp_path.iterdir()) == [] and os.environ.get("GRADIO_TEMP_DIR") == before


def test_a_taken_port_is_told(served, tmp_path):
    port = int(served.rpartition(":")[2])
    with (
        pytest.raises(ValueError, match=f"port {port} is taken"),
        serving.served(SimpleNamespace(), tmp_path, port=port),
    ):
        pass


def test_the_guard_knows_addresses_and_the_names_that_it_was_given():
    guard = Guard(None, ("Studio.local",))
    assert all(guard.knows(host) for host in ("127.0.0.1", "10.1.2.3:7860", "[::1]:7860", "studio.local:80"))
    assert not any(guard.knows(host) for host in ("", "127.0.0.1.evil.example", "evil.example:7860"))
