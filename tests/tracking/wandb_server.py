"""As much of a W&B server as a run without artifacts needs: it takes curves and summaries, and says what it has of a run that goes on."""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer:
    """Listens on the loopback device until it is closed; `history` and `summary` hold what arrived."""

    def __init__(self, resumed_at: dict[str, float] | None = None) -> None:
        self.history: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.views: list[dict[str, Any]] = []
        self.resumed_at = resumed_at
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer({})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
                if self.path == "/graphql":
                    self.answer({"data": owner.data(body)})
                else:
                    owner.take(body)
                    self.answer({})

            def answer(self, content: dict[str, Any]) -> None:
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def data(self, body: dict[str, Any]) -> dict[str, Any]:
        operation = body.get("operationName") or next(iter(re.findall(r"(?:query|mutation) (\w+)", body.get("query", ""))), "")
        if operation == "UpsertView2":
            self.views.append(body["variables"])
            return {"upsertView": {"view": {"id": "Vmlldzox", "name": body["variables"]["name"]}, "inserted": True}}
        if "iewer" in body.get("query", ""):
            return {
                "viewer": {
                    "id": "u",
                    "username": "me",
                    "name": "me",
                    "email": "",
                    "entity": "me",
                    "admin": False,
                    "flags": "{}",
                    "deletedAt": None,
                    "apiKeys": {"edges": []},
                    "teams": {"edges": []},
                }
            }
        project = {"id": "p", "name": "cotexp", "entity": {"id": "e", "name": "me"}}
        bucket: dict[str, Any] = {"id": "b", "name": "x", "displayName": "d", "config": "{}", "historyLineCount": 0, "project": project}
        if operation == "UpsertBucket":
            return {"upsertBucket": {"bucket": bucket, "inserted": self.resumed_at is None}}
        if operation == "RunResumeStatus":
            return {"model": {**project, "bucket": bucket | self._known() if self.resumed_at else None}}
        if operation == "CreateRunFiles":
            return {"createRunFiles": {"runID": "x", "uploadHeaders": [], "files": []}}
        return {}

    def _known(self) -> dict[str, Any]:
        """What W&B says of a run that exists: its lines and its summary."""
        last = json.dumps(self.resumed_at | {"_step": 1, "_runtime": 1})
        lines = {"historyLineCount": 2, "eventsLineCount": 0, "logLineCount": 0}
        return {**lines, "summaryMetrics": last, "historyTail": json.dumps([last]), "eventsTail": "[]", "tags": [], "wandbConfig": '{"t": 1}'}

    def take(self, body: dict[str, Any]) -> None:
        files = body.get("files") or {}
        self.history += [json.loads(line) for line in files.get("wandb-history.jsonl", {}).get("content", [])]
        for line in files.get("wandb-summary.json", {}).get("content", []):
            self.summary = json.loads(line)
