"""Looks after the engine once a second, and tells systemd how it is (Type=notify, WatchdogSec).

READY=1 is said when the model has been loaded, WATCHDOG=1 at each look at an engine that is ready and not stuck,
STOPPING=1 when the server stops.  Without WATCHDOG=1, because the engine is stuck or has failed or the reactor does not
turn, systemd starts the server anew.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from llamatw.engine.service import EngineService

_PERIOD_S = 1.0


class Notifier:
    """systemd's notification socket, as sd_notify(3) describes it; without one, says nothing."""

    log = Logger()

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + path[1:] if path.startswith("@") else path
        self.watchdog_s = _watchdog_s(environment, pid)  # WatchdogSec; None: not asked for
        self._failed = False

    def send(self, state: str) -> None:
        """Never waits.  What cannot be sent is lost; the first time in a row it is logged."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.sendto(state.encode(), socket.MSG_DONTWAIT, self._address)
            self._failed = False
        except OSError as error:
            if not self._failed:
                self.log.error("cannot send {state} to NOTIFY_SOCKET: {error}", state=state, error=error)
            self._failed = True


class Supervisor(Service):
    """As often as systemd's watchdog needs, at least once a second."""

    log = Logger()

    def __init__(self, engine: EngineService, notifier: Notifier, reactor: Any) -> None:
        self._engine = engine
        self._notifier = notifier
        self._said_ready = False
        self._looking = LoopingCall(self._look)
        self._looking.clock = reactor

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        period = min(_PERIOD_S, (self._notifier.watchdog_s or _PERIOD_S) / 2)
        self._looking.start(period).addErrback(self._complain)

    def stopService(self) -> None:
        super().stopService()  # type: ignore[no-untyped-call]
        if self._looking.running:
            self._looking.stop()
        self._notifier.send("STOPPING=1")

    def _look(self) -> None:
        is_well = self._engine.stuck() is None and self._engine.state == "ready"
        if is_well and not self._said_ready:
            self._said_ready = True
            self._notifier.send("READY=1")
        if is_well and self._notifier.watchdog_s is not None:
            self._notifier.send("WATCHDOG=1")

    def _complain(self, failure: Failure) -> None:
        self.log.failure("nobody looks after the engine any more", failure)


def notifier() -> Notifier:
    """This process's own."""
    return Notifier(os.environ, os.getpid())


def _watchdog_s(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds; None when systemd expects no WATCHDOG=1 of this process."""
    usec, addressee = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", str(pid))
    if not usec.isascii() or not usec.isdigit() or int(usec) == 0 or addressee != str(pid):
        return None
    return int(usec) / 1e6
