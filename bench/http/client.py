"""Connections to the server under test: bytes out, and a note of what came in when.  Nothing is parsed here."""

from __future__ import annotations

import asyncio
import socket
import struct
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bench.http.answer import Answer, read

KEYS = [f"bench-{n}" for n in range(9)]  # API keys of a server that is started here; everybody's is the first
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends RST


class Exchange(asyncio.Protocol):
    """One connection for one request.  Clock readings in seconds of perf_counter."""

    def __init__(self) -> None:
        self.started = perf_counter()
        self.pieces: list[tuple[float, bytes]] = []  # as they came from the system
        self.ended = False
        self._transport: asyncio.Transport | None = None
        self._news: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.pieces.append((perf_counter(), data))
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self._tell()

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    async def received(self, n_pieces: int) -> None:
        """Returns when so many pieces have come, or the connection has ended.  One caller at a time."""
        while len(self.pieces) < n_pieces and not self.ended:
            self._news = asyncio.get_running_loop().create_future()
            await self._news

    async def finish(self) -> Exchange:
        """Returns when the connection has ended."""
        while not self.ended:
            await self.received(len(self.pieces) + 1)
        return self

    def answer(self) -> Answer:
        """What has come so far.  Takes its time: not for while something is measured."""
        return read(self.started, self.pieces)

    async def leave(self, *, reset: bool = False) -> None:
        """Closes at once, whatever is still to come: with FIN, or with RST."""
        if self._transport is not None and not self.ended:
            if reset:
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()
        await self.finish()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


class Client:
    """Of the server at http://HOST:PORT."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/"):
            raise ValueError(f"{url!r} is not of the form http://HOST:PORT")
        self._host, self._port = parts.hostname, parts.port or 80

    async def open(self, data: bytes = b"") -> Exchange:
        """A new connection with these bytes sent; one that could not be made has ended without a piece."""
        exchange = Exchange()
        try:
            await asyncio.get_running_loop().create_connection(lambda: exchange, self._host, self._port)
        except OSError:
            exchange.ended = True
        else:
            exchange.send(data)
        return exchange

    async def run(self, data: bytes) -> Exchange:
        """To its end."""
        return await (await self.open(data)).finish()

    async def ask(self, method: str, path: str, body: object = None) -> Answer:
        return (await self.run(request(method, path, body))).answer()

    async def value(self, method: str, path: str, body: object = None) -> Any:
        """The decoded JSON of an answer that must be 200."""
        answer = await self.ask(method, path, body)
        if answer.status != 200 or not answer.complete:
            raise RuntimeError(f"{method} {path}: status {answer.status}, {answer.body[:200]!r}")
        return msgspec.json.decode(answer.body)


def request(method: str, path: str, body: object = None, key: str = KEYS[0]) -> bytes:
    """Bytes of a request after which the server closes.  body: anything that JSON can say."""
    data = b"" if body is None else msgspec.json.encode(body)
    head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\nAuthorization: Bearer {key}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
