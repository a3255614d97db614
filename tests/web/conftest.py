"""The whole HTTP side over a scripted engine, without a socket, a thread or time that passes."""

from __future__ import annotations

import http.client
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from llamatw.capi.fake import FakeEngine
from llamatw.engine.pump import Pump
from llamatw.engine.service import EngineService
from llamatw.settings import EngineSettings, WebSettings
from llamatw.web.site import make_site


class FakePool:
    """Does its work at once."""

    def callInThreadWithCallback(self, done: Callable[..., Any], work: Callable[..., Any], *args: Any) -> None:
        try:
            result = work(*args)
        except Exception:
            done(False, Failure())
        else:
            done(True, result)


class FakeReactor(Clock):
    def callFromThread(self, f: Callable[..., Any], *args: Any, **kw: Any) -> None:
        f(*args, **kw)

    def getThreadPool(self) -> FakePool:
        return FakePool()


class Transport(StringTransport):
    """Knows that it was cut off."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True
        self.loseConnection()


class Reply:
    """A parsed response; `events` are the data: payloads of a stream."""

    def __init__(self, raw: bytes, method: str) -> None:
        class Socket:
            def makefile(self, *_: object) -> io.BytesIO:
                return io.BytesIO(raw)

        response = http.client.HTTPResponse(Socket(), method=method)  # type: ignore[arg-type]
        response.begin()
        self.status = response.status
        self.headers = response.headers
        try:
            self.body = response.read()
        except http.client.IncompleteRead as error:
            self.body = error.partial

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        lines = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]

    def error(self, status: int, param: str | None = None) -> dict[str, Any]:
        assert self.status == status, self.body
        assert self.headers["content-type"].startswith("application/json")
        error = self.json["error"]
        assert error["code"] == status
        assert error["message"]
        assert error["param"] == param
        return dict(error)


class Connection:
    """One client's connection."""

    def __init__(self, server: Server) -> None:
        self._left = False
        self.transport = Transport(peerAddress=IPv4Address("TCP", "192.0.2.1", 4711))
        self.protocol = server.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4711))
        self.protocol.makeConnection(self.transport)

    def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> Connection:
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.protocol.dataReceived("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        return self

    def leave(self) -> None:
        if not self._left:
            self._left = True
            self.protocol.connectionLost(Failure(ConnectionDone()))

    def reply(self, method: str = "GET") -> Reply:
        return Reply(self.transport.value(), method)


class Server:
    """A site over a fake engine; `engine.say` is what it answers."""

    def __init__(self, ready: bool = True, **settings: Any) -> None:
        engine_settings = EngineSettings(model_path="fake.gguf", n_ctx=1024, n_seqs=2, max_queue=3)
        self.reactor = FakeReactor()
        self.engine = FakeEngine(msgspec.structs.replace(engine_settings, n_seqs=3))  # one more than lanes
        self.pump = Pump()
        self.service = EngineService(
            engine_settings,
            self.reactor,
            opener=FakeEngine.opener(self.engine),
            spawn=self.pump,
            clock=self.reactor.seconds,
        )
        self.connections: list[Connection] = []
        self.site = make_site(self.service, WebSettings(**settings), self.reactor)
        self.service.startService()
        if ready:
            self.pump.run()

    def connect(self) -> Connection:
        self.connections.append(Connection(self))
        return self.connections[-1]

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        self.reactor.advance(0)
        connection = self.connect().send(method, path, body, **headers)
        self.pump.run()
        return connection.reply(method)

    def get(self, path: str, **headers: str) -> Reply:
        return self.request("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, **headers)

    @property
    def n_busy(self) -> int:
        self.pump.run(1)
        return self.service.snapshot().n_processing


@pytest.fixture
def make_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    """Server, with what its clients left open closed at the end."""
    monkeypatch.setattr("llamatw.web.compiling._REST", 0)  # processor time is real, the reactor's is not
    servers: list[Server] = []

    def make(ready: bool = True, **settings: Any) -> Server:
        servers.append(Server(ready, **settings))
        return servers[-1]

    yield make
    for server in servers:
        for connection in server.connections:
            connection.leave()


@pytest.fixture
def server(make_server: Callable[..., Server]) -> Server:
    return make_server()
