"""A server of chat completions that fails as real ones do, with a record of every request; runs as a process of its own.

    python fault_server.py '{"latency": 0.02, "shares": {"too_many": 0.1}}'

prints its port, which is "port" if that is given. The prompt names the row. What befalls a request is decided by hashes of (seed, row, how often
the row was asked), so a run can be repeated; `filtered` and `length` are decided by the row alone. GET /requests gives the record, GET /counts a
summary.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import random
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from typing import Any

FAULTS = {"too_many": 0.10, "server_error": 0.05, "reset": 0.02, "hang": 0.01, "invalid": 0.01, "no_choice": 0.01, "busy": 0.0}
"""Shares of the requests that meet each fault, unless told otherwise; "busy" is a refusal that never says how long to wait."""
OUTCOMES = {"filtered": 0.01, "length": 0.01}
"""Shares of the rows."""
REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests", 500: "Internal Server Error"}


class Server:
    def __init__(
        self,
        *,
        latency: float = 0.02,
        seed: int = 0,
        shares: dict[str, float] | None = None,
        fixed: dict[str, Any] | None = None,
        text: str | None = None,
        context: dict[str, Any] | None = None,
        unknown_fields: dict[str, Any] | None = None,
        thinks: bool = False,
    ) -> None:
        """`thinks`: answers are those of `thinking_model`, whose tokens are words here, with reasoning in a field and a context of 256.

        `unknown_fields` is {"status", "body", "names"}: a request with a field of these names is refused so, the names in place of NAMES or FIRST.

        `fixed` maps parts of a prompt to what is answered in every case, {"status", "body", "headers"}; `text` is every other answer.

        A body that is a text is sent as it is. `context` is {"length", "said"}: prompts and tokens asked for that do not fit are refused so.
        """
        self.latency, self.seed, self.fixed, self.text, self.context = latency, seed, fixed or {}, text, context
        self.unknown_fields = unknown_fields
        if thinks:
            said = "This model's maximum context length is {length} tokens. However, your request has {prompt} input tokens."
            self.context = {"length": 256, "said": said}
        self.thinks = thinks
        shares = {**FAULTS, **OUTCOMES} if shares is None else shares
        self.faults = {name: share for name, share in shares.items() if name in FAULTS}
        self.outcomes = {name: share for name, share in shares.items() if name in OUTCOMES}
        self.requests: list[dict[str, Any]] = []
        self.times_asked: Counter[str] = Counter()
        self.in_flight = self.most_in_flight = 0

    def drawn(self, shares: dict[str, float], *words: object) -> str | None:
        """The name on which a number drawn for `words` falls."""
        digest = hashlib.sha256("/".join(map(str, (self.seed, *words))).encode()).digest()
        number, total = int.from_bytes(digest[:6], "big") / 2**48, 0.0
        for name, share in shares.items():
            total += share
            if number < total:
                return name
        return None

    async def answer(self, connection: Connection, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        row = body["messages"][-1]["content"]
        self.times_asked[row] += 1
        number = self.times_asked[row]
        kind = self.drawn(self.faults, "fault", row, number) or self.drawn(self.outcomes, "outcome", row) or "ok"
        record = {"row": row, "arrived": time.time(), "kind": kind, "not_before": 0.0, "answered": None}
        record |= (
            {"body": body, "path": path, "headers": headers, "authorization": headers.get("authorization")}
            if self.fixed or self.context or self.unknown_fields
            else {}
        )
        secret = headers.get("authorization")
        self.requests.append(record)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency)
            self.reply(connection, record, number, secret)
            if kind == "hang":
                await connection.closed.wait()
        finally:
            self.in_flight -= 1

    def reply(self, connection: Connection, record: dict[str, Any], number: int, secret: str | None) -> None:
        """Servers of this kind repeat the key in their errors."""
        row, kind = record["row"], record["kind"]
        fixed = next((value for part, value in self.fixed.items() if part in row), None)
        if fixed is not None:
            body = json.loads(json.dumps(fixed["body"]).replace("SECRET", str(secret)))
            body = body.encode() if isinstance(body, str) else body
            headers = fixed.get("headers", {})
            if headers.get("Content-Encoding") == "gzip":
                body = gzip.compress(body if isinstance(body, bytes) else json.dumps(body).encode())
            connection.send(fixed["status"], body, headers)
        elif self.unknown_fields is not None and (names := [each for each in self.unknown_fields["names"] if each in record["body"]]):
            said = json.dumps(self.unknown_fields["body"]).replace("{NAMES}", str(set(names))).replace("FIRST", names[0])
            connection.send(self.unknown_fields["status"], json.loads(said))
        elif self.context is not None and (said := self.too_long(row, record["body"])):
            connection.send(400, {"error": {"message": said, "type": "BadRequestError", "code": 400}})
        elif kind == "too_many":
            headers = {}
            form = ("seconds", "date", "nothing")[hashlib.sha256(f"{row}/{number}".encode()).digest()[0] % 3]
            now = time.time()
            if form == "seconds":
                headers, record["not_before"] = {"Retry-After": "1"}, now + 1
            elif form == "date":
                until = int(now) + 2
                headers, record["not_before"] = {"Retry-After": formatdate(until, usegmt=True)}, until
            connection.send(429, {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}, headers)
        elif kind == "busy":
            connection.send(429, {"error": {"message": "Too many requests", "type": "requests", "code": "rate_limit_exceeded"}})
        elif kind == "server_error":
            connection.send((500, 502, 503)[number % 3], {"error": {"message": f"The server had an error with {secret}"}})
        elif kind == "reset":
            connection.reset(completion(row, "stop"))
        elif kind == "invalid":
            connection.send(200, b'{"choices": [{"message": {"content": "cut o')
        elif kind == "no_choice":
            connection.send(200, {**completion(row, "stop"), "choices": []})
        elif self.thinks:
            record["answered"] = time.time()
            connection.send(200, thought_and_said(record["body"]))
        elif kind == "filtered":
            record["answered"] = time.time()
            connection.send(200, completion(row, "content_filter", text=""))
        elif kind in ("length", "ok"):
            record["answered"] = time.time()
            connection.send(200, completion(row, "length" if kind == "length" else "stop", self.text))

    def too_long(self, row: str, body: dict[str, Any]) -> str | None:
        """What is said to a request whose prompt, in words, and tokens asked for exceed the context."""
        assert self.context is not None
        length, prompt, limit = self.context["length"], len(row.split()), body.get("max_tokens", body.get("max_completion_tokens", 0))
        said: str = self.context["said"].format(length=length, prompt=prompt, limit=limit, total=prompt + limit, left=length - limit)
        return said if prompt + max(1, limit) > length else None

    def counts(self) -> dict[str, Any]:
        kinds = Counter(each["kind"] for each in self.requests)
        answered = sum(each["answered"] is not None for each in self.requests)
        return {"requests": len(self.requests), "answered": answered, "kinds": kinds, "in_flight": self.in_flight, "most": self.most_in_flight}


def completion(row: str, finish_reason: str, text: str | None = None) -> dict[str, Any]:
    """A chat completion that answers `row`, in tokens that are words."""
    text = f"answer to {row}" if text is None else text
    usage = {"prompt_tokens": len(row.split()), "completion_tokens": len(text.split()), "total_tokens": len(row.split()) + len(text.split())}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish_reason}
    shared = {"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "model-of-today", "system_fingerprint": "fp_1"}
    return {**shared, "choices": [choice], "usage": usage}


def thought_and_said(body: dict[str, Any]) -> dict[str, Any]:
    """What `thinking_model` writes for a request, cut at its limit. A restriction of sampling leaves the likeliest words."""
    rare = ("four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen")
    shares = {"one": 0.4, "two": 0.25, "three": 0.2, **dict.fromkeys(rare, 0.015)}
    if body["temperature"] == 0 or body.get("top_p", 1) < 0.4 or body.get("min_p", 0) > 0.7:
        shares = {"one": 1.0}
    shares = dict(list(shares.items())[: body["top_k"]]) if body.get("top_k", -1) > 0 else shares
    word = random.Random(body.get("seed")).choices(list(shares), list(shares.values()))[0]
    row, tokens = body["messages"][-1]["content"], ["I", " count", " words", "</think>", "It", " is", f" {word}", "."]
    limit = min(body.get("max_tokens", 256), 256 - len(row.split()))
    thought, closed, said = "".join(tokens[:limit]).partition("</think>")
    found = completion(row, "length" if limit <= len(tokens) else "stop", said)
    found["choices"][0]["message"] |= {"content": said if closed else None, "reasoning_content": thought}
    found["usage"]["completion_tokens"] = min(len(tokens) + 1, limit)
    return found


class Connection(asyncio.Protocol):
    """HTTP/1.1 with kept connections and bodies of stated length; one request at a time."""

    def __init__(self, server: Server) -> None:
        self.server, self.received = server, b""
        self.closed = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, rest = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        body, self.received = rest[:length], rest[length:]
        path = first.split()[1]
        if path in ("/requests", "/counts", "/health"):
            self.send(200, self.server.requests if path == "/requests" else self.server.counts())
            return
        task = asyncio.ensure_future(self.server.answer(self, path, json.loads(body), headers))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def send(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        if not self.transport.is_closing():
            self.transport.write(self.message(status, body, headers))

    def message(self, status: int, body: Any, headers: dict[str, str] | None = None) -> bytes:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"Content-Type": "application/json", "Content-Length": str(len(content)), "Date": formatdate(usegmt=True), **(headers or {})}
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content

    def reset(self, body: Any) -> None:
        """Send half of an answer, then a reset in place of the rest."""
        message = self.message(200, body)
        self.transport.write(message[: len(message) - 40])
        connection: socket.socket = self.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


@contextmanager
def served(**options: Any) -> Iterator[str]:
    """The address of such a server in a process of its own, ended with the block."""
    process = subprocess.Popen([sys.executable, __file__, json.dumps(options)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def told(url: str, what: str) -> Any:
    """What the server at `url` says of its requests or counts."""
    with urllib.request.urlopen(f"{url}/{what}") as answer:
        return json.load(answer)


async def main(options: dict[str, Any]) -> None:
    port = options.pop("port", 0)
    server = Server(**options)
    listener = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", port, backlog=1024)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}))
