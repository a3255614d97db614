"""makeService: the parts of the server and how they hang together.

    options -> settings -> EngineService (its own thread) <- LlamaSite <- listening socket
                                         ^ Supervisor -> systemd

The socket is bound before twistd daemonises, so that a busy port is one line on the terminal; requests are answered as
soon as the reactor runs, and the model is loaded meanwhile.
"""

from __future__ import annotations

import signal
import socket
import time
from threading import Event
from typing import Any

import msgspec
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from llamatw import models
from llamatw.engine.loop import EngineLike
from llamatw.engine.service import EngineService, open_model
from llamatw.options import Options
from llamatw.settings import EngineSettings, Settings, WebSettings
from llamatw.supervisor import Supervisor, notifier
from llamatw.web.site import LlamaSite, make_site

__all__ = ["Options", "makeService"]

_log = Logger(namespace="llamatw")

_FLUSH_S = 0.05  # after the last answer: the kernel takes the bytes before the reactor drops the connections
_DRAIN_S = 10.0  # for answers in flight; the engine's own grace time is shorter
_BACKLOG = 511
_ACCEPTED_OPTIONS = [  # accepted sockets inherit them: a peer that vanished without a word is found within a minute
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 30),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 60_000),
        )
        if hasattr(socket, name)
    ),
]


def makeService(options: Options) -> MultiService:
    """What the plugin names: the whole server."""
    from twisted.internet import reactor  # twistd has installed the one it wants by now

    reactor.callWhenRunning(_end_well_on_sigterm, reactor)
    return build(options.settings, reactor, listening_socket(options.settings.web))


def build(settings: Settings, reactor: Any, listener: socket.socket) -> MultiService:
    engine = EngineService(settings.engine, reactor, opener=find_and_open)
    site = make_site(engine, settings.web, reactor)
    server = MultiService()  # type: ignore[no-untyped-call]
    WebService(site, listener, reactor).setServiceParent(server)  # type: ignore[no-untyped-call]
    engine.setServiceParent(server)  # type: ignore[no-untyped-call]
    Supervisor(engine, notifier(), reactor).setServiceParent(server)  # type: ignore[no-untyped-call]
    return server


class WebService(Service):
    """Serves the site on a bound socket.  Stopping it waits for the answers that are on their way."""

    def __init__(self, site: LlamaSite, listener: socket.socket, reactor: Any) -> None:
        self._site = site
        self._socket = listener
        self._reactor = reactor
        self._port: Any = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        address, port = self._socket.getsockname()[:2]
        host = f"[{address}]" if ":" in address else address
        self._port = self._reactor.adoptStreamPort(self._socket.fileno(), self._socket.family, self._site)
        self._socket.close()  # the port has its own copy
        _log.info("listening on http://{host}:{port}", host=host, port=port)

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
        idle = self._site.idle()
        patience = self._reactor.callLater(_DRAIN_S, idle.cancel)
        await DeferredList([idle], consumeErrors=True)
        if patience.active():
            patience.cancel()
        flushed: Deferred[None] = Deferred()
        self._reactor.callLater(_FLUSH_S, flushed.callback, None)
        await flushed


def _end_well_on_sigterm(reactor: Any) -> None:
    """Being told to stop is no failure: twistd alone would end by the signal.  A second one ends at once."""

    def stop(signum: int, frame: object) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        reactor.callFromThread(reactor.stop)

    signal.signal(signal.SIGTERM, stop)


def listening_socket(settings: WebSettings) -> socket.socket:
    """Bound and listening; a busy port or an unknown host ends the process with one line."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option, value in _ACCEPTED_OPTIONS:
            listener.setsockopt(level, option, value)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        reason = error.strerror or error
        raise SystemExit(f"twistd llama: cannot listen on {settings.host}:{settings.port}: {reason}") from None
    return listener


def find_and_open(settings: EngineSettings, progress: Any) -> EngineLike:
    """In the engine's thread: the model's file, fetched if need be, then the engine."""
    path = models.resolve(settings.model_path or None, cancel=_Cancelled(progress))
    return open_model(msgspec.structs.replace(settings, model_path=str(path)), progress)


class _Cancelled(Event):
    """The load's own cancel flag, as models.resolve wants it."""

    def __init__(self, progress: Any) -> None:
        super().__init__()
        self._progress = progress

    def is_set(self) -> bool:
        return bool(self._progress.cancelled)

    def wait(self, timeout: float | None = None) -> bool:
        time.sleep(timeout or 0)
        return self.is_set()
