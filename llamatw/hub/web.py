"""One request: redirects followed by hand, the token shown to the hub alone, failures in words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import urljoin, urlsplit

from OpenSSL import SSL
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet import error
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import UNKNOWN_LENGTH

from llamatw import __version__
from llamatw.errors import ModelError, UsageMistake
from llamatw.hub import names
from llamatw.hub.job import Patience
from llamatw.hub.tunnel import Endpoints

MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)

T = TypeVar("T")


class Transient(ModelError):
    """It may go well the next time."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s  # what the host asks for


class Web:
    """endpoint: whom the token is for."""

    def __init__(self, reactor: Any, endpoint: str, token: str | None, patience: Patience) -> None:
        self.reactor = reactor
        self.patience = patience
        self._origin = names.origin(endpoint)
        self._token = token
        policy: Any = BrowserLikePolicyForHTTPS()  # type: ignore[no-untyped-call]
        pool: Any = HTTPConnectionPool(reactor, persistent=False)  # type: ignore[no-untyped-call]
        endpoints = Endpoints(reactor, policy, patience.connect_s)
        agent: Any = Agent.usingEndpointFactory(reactor, endpoints, pool)  # type: ignore[no-untyped-call]
        verbatim: Any = _Verbatim(agent)
        self._client = HTTPClient(verbatim)

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Any:
        """The response where the redirects end, of status 200, 206 or 416; its body is still to come."""
        for _ in range(MAX_REDIRECTS):
            response = await self._ask(url, headers or {})
            if response.code in (200, 206, 416):
                return response
            self.drop(response)
            if response.code not in _REDIRECTS:
                self._refuse(url, response)
            url = _next(url, header(response, "Location"))
        raise ModelError(f"{_host(url)}: more than {MAX_REDIRECTS} redirects")

    async def receive(self, response: Any, sink: Callable[[bytes], object], limit: int) -> None:
        """The body, at most `limit` bytes of it, to `sink`."""
        receiver = _Receiver(self.reactor, sink, limit, self.patience.stall_s)
        response.deliverBody(receiver)
        await receiver.done

    def drop(self, response: Any) -> None:
        response.deliverBody(_Dropper())

    async def patiently(
        self, attempt: Callable[[], Awaitable[T]], say: Callable[[str], object], n_tries: int | None = None
    ) -> T:
        """What an attempt gives in the end; it raises Transient to be called again, after a pause."""
        for n in range(1, n_tries or self.patience.n_tries):
            try:
                return await attempt()
            except Transient as failure:
                pause = min(max(self.patience.pause_s * 2 ** (n - 1), failure.wait_s), self.patience.max_pause_s)
                say(f"{failure.message}; trying again in {pause:.0f} s")
            await deferLater(self.reactor, pause)
        return await attempt()

    async def _ask(self, url: str, headers: Mapping[str, str]) -> Any:
        own = Headers({"User-Agent": [f"llamatw/{__version__}"], **{name: [text] for name, text in headers.items()}})
        if self._is_trusted(url):
            own.setRawHeaders("Authorization", [f"Bearer {self._token}"])
        try:
            return await self._client.request(
                "GET",
                url,
                headers=own,
                allow_redirects=False,
                unbuffered=True,
                timeout=self.patience.answer_s,
                reactor=self.reactor,
            )
        except CancelledError:
            raise Transient(f"{_host(url)} does not answer") from None
        except Exception as failure:
            bottom = _bottom(failure)
            if isinstance(bottom, ModelError):
                raise bottom from None
            if isinstance(bottom, SSL.Error | VerificationError):
                raise ModelError(f"{_host(url)}: its certificate is not to be trusted: {_reason(bottom)}") from None
            raise Transient(f"{_host(url)} cannot be reached: {_reason(bottom)}") from None

    def _is_trusted(self, url: str) -> bool:
        return self._token is not None and names.origin(url) == self._origin

    def _refuse(self, url: str, response: Any) -> NoReturn:
        code, host = response.code, _host(url)
        what = f"{host}{urlsplit(url).path}"
        if code == 429 or code >= 500:
            raise Transient(f"{host} answers {code}", _seconds(header(response, "Retry-After")))
        if code == 401 and not self._is_trusted(url):
            raise ModelError(f"{what}: no such model, or one that needs a token (401): see -hft and HF_TOKEN")
        if code == 401:
            raise ModelError(f"{what}: the hub does not accept this token (401)")
        if code == 403:
            raise ModelError(f"{what}: not allowed (403): agree to the terms on the model's page, and give a token")
        if code in (404, 410):
            raise ModelError(f"{what}: no such model or file ({code})")
        raise ModelError(f"{what}: unexpected status {code}")


def header(response: Any, name: str) -> str:
    """Empty where it has none."""
    found = response.headers.getRawHeaders(name.encode(), [b""])[0]
    return str(found.decode("latin-1"))


def length(response: Any) -> int | None:
    """Bytes of its body, where it says so."""
    return None if response.length is UNKNOWN_LENGTH else int(response.length)


def _next(url: str, location: str) -> str:
    """Where a redirect leads.  Who asked in secret is not sent on in the open."""
    try:
        target = names.web_address(urljoin(url, location).partition("#")[0])
    except (UsageMistake, ValueError):
        raise ModelError(f"{_host(url)} redirects to something that is no URL") from None
    if url.startswith("https:") and not target.startswith("https:"):
        raise ModelError(f"{_host(url)} redirects from https to http, which is not followed")
    return target


def _host(url: str) -> str:
    return urlsplit(url).netloc


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 9 else 0.0


def _bottom(failure: BaseException) -> BaseException:
    """What lies at the bottom of a failed request."""
    inner = getattr(failure, "reasons", None)
    return _bottom(inner[0].value) if inner else failure


def _reason(failure: BaseException) -> str:
    if isinstance(failure, error.DNSLookupError):
        return "no such host (offline?)"
    if isinstance(failure, error.ConnectError | error.ConnectionClosed):
        return (failure.__doc__ or "").rstrip(".")
    return " ".join(str(failure).split())[:200] or type(failure).__name__


class _Verbatim:
    """treq offers to take compressed bodies; sizes, ranges and digests are those of the file."""

    def __init__(self, agent: Any) -> None:
        self._agent = agent

    def request(self, method: bytes, uri: bytes, headers: Headers | None = None, bodyProducer: Any = None) -> Any:
        plain = headers.copy() if headers else Headers()
        plain.setRawHeaders(b"Accept-Encoding", [b"identity"])
        return self._agent.request(method, uri, plain, bodyProducer)


class _Dropper(Protocol):
    """Nobody wants this body."""

    transport: Any

    def connectionMade(self) -> None:
        self.transport.loseConnection()


class _Receiver(Protocol):
    """A body that comes: `done` when it has ended by itself, failed when it stalls, breaks off or does not end."""

    transport: Any

    def __init__(self, reactor: Any, sink: Callable[[bytes], object], limit: int, stall_s: float) -> None:
        self.done: Deferred[None] = Deferred()
        self._sink = sink
        self._left = limit
        self._stall_s = stall_s
        self._timer = reactor.callLater(stall_s, self._stalled)

    def dataReceived(self, data: bytes) -> None:
        if self.done.called:
            return
        self._left -= len(data)
        if self._left < 0:
            self._end(ModelError("the answer has more bytes than announced"))
            return
        try:
            self._sink(data)
        except OSError as failure:
            self._end(failure)
        else:
            self._timer.reset(self._stall_s)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.done.called:
            return
        is_whole = isinstance(reason.value, ResponseDone | PotentialDataLoss)  # the latter: it had no length
        self._end(None if is_whole else Transient("the connection broke off"))

    def _stalled(self) -> None:
        self._end(Transient(f"nothing came for {self._stall_s:g} s"))

    def _end(self, failure: Exception | None) -> None:
        if self._timer.active():
            self._timer.cancel()
        if failure is None:
            self.done.callback(None)
            return
        self.transport.loseConnection()
        self.done.errback(failure)
