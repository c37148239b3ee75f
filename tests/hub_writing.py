"""The half of the loopback Hub that takes files: repositories made, large files uploaded, commits of all the rest.

`with WritingHub(folder, writers={"hf_good": {"me"}}) as hub:`; tokens may write to what their owners have. Faults can
be switched on: connections cut within an upload, a status in the place of an answer, a commit by somebody else between.
`received` counts the bytes of large files that came, by SHA-256.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
import struct
from collections import Counter
from pathlib import Path

from tests.hub_server import LARGE, Handler, HubServer, _etag

PREUPLOAD = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/preupload/main")
BATCH = re.compile(r"/([\w.-]+/[\w.-]+)\.git/info/lfs/objects/batch")
COMMIT = re.compile(r"/api/models/([\w.-]+/[\w.-]+)/commit/main")
OBJECT = re.compile(r"/objects/([0-9a-f]{64})")


class WritingHub(HubServer):
    def __init__(self, folder: Path, writers: dict[str, set[str]]) -> None:
        super().__init__({})
        self.folder, self.writers = folder, writers
        self.tokens = {token: set() for token in writers}
        self.objects: dict[str, bytes] = {}
        self.received: Counter[str] = Counter()
        self.cut_uploads: dict[str, list[int]] = {}  # bytes after which each try to upload an object is cut, by SHA-256
        self.refusing: dict[
            str, int
        ] = {}  # status by the first word of what is asked: create, preupload, batch, commit
        self.committed: list[list[dict]] = []  # lines of every commit
        self.handler = WritingHandler

    def make(self, repository: str, private: bool = True, **files: bytes) -> Path:
        """A repository that is there already."""
        root = self.folder / repository
        root.mkdir(parents=True)
        (root / ".gitattributes").write_text("*.bin filter=lfs\n")
        for name, content in files.items():
            (root / name).write_bytes(content)
        self.repositories[repository] = root
        self.private |= {repository} if private else set()
        self.commits[repository] = hashlib.sha1(repository.encode()).hexdigest()
        for token, owners in self.writers.items():
            self.tokens[token] |= {repository} if repository.split("/")[0] in owners else set()
        return root


class WritingHandler(Handler):
    hub: WritingHub

    def do_POST(self) -> None:
        self.hub.requests.append((self.command, self.path, None))
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = self.path.split("?")[0]
        if path == "/api/validate-yaml":
            self._reply({"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self._create(json.loads(content))
        elif found := PREUPLOAD.fullmatch(path):
            self._may("preupload", found[1]) and self._modes(found[1], json.loads(content)["files"])
        elif found := BATCH.fullmatch(path):
            self._may("batch", found[1]) and self._batch(json.loads(content)["objects"])
        elif found := COMMIT.fullmatch(path):
            self._may("commit", found[1]) and self._commit(found[1], content)
        else:
            self._reply({}, 404)

    def do_PUT(self) -> None:
        digest, size = OBJECT.fullmatch(self.path.split("?")[0])[1], int(self.headers["Content-Length"])
        self.hub.requests.append((self.command, self.path, None))
        cuts = self.hub.cut_uploads.get(digest, [])
        cut = cuts.pop(0) if cuts else None
        content = self.rfile.read(size if cut is None else min(cut, size))
        self.hub.received[digest] += len(content)
        if cut is not None:  # not a word more: the client finds its connection reset
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        assert hashlib.sha256(content).hexdigest() == digest
        self.hub.objects[digest] = content
        self._reply({})

    def _reply(self, answer: dict, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(answer).encode(), {"Content-Type": "application/json"} | headers, True, status)

    def _may(self, doing: str, repository: str) -> bool:
        """Whether the asker may write there; else the refusal is sent."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        owners = self.hub.writers.get(token)
        status = self.hub.refusing.get(doing) or (401 if owners is None else 0)
        status = status or (403 if repository.split("/")[0] not in owners else 0)
        if status:
            self._reply({"error": f"no, {status}"}, status)
        return not status

    def _create(self, asked: dict) -> None:
        repository = f"{asked['organization']}/{asked['name']}"
        if not self._may("create", repository):
            return
        if repository in self.hub.repositories:
            self._reply({"error": "You already created this model repo"}, 409)
            return
        self.hub.make(repository, private=asked.get("visibility") == "private")
        self._reply({"url": f"{self.hub.endpoint}/{repository}"})

    def _modes(self, repository: str, files: list[dict]) -> None:
        root, said = self.hub.repositories[repository], []
        for file in files:
            there = root / file["path"]
            oid = _etag(there.read_bytes(), file["path"]) if there.is_file() else None
            mode = "lfs" if file["path"].endswith(LARGE) else "regular"
            said.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._reply({"files": said})

    def _batch(self, objects: list[dict]) -> None:
        answer = [{name: one[name] for name in ("oid", "size")} for one in objects]
        for one in answer:
            if one["oid"] not in self.hub.objects:
                href = f"{self.hub.endpoint}/objects/{one['oid']}?signature=secret"
                one["actions"] = {"upload": {"href": href}}
        self._reply({"transfer": "basic", "objects": answer})

    def _commit(self, repository: str, content: bytes) -> None:
        lines = [json.loads(line) for line in content.splitlines()]
        if lines[0]["value"].get("parentCommit") not in (None, self.hub.commits[repository]):
            self._reply({"error": "a commit has happened since"}, 412)
            return
        root = self.hub.repositories[repository]
        for line in lines[1:]:
            self._apply(root, line["key"], line["value"])
        self.hub.committed.append(lines)
        commit = hashlib.sha1(f"{repository} {len(self.hub.committed)}".encode()).hexdigest()
        self.hub.commits[repository] = commit
        url = f"{self.hub.endpoint}/{repository}/commit/{commit}"
        self._reply({"commitUrl": url, "commitOid": commit, "success": True})

    def _apply(self, root: Path, kind: str, said: dict) -> None:
        path = root / said["path"]
        if kind == "deletedFile":
            path.unlink()
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.hub.objects[said["oid"]] if kind == "lfsFile" else base64.b64decode(said["content"]))
