"""Connections for an Agent: straight, or through the proxy that the environment names.

http_proxy, https_proxy, all_proxy and no_proxy are read as Python's own urllib reads them.  The proxy is asked to
CONNECT, for http as well as https, so it sees no more of a request than whom it is for.
"""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI

from llamatw.errors import ModelError

_MAX_HEAD = 16 << 10  # bytes of the proxy's answer


class Endpoints:
    """An IAgentEndpointFactory.  policy: an IPolicyForHTTPS; timeout_s: seconds to connect."""

    def __init__(self, reactor: Any, policy: Any, timeout_s: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout_s = timeout_s

    def endpointForURI(self, uri: URI) -> Any:
        host = uri.host.decode("ascii")
        straight = HostnameEndpoint(self._reactor, host, uri.port, timeout=self._timeout_s)
        proxy = _proxy(uri.scheme.decode("ascii"), host, uri.port)
        endpoint: Any = self._tunnel(proxy, host, uri.port) if proxy else straight
        if uri.scheme == b"http":
            return endpoint
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), endpoint)

    def _tunnel(self, proxy: str, host: str, port: int) -> Any:
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "") or not parts.hostname:
            raise ModelError("a proxy must be http://HOST:PORT, which the environment's is not")
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {name} HTTP/1.1\r\nHost: {name}\r\n"
        if parts.username is not None:
            secret = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            head += f"Proxy-Authorization: Basic {base64.b64encode(secret).decode()}\r\n"
        there = HostnameEndpoint(self._reactor, parts.hostname, parts.port or 80, timeout=self._timeout_s)
        return _Tunnel(there, f"{head}\r\n".encode())


def _proxy(scheme: str, host: str, port: int) -> str | None:
    if proxy_bypass(f"{host}:{port}"):
        return None
    proxies = getproxies()
    return proxies.get(scheme) or proxies.get("all")


class _Tunnel:
    """Connects as `there` does, and once more, by the proxy, behind it."""

    def __init__(self, there: Any, head: bytes) -> None:
        self._there = there
        self._head = head

    def connect(self, protocolFactory: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: Any) -> Any:
        dialogue = _Dialogue(self._head, factory)
        await self._there.connect(Factory.forProtocol(lambda: dialogue))
        return await dialogue.done


class _Dialogue(Protocol):
    """Until the proxy has said yes; from then on it is what the factory makes."""

    transport: Any

    def __init__(self, head: bytes, factory: Any) -> None:
        self.done: Deferred[Any] = Deferred(lambda _: self._lose())
        self._head = head
        self._factory = factory
        self._answer = b""
        self._inner: Any = None

    def connectionMade(self) -> None:
        self.transport.write(self._head)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if end:
            self._answered(head, rest)
        elif len(head) > _MAX_HEAD:
            self._fail("the proxy does not answer in HTTP")

    def _answered(self, head: bytes, rest: bytes) -> None:
        words = head.split(b"\r\n")[0].decode("latin-1").split(None, 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or words[1] != "200":
            self._fail(f"the proxy refuses to connect: {' '.join(words[1:])[:100]!r}")
            return
        self._inner = self._factory.buildProtocol(None)
        self._inner.makeConnection(self.transport)
        self.done.callback(self._inner)
        if rest:
            self._inner.dataReceived(rest)

    def _fail(self, sentence: str) -> None:
        self.done.errback(ModelError(sentence))
        self._lose()

    def _lose(self) -> None:
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.done.called:
            self.done.errback(reason)
