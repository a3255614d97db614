"""makeService: the parts of the server and how they hang together.

    options -> settings -> EngineService (its own thread) <- LlamaSite <- listening socket
                                         ^ Supervisor -> systemd

The socket is bound before twistd daemonises, so that a busy port is one line on the terminal; requests are answered as
soon as the reactor runs, and the model is loaded meanwhile.
"""

from __future__ import annotations

import gc
import signal
import time
from threading import Event
from typing import Any

import msgspec
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from llamatw import models
from llamatw.engine.compiler import Compiler
from llamatw.engine.loop import EngineLike
from llamatw.engine.service import EngineService, open_model
from llamatw.errors import LlamatwError
from llamatw.listen import Listener, open_listeners, remove, wrapped
from llamatw.options import Options
from llamatw.settings import EngineSettings, Settings, WebSettings
from llamatw.supervisor import Supervisor, notifier
from llamatw.text import templates
from llamatw.web import sampling
from llamatw.web.schema import filled
from llamatw.web.site import LlamaSite, make_site

__all__ = ["Options", "makeService"]

_log = Logger(namespace="llamatw")

_FLUSH_S = 0.05  # after the last answer: the kernel takes the bytes before the reactor drops the connections
_DRAIN_S = 10.0  # for answers in flight; the engine's own grace time is shorter


def makeService(options: Options) -> MultiService:
    """What the plugin names: the whole server."""
    from twisted.internet import reactor  # twistd has installed the one it wants by now

    reactor.callWhenRunning(_end_well, reactor)
    check_web(options.settings.web)
    return build(options.settings, reactor, open_listeners(options.settings.web))


def check_web(settings: WebSettings) -> None:
    """What only the web part can judge: defaults of requests, and the template.  Ends the process with one line."""
    try:
        request = filled(settings.defaults)
        sampling.chain(request.samplers or [])
        templates.check(settings.chat_template)
    except LlamatwError as error:
        raise SystemExit(f"twistd llama: {error.message}") from None


def build(settings: Settings, reactor: Any, listeners: list[Listener]) -> MultiService:
    engine = EngineService(
        settings.engine,
        reactor,
        opener=find_and_open,
        prepare=lambda compiler: deferToThreadPool(reactor, reactor.getThreadPool(), _prepare, compiler),
    )
    site = make_site(engine, settings.web, reactor)
    factory = wrapped(site, settings.web)
    server = MultiService()  # type: ignore[no-untyped-call]
    for listener in listeners:
        WebService(site, factory, listener, reactor).setServiceParent(server)  # type: ignore[no-untyped-call]
    _warn_of_openness(listeners, settings.web)
    engine.setServiceParent(server)  # type: ignore[no-untyped-call]
    Supervisor(engine, notifier(), reactor).setServiceParent(server)  # type: ignore[no-untyped-call]
    return server


def _prepare(compiler: Compiler) -> None:
    compiler.prepare()
    gc.collect()
    gc.freeze()  # what lives as long as the server: to look it through for garbage takes longer than a step


def _warn_of_openness(listeners: list[Listener], settings: WebSettings) -> None:
    open_to_others = [listener.name for listener in listeners if not listener.is_local]
    if open_to_others and not settings.api_keys:
        _log.warn(
            "ANYBODY who can reach {where} may use this server, read its slots and change its settings: "
            "there is no --api-key",
            where=", ".join(open_to_others),
        )


class WebService(Service):
    """Serves the site on a bound socket.  Stopping it waits for the answers that are on their way."""

    def __init__(self, site: LlamaSite, factory: Any, listener: Listener, reactor: Any) -> None:
        self._site = site
        self._factory = factory  # the site, or TLS in front of it
        self._listener = listener
        self._reactor = reactor
        self._port: Any = None

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        listener, scheme = self._listener, "http" if self._factory is self._site else "https"
        where = f"{scheme}://{listener.name}" if listener.is_tcp else listener.name
        socket = listener.socket
        self._port = self._reactor.adoptStreamPort(socket.fileno(), socket.family, self._factory)
        socket.close()  # the port has its own copy
        _log.info("listening on {where}", where=where)

    def stopService(self) -> Deferred[None]:
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._drain())

    async def _drain(self) -> None:
        if self._port is not None:
            await self._port.stopListening()
            remove(self._listener)
        idle = self._site.idle()
        patience = self._reactor.callLater(_DRAIN_S, idle.cancel)
        await DeferredList([idle], consumeErrors=True)
        if patience.active():
            patience.cancel()
        flushed: Deferred[None] = Deferred()
        self._reactor.callLater(_FLUSH_S, flushed.callback, None)
        await flushed


def _end_well(reactor: Any) -> None:
    """Being told to stop is no failure: twistd alone would end by the signal.  A second one ends at once."""

    def stop(signum: int, frame: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        reactor.callFromThread(reactor.stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def find_and_open(settings: EngineSettings, progress: Any) -> EngineLike:
    """In the engine's thread: the model's file, fetched if need be, then the engine."""
    path = models.resolve(
        settings.model_path or None,
        remote=settings.remote,
        offline=settings.offline,
        cancel=_Cancelled(progress),
    )
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
