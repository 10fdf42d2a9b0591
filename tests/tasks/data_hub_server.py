"""A small hub of data sets in a process of its own: python data_hub_server.py FOLDER serves FOLDER/OWNER/NAME, and prints its port.

It speaks the part of the hub's protocol that huggingface_hub uses to read: access, revisions, the list of files, and files. A file .gated makes
a data set gated. Its commit is a hash of its content.
"""

from __future__ import annotations

import hashlib
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

ROOT = Path(sys.argv[1])


def files_of(name: str) -> dict[str, bytes]:
    folder = ROOT / name
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file() and path.name != ".gated"}


def commit_of(name: str) -> str:
    return hashlib.sha1(repr(files_of(name)).encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    def log_message(self, *args: Any) -> None:
        pass

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_GET(self) -> None:
        parts = [unquote(each) for each in self.path.partition("?")[0].strip("/").split("/")]
        is_api = parts[0] == "api"
        parts = parts[1:] if is_api else parts
        name, rest = "/".join(parts[1:3]), parts[3:]
        if parts[0] != "datasets" or not (ROOT / name).is_dir():
            return self.answer(401 if is_api else 404, X_Error_Code="RepoNotFound")
        commit = commit_of(name)
        if (ROOT / name / ".gated").is_file() and rest[:1] in (["auth-check"], ["resolve"]):
            return self.answer(403, X_Error_Code="GatedRepo", X_Error_Message="Access to dataset is restricted.")
        if rest[1:] and rest[1] not in ("main", commit):
            return self.answer(404, X_Error_Code="RevisionNotFound")
        if rest[:1] == ["resolve"]:
            return self.file(name, commit, "/".join(rest[2:]))
        if rest[:1] == ["tree"]:
            listed = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files_of(name).items()
            ]
            return self.answer(200, json.dumps(listed).encode(), Content_Type="application/json")
        about = {"id": name, "sha": commit, "private": False, "siblings": [{"rfilename": path} for path in files_of(name)]}
        return self.answer(200, json.dumps(about).encode(), Content_Type="application/json")

    do_HEAD = do_GET

    def file(self, name: str, commit: str, path: str) -> None:
        content = files_of(name).get(path)
        if content is None:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        return self.answer(200, content, ETag=f'"{hashlib.sha1(content).hexdigest()}"', X_Repo_Commit=commit)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(server.server_port, flush=True)
    server.serve_forever()
