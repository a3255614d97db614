"""EventStream: the only writer of streamed bytes.

Frames go out while the client reads.  When it does not, send() waits, the text stays in the engine's streams until the
sequence rests, and a client that takes nothing for too long is cut off.  A silent stream gets a comment now and then,
so that proxies and clients know it is alive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer  # type: ignore[import-untyped]

PING_S = 15
WATCH_S = 1.0  # how often a reader that has stopped is looked at
MAX_STALL_S = 60.0
_PING = b": ping\n\n"


class Clock(Protocol):
    def callLater(self, delay: float, f: Callable[..., object], *args: object) -> Any: ...
    def seconds(self) -> float: ...


def frame(payload: bytes) -> bytes:
    return b"data: %s\n\n" % payload


DONE = frame(b"[DONE]")


@implementer(IPushProducer)
class EventStream:
    """Usage: open(); await send(frame) ...; close().  A reader that takes nothing for max_stall_s is cut off."""

    def __init__(
        self,
        request: Any,
        clock: Clock,
        *,
        ping_s: int | None = None,
        max_stall_s: float = MAX_STALL_S,
    ) -> None:
        self._request = request
        self._clock = clock
        self._ping_s = PING_S if ping_s is None else ping_s
        self._max_stall_s = max_stall_s
        self._paused_since: float | None = None
        self._readers_return: list[Deferred[None]] = []
        self._ping: Any = None
        self._watch: Any = None
        self._ended = False

    def open(self) -> None:
        """Sends the headers at once: a long prompt shall not look like a dead server."""
        headers = self._request.responseHeaders
        headers.setRawHeaders(b"content-type", [b"text/event-stream"])
        headers.setRawHeaders(b"cache-control", [b"no-cache"])
        headers.setRawHeaders(b"x-accel-buffering", [b"no"])
        self._request.registerProducer(self, True)
        self._request.notifyFinish().addBoth(lambda _: self._end())
        self._write(b"")

    async def send(self, data: bytes) -> None:
        """Writes when the reader is ready for it."""
        while self._paused_since is not None:
            returned: Deferred[None] = Deferred()
            self._readers_return.append(returned)
            await returned
        self._write(data)

    def close(self) -> None:
        """No more frames; what has been written still goes out."""
        self._end()
        self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        if self._paused_since is None:
            self._paused_since = self._clock.seconds()
            self._watch = self._clock.callLater(WATCH_S, self._look)

    def resumeProducing(self) -> None:
        self._paused_since = None
        _cancel(self._watch)
        waiting, self._readers_return = self._readers_return, []
        for returned in waiting:
            if not returned.called:
                returned.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; the request's own Deferred tells the route."""
        self._end()

    def _write(self, data: bytes) -> None:
        if self._ended:
            return
        self._request.write(data)
        if self._ping is not None and self._ping.active():
            self._ping.reset(self._ping_s)  # a tenth of what a new one costs, and each token has one
        elif self._ping_s > 0:
            self._ping = self._clock.callLater(self._ping_s, self._send_ping)

    def _send_ping(self) -> None:
        self._write(_PING if self._paused_since is None else b"")

    def _look(self) -> None:
        assert self._paused_since is not None
        stalled = self._clock.seconds() - self._paused_since
        if stalled > self._max_stall_s:
            self._request.channel.transport.abortConnection()
        else:
            self._watch = self._clock.callLater(WATCH_S, self._look)

    def _end(self) -> None:
        self._ended = True
        _cancel(self._ping)
        _cancel(self._watch)


def _cancel(call: Any) -> None:
    if call is not None and call.active():
        call.cancel()
