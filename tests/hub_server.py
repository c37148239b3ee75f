"""A Hub on this machine's loopback: folders served as repositories the way huggingface_hub asks for them.

Answers model info with sizes and hashes, and `resolve` with ETag, X-Repo-Commit, Content-Length and Range. Faults can
be switched on: a byte flipped in a file, a connection cut after some bytes, a file that never comes, a repository that
is gated or private, an answer that `answer` has changed, a server error, silence after some requests. Every request is
kept in `requests`. tests.hub_writing adds what takes files.
"""

import hashlib
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

MODEL_INFO = re.compile(r"/api/models/([\w.-]+/[\w.-]+?)(?:/revision/([\w.-]+))?")
RESOLVE = re.compile(r"/([\w.-]+/[\w.-]+)/resolve/([0-9a-f]{40})/(.+)")
COMMIT = re.compile(r"[0-9a-f]{40}")
LARGE = (".safetensors", ".bin")  # what the Hub keeps in LFS


class HubServer:
    """`with HubServer({"me/model": folder}) as hub:` and HF_ENDPOINT=hub.endpoint."""

    handler: type["Handler"]

    def __init__(self, repositories: dict[str, Path]) -> None:
        self.repositories = repositories
        self.commits = dict.fromkeys(repositories, "a" * 40)
        self.extra_names: list[str] = []
        self.renamed: dict[str, str] = {}
        self.private: set[str] = set()
        self.gated: set[str] = set()  # listed for everybody, as on the Hub; only files are refused
        self.tokens: dict[str, set[str]] | None = None  # what each may read; None lets any token pass
        self.answer: Callable[[dict], object] = lambda info: info
        self.gone_after: int | None = None  # requests, after which nobody answers
        self.failing = 0  # status of every answer, where it is not 0
        self.flipped: set[str] = set()
        self.stalled: set[str] = set()
        self.stalling, self._closing = threading.Event(), threading.Event()
        self.cut_after: dict[str, list[int]] = {}
        self.requests: list[tuple[str, str, str | None]] = []

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (self.handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def stand_in(self, monkeypatch: Any, cache: Path) -> None:
        """Let huggingface_hub ask here, in this process, with a cache of its own and without pauses."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        template = f"{self.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setattr("time.sleep", lambda _: None)

    def stall(self) -> None:
        """Tell that a stalled file was asked for, and keep the asker waiting."""
        self.stalling.set()
        self._closing.wait()

    def fetched(self, name: str) -> int:
        """How many times the file's bytes were asked for."""
        return sum(method == "GET" and path.endswith(f"/{name}") for method, path, _ in self.requests)


class Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, body: bool) -> None:
        self.hub.requests.append((self.command, self.path, self.headers.get("Range")))
        path = self.path.split("?")[0]
        if self.hub.gone_after is not None and len(self.hub.requests) > self.hub.gone_after:
            self.close_connection = True
        elif self.hub.failing:
            self._send(b"{}", {}, body, status=self.hub.failing)
        elif found := MODEL_INFO.fullmatch(path):
            self._answer_listing(found[1], found[2] or "main", body)
        elif found := RESOLVE.fullmatch(path):
            self._answer_file(*found.groups(), body)
        else:
            self._send(b"{}", {"X-Error-Code": "RepoNotFound"}, body, status=404)

    def _answer_listing(self, repo: str, revision: str, body: bool) -> None:
        if status := self._refused(repo, gated=False):
            self._send(b"{}", self._reason, body, status)
        elif repo in self.hub.renamed:
            self._send(b"", {"Location": self.path.replace(repo, self.hub.renamed[repo])}, body, status=307)
        else:
            answer = self.hub.answer(self._info(repo, revision))
            content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self._send(content, {"Content-Type": "application/json"}, body)

    def _answer_file(self, repo: str, commit: str, name: str, body: bool) -> None:
        if status := self._refused(repo, gated=True):
            self._send(b"{}", self._reason, body, status)
        elif repo in self.hub.renamed:
            self._send(b"", {"Location": self.path.replace(repo, self.hub.renamed[repo])}, body, status=307)
        elif (file := self.hub.repositories[repo] / name).is_file():
            self._send_file(file, name, commit, body)
        else:
            self._send(b"{}", {"X-Error-Code": "EntryNotFound"}, body, status=404)

    def _refused(self, repo: str, gated: bool) -> int:
        """Status of a refusal with its headers in `_reason`, 0 where the asker may read."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        tokens = self.hub.tokens
        if token and tokens is not None and token not in tokens:
            self._reason = {"X-Error-Message": "Invalid credentials in Authorization header"}
            return 401
        if repo not in {*self.hub.repositories, *self.hub.renamed}:
            self._reason = {"X-Error-Code": "RepoNotFound"}
            return 404
        if repo in (tokens or {}).get(token, ()):
            return 0
        self._reason = {"X-Error-Code": "RepoNotFound" if repo in self.hub.private else "GatedRepo"}
        return (403 if token else 401) if repo in self.hub.private or (gated and repo in self.hub.gated) else 0

    def _info(self, repo: str, revision: str) -> dict:
        root = self.hub.repositories[repo]
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
        siblings = [_sibling(root / name, name) for name in names]
        siblings += [{"rfilename": name, "size": 1, "blobId": "0" * 40} for name in self.hub.extra_names]
        commit = revision if COMMIT.fullmatch(revision) else self.hub.commits[repo]
        return {"id": repo, "sha": commit, "siblings": siblings, "tags": [], "private": repo in self.hub.private}

    def _send_file(self, file: Path, name: str, commit: str, body: bool) -> None:
        content = file.read_bytes()
        headers = {"ETag": f'"{_etag(content, name)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if name in self.hub.flipped:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(re.match(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-")[1])
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if body and name in self.hub.stalled:
            self.hub.stall()
        cuts = self.hub.cut_after.get(name, [])
        cut = cuts.pop(0) if body and cuts else None
        self._send(content[start:], headers, body, status=206 if start else 200, cut=cut)

    def _send(
        self, content: bytes, headers: dict[str, str], body: bool, status: int = 200, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


HubServer.handler = Handler


def _sibling(path: Path, name: str) -> dict:
    content = path.read_bytes()
    facts: dict = {"rfilename": name, "size": len(content), "blobId": _blob_id(content)}
    if name.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        facts["lfs"] = {"size": len(content), "sha256": digest, "pointerSize": 130}
    return facts


def _etag(content: bytes, name: str) -> str:
    return hashlib.sha256(content).hexdigest() if name.endswith(LARGE) else _blob_id(content)


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
