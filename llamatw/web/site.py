"""The HTTP site: limits on what comes in, keys, CORS, the access log; behind it the routes and the page.

connection -> Intake (body limit) -> Gate (CORS, key) -> Klein routes -> page
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import Request as TwistedRequest
from twisted.web.server import Site

from llamatw import paths
from llamatw.engine.service import EngineService
from llamatw.errors import (
    BadRequest,
    LlamatwError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
    UnsupportedMedia,
)
from llamatw.settings import WebSettings
from llamatw.web import admin, completions, infill, metrics, models, native, openai, props, reply, slots
from llamatw.web.api import Api, Request, answer_error, handle_errors
from llamatw.web.assets import Assets

_access_log = Logger(namespace="llamatw.access")

MAX_BODY_BYTES = 32 << 20
_OPEN_PATHS = ("/health", "/v1/health")
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")
_LINGER_S = 2.0  # between refusing a body and hanging up, so that the client reads why


class Keys:
    """API keys, kept as digests; no keys: everybody may."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    def owner(self, request: Request) -> int | None:
        """The number of the key that is offered; None for none or a wrong one; 0 where no keys are needed."""
        if not self._digests:
            return 0
        numbers = [self._number(_digest(key)) for key in _offered_keys(request)]
        return numbers[0] if numbers and all(numbers) else None

    def _number(self, digest: bytes) -> int:
        """1 for the first key, 0 for none.  Compares with every key, always: the time does not tell which one was
        nearly right."""
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return matches.index(True) + 1 if True in matches else 0


class Gate(Resource):
    """In front of all resources: what holds for every request."""

    isLeaf = True

    def __init__(self, inner: Resource, keys: Keys, api_paths: frozenset[str], assets: Assets) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner
        self._keys = keys
        self._api_paths = api_paths
        self._assets = assets

    def render(self, request: Request) -> Any:
        _add_common_headers(request)
        if request.method == b"OPTIONS":
            return _preflight(request)
        error = self._refusal(request)
        return answer_error(request, error) if error else self._inner.render(request)  # type: ignore[no-untyped-call]

    def _refusal(self, request: Request) -> LlamatwError | None:
        if request.method not in _METHODS:
            return MethodNotAllowed("this method is not served")
        if _path(request) is None:
            return BadRequest("the path is not UTF-8")
        owner = 0 if self._is_open(request) else self._keys.owner(request)
        if owner is None:
            return Unauthorized("Invalid API Key")
        request.owner = owner
        encoding = request.getHeader(b"content-encoding")
        if encoding not in (None, b"identity"):
            return UnsupportedMedia("the body must not be compressed")
        if request.content_type.lower().startswith(b"multipart/"):
            return UnsupportedMedia("the body must be JSON")
        return None

    def _is_open(self, request: Request) -> bool:
        """Health and the page's files need no key; a file cannot hide a route."""
        path = _path(request)
        if request.method not in (b"GET", b"HEAD") or path is None:
            return False
        return path in _OPEN_PATHS or (path not in self._api_paths and self._assets.find(path) is not None)


class Intake(TwistedRequest):
    """A request whose body is refused as soon as it is known to be too long."""

    owner = 0  # number of its API key
    n_received = 0  # bytes of the body
    _refused = False

    def gotLength(self, length: int | None) -> None:
        self.content_type = self.getHeader(b"content-type") or b""
        self.requestHeaders.removeHeader(b"content-type")  # or Twisted would parse forms; our bodies are JSON
        super().gotLength(None if length is None else min(length, MAX_BODY_BYTES))  # type: ignore[no-untyped-call]
        if length is not None and length > MAX_BODY_BYTES:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        self.n_received += len(data)
        if self._refused:
            return
        if self.n_received > MAX_BODY_BYTES:
            self._refuse()
        else:
            super().handleContentChunk(data)  # type: ignore[no-untyped-call]

    def process(self) -> None:
        if not self._refused:
            super().process()  # type: ignore[no-untyped-call]

    def _refuse(self) -> None:
        """Answers over the head of the body that is still coming, then drops what comes."""
        self._refused = True
        body = reply.encode(reply.error_body(PayloadTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes")))
        head = (
            b"HTTP/1.1 413 Payload Too Large\r\nContent-Type: application/json; charset=utf-8\r\n"
            b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        channel: Any = self.channel
        channel.transport.write(head + body)
        channel.callLater(_LINGER_S, channel.loseConnection)


class LlamaSite(Site):
    """Logs one line per exchange and knows how many are open."""

    requestFactory = Intake
    displayTracebacks = False

    def __init__(self, resource: Resource, timeout_s: int, reactor: Any) -> None:
        super().__init__(resource, timeout=timeout_s, reactor=reactor)  # type: ignore[no-untyped-call]
        self._n_open = 0
        self._idle: list[Deferred[None]] = []

    def getResourceFor(self, request: Request) -> Any:
        self._n_open += 1
        request.notifyFinish().addBoth(lambda result: self._closed(request, result))
        return super().getResourceFor(request)  # type: ignore[no-untyped-call]

    def idle(self) -> Deferred[None]:
        """Fires when no exchange is open."""
        if not self._n_open:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._idle.append(waiting)
        return waiting

    def log(self, request: Request) -> None:
        """Twisted's own log line is not written: it comes only for requests that were answered to the end."""

    def _closed(self, request: Request, result: object) -> None:
        self._n_open -= 1
        _access_log.info(
            "{client} {method} {path} {status} {sent} bytes{end}",
            client=getattr(request.getClientAddress(), "host", "?"),
            method=_printable(request.method),
            path=_printable(request.path),
            status=request.code,
            sent=request.sentLength,
            end="" if result is None else " (the client left)",
        )
        if not self._n_open:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)


def make_site(engine: EngineService, settings: WebSettings, reactor: Any) -> LlamaSite:
    """Everything that HTTP needs, put together."""
    app = Klein()
    app.url_map.merge_slashes = False
    api = Api(engine, settings, reactor)
    assets = Assets(Path(settings.path) if settings.path else paths.webroot())
    handle_errors(app, api)
    for dialect in (admin, models, props, metrics, slots, native, infill, openai, completions):
        dialect.add_routes(app, api)
    api_paths = frozenset(rule.rule for rule in app.url_map.iter_rules())
    _add_page(app, assets)
    gate = Gate(app.resource(), Keys(settings.api_keys), api_paths, assets)
    return LlamaSite(gate, settings.timeout_s, reactor)


def _add_page(app: Klein, assets: Assets) -> None:
    @app.route("/", methods=["GET"])
    @app.route("/<path:name>", methods=["GET"])
    def page(request: Request, name: str = "") -> bytes:
        asset = assets.find(f"/{name}")
        if asset is None:
            raise NotFound("File Not Found")
        request.setHeader(b"content-type", asset.content_type.encode())
        request.setHeader(b"cache-control", b"no-cache")  # kept, but asked about each time
        if request.setETag(asset.etag.encode()) is CACHED:
            return b""
        data = asset.read()
        request.setHeader(b"content-length", b"%d" % len(data))
        return data


def _add_common_headers(request: Request) -> None:
    request.setHeader(b"server", b"llamatw")
    request.setHeader(b"x-content-type-options", b"nosniff")
    origin = request.getHeader(b"origin")
    if origin is not None:
        request.setHeader(b"access-control-allow-origin", origin)
        request.setHeader(b"vary", b"Origin")


def _path(request: Request) -> str | None:
    """As Klein will see it; None when it cannot."""
    try:
        return unquote_to_bytes(request.path).decode()
    except UnicodeDecodeError:
        return None


def _preflight(request: Request) -> bytes:
    request.setHeader(b"access-control-allow-credentials", b"true")
    request.setHeader(b"access-control-allow-methods", b"GET, POST, DELETE, OPTIONS")
    # With credentials a browser takes "*" literally, so what it asks for is named.
    asked = request.getHeader(b"access-control-request-headers")
    request.setHeader(b"access-control-allow-headers", asked or b"*")
    request.setHeader(b"content-length", b"0")
    return b""


def _offered_keys(request: Request) -> list[bytes]:
    bearer = request.requestHeaders.getRawHeaders(b"authorization", [])
    keys = [value[7:] for value in bearer if value[:7].lower() == b"bearer "]
    return keys + list(request.requestHeaders.getRawHeaders(b"x-api-key", []))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _printable(value: bytes) -> str:
    return ascii(value[:200].decode("latin-1"))[1:-1]
