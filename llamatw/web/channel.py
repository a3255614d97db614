"""One client's connection: how long each part of a request may take, and heads that are refused before any route.

    idle -> head (first byte) -> body (headers end) -> working (body ends) -> idle

Twisted's own timer starts anew with each byte, so that a byte a minute holds a connection for ever; ours does not.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from llamatw.web import bounds


class Phase(enum.Enum):
    IDLE = enum.auto()
    HEAD = enum.auto()
    BODY = enum.auto()
    WORKING = enum.auto()


class Channel(HTTPChannel):
    """An HTTPChannel that keeps bounds.py.  timeout_s: how long a body may be silent."""

    maxHeaders = bounds.MAX_HEADERS
    totalHeadersSize = bounds.MAX_HEAD_BYTES
    timeOut = None
    timeout_s = 600.0
    when_lost: Callable[[], None]
    factory: Any
    site: Any
    callLater: Any

    def connectionMade(self) -> None:
        self._timer: Any = None
        super().connectionMade()  # type: ignore[no-untyped-call]
        self._enter(Phase.IDLE)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._stop_timer()
        self.when_lost()
        super().connectionLost(reason)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        self._last = self._now()
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        super().dataReceived(data)  # type: ignore[no-untyped-call]

    def lineReceived(self, line: bytes) -> None:
        """One line of a head."""
        if not self._receivedHeaderSize and len(line) > bounds.MAX_URI_BYTES:
            self.refuse(414, "the request line is too long")
        elif (
            self._receivedHeaderSize + len(line) > bounds.MAX_HEAD_BYTES or self._receivedHeaderCount >= self.maxHeaders
        ):
            self.refuse(431, "the headers are too long or too many")
        elif self._receivedHeaderSize and line[:1] in (b" ", b"\t"):
            self.refuse(400, "a header goes over several lines")
        else:
            super().lineReceived(line)  # type: ignore[no-untyped-call]

    def lineLengthExceeded(self, line: bytes) -> None:
        self.refuse(431, "a line of the head is too long")

    def allHeadersReceived(self) -> None:
        problem = _problem(self.requests[-1].requestHeaders, self._version)
        if problem:
            self.refuse(*problem)
        else:
            self._enter(Phase.BODY)
            super().allHeadersReceived()  # type: ignore[no-untyped-call]

    def allContentReceived(self) -> None:
        if self._is_refused:
            return
        self._enter(Phase.WORKING)
        super().allContentReceived()  # type: ignore[no-untyped-call]

    def requestDone(self, request: Any) -> None:
        super().requestDone(request)  # type: ignore[no-untyped-call]
        if self._phase is Phase.WORKING and not self._handlingRequest:
            has_begun = self._buffer or self._receivedHeaderSize
            self._enter(Phase.HEAD if has_begun else Phase.IDLE)

    # ---- times ----

    _phase = Phase.IDLE
    _is_refused = False
    _since = 0.0  # of the phase
    _last = 0.0  # when the last byte came

    def _now(self) -> float:
        return float(self.factory.reactor.seconds())

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self._last = self._now()
        self._arm()

    def _deadline(self) -> float | None:
        """When this phase is over; a body that comes moves its own."""
        if self._phase is Phase.WORKING:
            return None
        if self._phase is not Phase.BODY:
            return self._since + (bounds.IDLE_S if self._phase is Phase.IDLE else bounds.HEAD_S)
        n_received = getattr(self.requests[-1], "n_received", 0) if self.requests else 0
        by_rate = self._since + bounds.BODY_GRACE_S + n_received / bounds.BODY_BYTES_PER_S
        return min(by_rate, self._last + self.timeout_s)

    def _arm(self) -> None:
        self._stop_timer()
        deadline = self._deadline()
        if deadline is not None:
            self._timer = self.callLater(max(deadline - self._now(), 0.0), self._look)

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look(self) -> None:
        deadline = self._deadline()
        if deadline is not None and deadline > self._now() + 1e-6:
            self._arm()
        elif self._phase is Phase.IDLE:
            self.timeoutConnection()  # type: ignore[no-untyped-call]
        else:
            self.refuse(408, "the request took too long to come")

    # ---- refusals ----

    def _respondToBadRequestAndDisconnect(self) -> None:
        """Twisted's own word for a head that it cannot read."""
        self.refuse(400, "this is no HTTP request")

    def refuse(self, status: int, message: str) -> None:
        """Answers over whatever is still coming, then hangs up; once."""
        if self._is_refused:
            return
        self._is_refused = True
        self._stop_timer()
        self._phase = Phase.WORKING
        channel: Any = self
        channel.transport.write(error_response(status, message))
        channel.dataReceived = channel.lineReceived = channel.rawDataReceived = _drop
        channel.setRawMode()
        self._abortingCall = self.callLater(bounds.LINGER_S, self._hang_up)

    def _hang_up(self) -> None:
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()  # type: ignore[no-untyped-call]


def _drop(_: bytes) -> None:
    """What comes after a refusal."""


def _problem(headers: Any, version: bytes) -> tuple[int, str] | None:
    """What is wrong with a head as a whole."""
    hosts = headers.getRawHeaders(b"host", [])
    if len(hosts) > 1 or (not hosts and version == b"HTTP/1.1"):
        return 400, "there must be one Host header"
    codings = [coding.lower() for coding in headers.getRawHeaders(b"transfer-encoding", [])]
    if codings and (codings != [b"chunked"] or version != b"HTTP/1.1"):
        return 400, "the only transfer coding that is served is chunked, since HTTP 1.1"
    expectations = headers.getRawHeaders(b"expect", [])
    if any(value.lower() != b"100-continue" for value in expectations):
        return 417, "the only expectation that is served is 100-continue"
    return None


def error_response(status: int, message: str) -> bytes:
    """A whole response, for where there is no Request to answer with."""
    error = {"code": status, "message": message, "type": "invalid_request_error", "param": None}
    body = msgspec.json.encode({"error": error})
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"X-Content-Type-Options: nosniff\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
