"""The HTTP site: what holds for every request; behind it the routes and the page.

connection (Channel) -> Intake (body limit, prefix) -> Gate (Host, Origin, key) -> Klein routes -> page
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from klein import Klein
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
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
    Unauthorized,
    UnsupportedMedia,
)
from llamatw.settings import WebSettings
from llamatw.web import admin, completions, infill, metrics, models, native, openai, openapi, props, slots
from llamatw.web.access import AccessLog, request_id
from llamatw.web.api import Api, Request, answer_error, handle_errors, is_known
from llamatw.web.assets import Assets, takes_gzip
from llamatw.web.bounds import MAX_BODY_BYTES, max_connections
from llamatw.web.channel import Channel
from llamatw.web.generation import Generation
from llamatw.web.origins import Origins

_log = Logger(namespace="llamatw")

_URL = re.compile(rb"https?://([^/]*)", re.IGNORECASE)
_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS")


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

    def __init__(
        self, inner: Resource, keys: Keys, origins: Origins, api_paths: frozenset[str], assets: Assets | None
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inner = inner
        self._keys = keys
        self._origins = origins
        self._api_paths = api_paths
        self._assets = assets

    def render(self, request: Request) -> Any:
        _add_common_headers(request)
        self._origins.add_headers(request)
        if request.method == b"OPTIONS":
            return self._origins.preflight(request)
        error = self._refusal(request)
        if error:
            return answer_error(request, error)
        if not request.path:
            return _add_slash(request)
        return self._inner.render(request)  # type: ignore[no-untyped-call]

    def _refusal(self, request: Request) -> LlamatwError | None:
        if request.method not in _METHODS:
            return MethodNotAllowed("this method is not served")
        if not request.is_path or _path(request) is None:
            return BadRequest("what is asked for must be a path, in UTF-8")
        return self._origins.refusal(request) or self._stranger(request) or _unreadable(request)

    def _stranger(self, request: Request) -> LlamatwError | None:
        owner = 0 if self._is_open(request) else self._keys.owner(request)
        if owner is None:
            return Unauthorized("Invalid API Key")
        request.owner = owner
        return NotFound("File Not Found: all paths begin with --api-prefix") if request.is_outside else None

    def _is_open(self, request: Request) -> bool:
        """Health, the API's description and the page's files need no key; a file cannot hide a route."""
        path = _path(request)
        if request.method not in (b"GET", b"HEAD") or path is None or request.is_outside:
            return False
        if path in openapi.OPEN_PATHS:
            return True
        return self._assets is not None and path not in self._api_paths and self._assets.find(path) is not None


class Intake(TwistedRequest):
    """A request whose body is refused as soon as it is known to be too long."""

    owner = 0  # number of its API key
    n_received = 0  # bytes of the body
    is_path = True  # what is asked for
    is_outside = False  # of --api-prefix
    _refused = False

    def gotLength(self, length: int | None) -> None:
        self.generations: list[Generation] = []  # what the engine does for it
        self.id = request_id(self.getHeader(b"x-request-id"))
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
            self._find_path()
            self._remove_prefix()
            super().process()  # type: ignore[no-untyped-call]

    def _find_path(self) -> None:
        """Of a whole URL, as proxies are asked for, the host counts and not the header.  Twisted answers "*" itself."""
        whole = _URL.match(self.path)
        if whole:
            self.requestHeaders.setRawHeaders(b"host", [whole[1]])
            self.path = self.path[whole.end() :] or b"/"
        self.is_path = self.path.startswith(b"/")
        self.path = self.path if self.is_path else b"/"

    def _remove_prefix(self) -> None:
        """Routes and files know nothing of --api-prefix.  By itself it leaves an empty path."""
        site: Any = self.channel
        prefix = site.site.api_prefix
        self.is_outside = self.path != (prefix or None) and not self.path.startswith(prefix + b"/")
        if not self.is_outside:
            self.path = self.path[len(prefix) :]

    def _refuse(self) -> None:
        self._refused = True
        channel: Any = self.channel
        channel.refuse(413, f"the body has more than {MAX_BODY_BYTES} bytes")


class LlamaSite(Site):
    """Bounds its connections, writes down each exchange and knows how many are open."""

    protocol: Any = Channel
    requestFactory = Intake
    displayTracebacks = False

    def __init__(self, resource: Resource, settings: WebSettings, reactor: Any) -> None:
        super().__init__(resource, timeout=None, reactor=reactor)  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self.api_prefix = settings.api_prefix.encode()
        self._timeout_s = settings.timeout_s
        self._access = AccessLog(settings, reactor)
        self._max_connections = max_connections()
        self._n_connections = 0
        self._n_open = 0
        self._idle: list[Deferred[None]] = []

    def buildProtocol(self, addr: Any) -> Any:
        """None, which hangs up, when there are too many."""
        if self._n_connections >= self._max_connections:
            _log.warn("there are {n} connections: one more is closed", n=self._n_connections)
            return None
        channel: Any = super().buildProtocol(addr)  # type: ignore[no-untyped-call]
        channel.timeout_s = self._timeout_s
        self._n_connections += 1
        channel.when_lost = self._lost
        return channel

    def getResourceFor(self, request: Request) -> Any:
        self._n_open += 1
        request.began = self._reactor.seconds()
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

    def _lost(self) -> None:
        self._n_connections -= 1

    def _closed(self, request: Request, result: object) -> None:
        self._n_open -= 1
        self._access.record(request, has_left=result is not None)
        if not self._n_open:
            waiting, self._idle = self._idle, []
            for deferred in waiting:
                deferred.callback(None)


def make_site(engine: EngineService, settings: WebSettings, reactor: Any) -> LlamaSite:
    """Everything that HTTP needs, put together."""
    app = Klein()
    app.url_map.merge_slashes = False
    api = Api(engine, settings, reactor)
    roots = [Path(settings.path)] if settings.path else []
    assets = Assets(*roots, paths.webroot()) if settings.ui else None
    handle_errors(app, api)
    for dialect in (admin, models, props, metrics, slots, native, infill, openai, completions, openapi):
        dialect.add_routes(app, api)
    api_paths = frozenset(rule.rule for rule in app.url_map.iter_rules())
    if assets:
        _add_page(app, api, assets)
    origins = Origins(settings.cors, settings.allowed_hosts)
    gate = Gate(app.resource(), Keys(settings.api_keys), origins, api_paths, assets)
    return LlamaSite(gate, settings, reactor)


def _add_page(app: Klein, api: Api, assets: Assets) -> None:
    @app.route("/", methods=["GET"])
    @app.route("/<path:name>", methods=["GET"])
    async def page(request: Request, name: str = "") -> bytes:
        asset = assets.find(f"/{name}")
        if asset is None:
            raise NotFound("File Not Found")
        if takes_gzip(request.getHeader(b"accept-encoding")):
            asset = asset.gzipped()
        request.setHeader(b"content-type", asset.content_type.encode())
        request.setHeader(b"cache-control", b"no-cache")  # kept, but asked about each time
        request.setHeader(b"vary", b"Origin, Accept-Encoding")
        if is_known(request, asset.etag.encode()):
            return b""
        data = await api.run(asset.read, asset.size if asset.is_gzip else 0)
        if asset.is_gzip:
            request.setHeader(b"content-encoding", b"gzip")
        request.setHeader(b"content-length", b"%d" % len(data))
        return data


def _add_slash(request: Request) -> bytes:
    """The page's links begin where its own path ends."""
    _, mark, query = request.uri.partition(b"?")
    request.setResponseCode(308)
    request.setHeader(b"location", request.site.api_prefix + b"/" + mark + query)
    request.setHeader(b"content-length", b"0")
    return b""


def _add_common_headers(request: Request) -> None:
    request.setHeader(b"server", b"llamatw")
    request.setHeader(b"x-content-type-options", b"nosniff")
    request.setHeader(b"x-request-id", request.id.encode())


def _unreadable(request: Request) -> LlamatwError | None:
    encodings = request.requestHeaders.getRawHeaders(b"content-encoding", [])
    if any(encoding.lower() != b"identity" for encoding in encodings):
        return UnsupportedMedia("the body must not be compressed")
    if request.content_type.lower().startswith(b"multipart/"):
        return UnsupportedMedia("the body must be JSON")
    return None


def _path(request: Request) -> str | None:
    """As Klein will see it; None when it cannot."""
    try:
        return unquote_to_bytes(request.path).decode()
    except UnicodeDecodeError:
        return None


def _offered_keys(request: Request) -> list[bytes]:
    bearer = request.requestHeaders.getRawHeaders(b"authorization", [])
    keys = [value[7:] for value in bearer if value[:7].lower() == b"bearer "]
    return keys + list(request.requestHeaders.getRawHeaders(b"x-api-key", []))


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
