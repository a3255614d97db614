"""A real twistd process and what tests do to it: requests, streams, sockets that misbehave, a look at its slots."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
NOTHING: Mapping[str, str] = {}
PATIENCE_S = 120.0  # nothing here is about speed


def start(cwd: Path, *argv: str, environment: Mapping[str, str] = NOTHING, **streams: Any) -> subprocess.Popen[str]:
    """`twistd -n llama ...` of this checkout; environment: what it has beside ours."""
    run = "import sys; from twisted.scripts.twistd import run; run()"
    words = [sys.executable, "-c", run, "-n", "--pidfile=", "llama", *argv]
    return subprocess.Popen(words, cwd=cwd, env={**ENVIRONMENT, **environment}, text=True, **streams)


@contextlib.contextmanager
def serving(cwd: Path, *argv: str, environment: Mapping[str, str] = NOTHING) -> Iterator[Server]:
    """A running server, stopped at the end; its log goes to a file, since nobody would empty a pipe."""
    log = cwd / "server.log"
    with log.open("w") as out:
        process = start(cwd, "--port", "0", *argv, environment=environment, stdout=out, stderr=subprocess.STDOUT)
    try:
        until(lambda: "listening on http://" in log.read_text() or process.poll() is not None, "the server listens")
        assert process.poll() is None, log.read_text()
        announced = next(line for line in log.read_text().splitlines() if "listening on http://" in line)
        yield Server(process, int(announced.rsplit(":", 1)[1]), log)
    finally:
        process.terminate()
        process.wait(60)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{PATIENCE_S:g} s were not enough until {what}")
        time.sleep(0.01)


class Server:
    def __init__(self, process: subprocess.Popen[str], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
        """Status and decoded JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, data, headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())

    def complete(self, body: dict[str, Any]) -> Any:
        status, answer = self.ask("POST", "/completion", body)
        assert status == 200, answer
        return answer

    def stream(self, body: dict[str, Any]) -> list[Any]:
        """The events of a streamed completion."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("POST", "/completion", json.dumps({**body, "stream": True}))
            reply = connection.getresponse()
            assert reply.status == 200, reply.read()
            lines = reply.read().split(b"\n")
        return [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]

    def connect(self, data: bytes = b"") -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        peer.sendall(data)
        return peer

    def post(self, path: str, body: object) -> socket.socket:
        """Sends a request and reads no answer."""
        return self.connect(request_bytes(path, json.dumps(body).encode()))

    def wait_for_health(self, status: int) -> Any:
        """The body of /health, once the model has been loaded or refused."""
        answers: list[tuple[int, Any]] = []

        def settled() -> bool:
            answers.append(self.ask("GET", "/health"))
            return answers[-1][1]["status"] != "loading model"

        until(settled, "the model has been loaded")
        assert answers[-1][0] == status, answers[-1]
        return answers[-1][1]

    def busy(self) -> list[Any]:
        """The lanes that work, as /slots shows them."""
        return [slot for slot in self.ask("GET", "/slots")[1] if slot["is_processing"]]


def request_bytes(path: str, body: bytes) -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body)


def hang_up(peer: socket.socket) -> None:
    peer.close()


def reset(peer: socket.socket) -> None:
    """Leaves without a word: the server gets a RST."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def half_close(peer: socket.socket) -> None:
    peer.shutdown(socket.SHUT_WR)
