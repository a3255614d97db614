"""What systemd is told, over a socket of the test's own, and when."""

from __future__ import annotations

import contextlib
import secrets
import socket

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from llamatw.supervisor import Notifier, Supervisor


class Manager:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.setblocking(False)

    def heard(self):
        messages = []
        with contextlib.suppress(BlockingIOError):
            while True:
                messages.append(self.socket.recv(1000).decode())
        return messages


class EngineStub:
    state = "loading"
    trouble = None

    def stuck(self):
        return self.trouble


class House:
    def __init__(self, tmp_path, **environment):
        path = str(tmp_path / "notify")
        self.manager = Manager(path)
        self.engine = EngineStub()
        self.clock = Clock()
        self.supervisor = Supervisor(self.engine, Notifier({"NOTIFY_SOCKET": path, **environment}, pid=77), self.clock)
        self.supervisor.startService()

    def after(self, seconds):
        self.clock.pump([0.25] * int(4 * seconds))
        return self.manager.heard()


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path, WATCHDOG_USEC="60000000", WATCHDOG_PID="77")
    yield house
    house.manager.socket.close()


def test_ready_once_the_model_is_there_and_then_the_watchdog(house):
    assert house.after(5) == []
    house.engine.state = "ready"
    assert house.after(1) == ["READY=1", "WATCHDOG=1"]
    assert house.after(2) == ["WATCHDOG=1"] * 2


def test_no_watchdog_while_stuck(house):
    house.engine.state = "ready"
    house.after(1)
    house.engine.trouble = "stuck"
    assert house.after(10) == []
    house.engine.trouble = None
    assert house.after(1) == ["WATCHDOG=1"], "and READY=1 is not said again"


def test_no_watchdog_after_the_engine_has_failed(house):
    house.engine.state = "ready"
    house.after(1)
    house.engine.state = "failed"
    assert house.after(10) == []


def test_stopping(house):
    house.engine.state = "ready"
    house.after(1)
    house.supervisor.stopService()
    assert house.after(3) == ["STOPPING=1"]
    assert house.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "environment", [{}, {"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "78"}, {"WATCHDOG_USEC": "0"}]
)
def test_no_watchdog_that_nobody_asked_this_process_for(tmp_path, environment):
    house = House(tmp_path, **environment)
    house.engine.state = "ready"
    assert house.after(3) == ["READY=1"]
    house.manager.socket.close()


def test_a_hasty_watchdog_is_told_twice_as_often(tmp_path):
    house = House(tmp_path, WATCHDOG_USEC="1000000")
    house.engine.state = "ready"
    house.after(1)
    assert house.after(2) == ["WATCHDOG=1"] * 4
    house.manager.socket.close()


def test_an_abstract_address():
    name = f"llamatw-{secrets.token_hex(8)}"
    manager = Manager("\0" + name)
    Notifier({"NOTIFY_SOCKET": "@" + name}, 1).send("READY=1")
    assert manager.heard() == ["READY=1"]
    manager.socket.close()


def test_without_a_socket_nothing_is_said():
    with capturedLogs() as events:
        Notifier({}, 1).send("READY=1")
    assert events == []


def test_a_socket_that_is_not_there_is_logged_once(tmp_path):
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "none")}, 1)
    with capturedLogs() as events:
        notifier.send("READY=1")
        notifier.send("WATCHDOG=1")
    assert len(events) == 1


def test_a_manager_that_does_not_read_holds_nobody_up(tmp_path):
    path = str(tmp_path / "notify")
    manager = Manager(path)
    notifier = Notifier({"NOTIFY_SOCKET": path}, 1)
    with capturedLogs() as events:
        for _ in range(1000):
            notifier.send("WATCHDOG=1")
    assert len(events) == 1
    manager.heard()
    notifier.send("WATCHDOG=1")
    assert manager.heard() == ["WATCHDOG=1"]
    manager.socket.close()
