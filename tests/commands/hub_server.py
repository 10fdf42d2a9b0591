"""As much of the Hugging Face hub as huggingface_hub asks for when it pushes a folder: accounts, repositories, files, large files, commits."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

TOKEN = "hf_planted4f7a9c2e8b1d6035planted4f7"
COMMIT = "c" * 40


class HubServer:
    """Listens on the loopback device until it is closed. `repositories` maps KIND/OWNER/NAME to files; `private` says what was asked of each."""

    def __init__(self, *, may_write: bool = True) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.private: dict[str, bool] = {}
        self.large: dict[str, bytes] = {}
        self.commits: list[list[str]] = []
        self.may_write = may_write
        self.seen: list[str] = []
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": self}))
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def environment(self, home: Path) -> dict[str, str]:
        """The variables by which huggingface_hub takes this server for the hub. Its storage Xet is another service, which this one has not."""
        return {"HF_ENDPOINT": self.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: ClassVar[HubServer]

    def do_GET(self) -> None:
        self.hub.seen.append(f"GET {self.path}")
        if self.path == "/api/whoami-v2":
            self.answer(200, {"type": "user", "name": "me", "orgs": [], "auth": {}}) if self.is_known() else self.refuse(401, "Invalid credentials")
        elif found := re.match(r"/api/(model|dataset)s/([^/]+/[^/?]+)(/tree/main)?", self.path):
            kind, name, tree = found.groups()
            files = self.hub.repositories.get(f"{kind}/{name}")
            if files is None:
                self.refuse(404, "Repository not found", "RepoNotFound")
            elif tree:
                self.answer(200, [{"type": "file", "path": path, "size": len(content), "oid": digest(content)} for path, content in files.items()])
            else:
                self.answer(200, {"id": name, "sha": COMMIT, "siblings": [], "private": False, "tags": []})
        elif found := re.match(r"/(datasets/)?([^/]+/[^/]+)/resolve/(?:main|c{40})/(.+)", self.path):
            content = self.hub.repositories[f"{'dataset' if found[1] else 'model'}/{found[2]}"][found[3]]
            self.send(200, content, {"ETag": f'"{digest(content)}"', "X-Repo-Commit": COMMIT})
        else:
            self.refuse(404, f"nothing is at {self.path}")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        body = self.body()
        self.hub.seen.append(f"POST {self.path}")
        if not self.is_known():
            self.refuse(401, "Invalid credentials")
        elif self.path == "/api/repos/create":
            self.create(json.loads(body))
        elif self.path == "/api/validate-yaml":  # of the card, before it is sent
            self.answer(200, {"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            modes = {True: "lfs", False: "regular"}
            shown = [{"path": each["path"], "uploadMode": modes[each["path"].endswith(".safetensors")], "shouldIgnore": False} for each in files]
            self.answer(200, {"files": shown})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            actions = [{**each, "actions": {"upload": {"href": f"{self.hub.address}/large/{each['oid']}"}}} for each in objects]
            self.answer(200, {"transfer": "basic", "objects": actions})
        elif found := re.match(r"/api/(model|dataset)s/([^/]+/[^/]+)/commit/main", self.path):
            self.commit(f"{found[1]}/{found[2]}", [json.loads(line) for line in body.splitlines()])
        else:
            self.refuse(404, f"nothing is at {self.path}")

    def do_PUT(self) -> None:
        content = self.body()
        self.hub.large[self.path.rpartition("/")[2]] = content
        self.answer(200, {})

    def create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('type', 'model')}/{asked.get('organization') or 'me'}/{asked['name']}"
        if not self.hub.may_write:
            self.refuse(403, "You don't have the rights to create a model under the namespace")
        elif name in self.hub.repositories:
            url = f"{self.hub.address}/{name.partition('/')[2]}"
            self.answer(409, {"error": "You already created this repo", "url": url})
        else:
            self.hub.repositories[name] = {".gitattributes": b"*.safetensors filter=lfs\n"}
            self.hub.private[name] = asked.get("visibility") == "private" or bool(asked.get("private"))
            self.answer(200, {"url": f"{self.hub.address}/{name.partition('/')[2]}"})

    def commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        files = self.hub.repositories[name]
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.hub.large[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                files[value["path"]] = content
            elif line["key"] == "deletedFile":
                del files[value["path"]]
        self.hub.commits.append([f"{line['key']} {line['value'].get('path', '')}".strip() for line in lines])
        url = f"{self.hub.address}/{name.partition('/')[2]}/commit/{COMMIT}"
        self.answer(200, {"commitUrl": url, "commitOid": COMMIT, "success": True})

    def is_known(self) -> bool:
        return self.headers.get("Authorization", "") == f"Bearer {TOKEN}"

    def body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, content: Any) -> None:
        self.send(status, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, message: str, code: str = "") -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": message}).encode(), {"Content-Type": "application/json", **headers})

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for each in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(*each)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


def digest(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()
