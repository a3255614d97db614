"""Connections: what each part of a request may take, heads that are refused, how many there may be."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address

from llamatw.web import bounds

HEAD = b"POST /tokenize HTTP/1.1\r\nHost: x\r\n"


def send(server, data):
    connection = server.connect()
    connection.protocol.dataReceived(data)
    return connection


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: x\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
        (HEAD + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
        (HEAD + b"Content-Length: -5\r\n\r\n", 400),
        (HEAD + b"Content-Length: 99999999999999999999\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (HEAD + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (HEAD + b"Transfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", 400),
        (HEAD.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 400),
        (HEAD + b"Expect: tea\r\nContent-Length: 2\r\n\r\n{}", 417),
        (b"GET /" + b"a" * bounds.MAX_URI_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * (bounds.MAX_HEADERS + 1) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * bounds.MAX_HEAD_BYTES + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"b" * 4 * bounds.MAX_HEAD_BYTES, 431),
    ],
)
def test_refused_heads(server, data, status):
    connection = send(server, data)
    reply = connection.reply()
    assert (reply.status, reply.json["error"]["code"]) == (status, status)
    assert reply.headers["connection"] == "close"
    assert connection.transport.value().count(b"HTTP/1.1") == 1
    connection.protocol.dataReceived(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    assert connection.transport.value().count(b"HTTP/1.1") == 1, "nothing more is read"
    server.reactor.advance(bounds.LINGER_S)
    assert connection.transport.disconnecting


@pytest.mark.parametrize("host", [b"localhost", b"LOCALHOST:8080", b"127.0.0.1", b"[::1]:1"])
def test_whole_urls(server, host):
    """The header counts no more."""
    for path in (b"/health", b"/health?a=http://b"):
        connection = send(server, b"GET HTTP://" + host + path + b" HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        assert connection.reply().json == {"status": "ok"}
    connection = server.connect()
    connection.transport.hostAddr = IPv4Address("TCP", "127.0.0.1", 8080)
    connection.protocol.dataReceived(b"GET http://evil.example/health HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")
    assert connection.reply().error(403)
    assert b"<html" in send(server, b"GET http://" + host + b" HTTP/1.1\r\nHost: x\r\n\r\n").reply().body


@pytest.mark.parametrize(
    "target", [b"*", b"health", b"?a", b"http:/health", b"ftp://localhost/health", b"localhost:80"]
)
def test_targets_that_are_no_path(server, target):
    reply = send(server, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n").reply()
    assert reply.error(400) and reply.headers["server"] == "llamatw"
    assert send(server, b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n").reply().headers["server"] == "llamatw"


def test_expect_100_continue(server):
    connection = send(server, HEAD + b"Expect: 100-continue\r\nContent-Length: 15\r\n\r\n")
    assert connection.transport.value() == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.protocol.dataReceived(b'{"content":"a"}')
    server.pump.run()
    assert b"200 OK" in connection.transport.value()


def test_a_head_that_drips(server):
    """A byte every second does not keep it alive."""
    connection = send(server, b"POST /completion HTTP/1.1\r\nHost: x\r\nX-Part")
    for _ in range(int(bounds.HEAD_S)):
        assert not connection.transport.value()
        server.reactor.advance(1)
        connection.protocol.dataReceived(b"a")
    assert connection.reply().error(408)
    server.reactor.advance(bounds.LINGER_S)
    assert connection.transport.disconnecting


def test_a_second_head_that_drips(server):
    connection = send(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /he")
    server.reactor.advance(bounds.HEAD_S)
    assert connection.transport.value().count(b"HTTP/1.1 408") == 1


def test_a_body_that_drips(server):
    connection = send(server, HEAD + b"Content-Length: 5000\r\n\r\n")
    server.reactor.pump([1.0] * int(bounds.BODY_GRACE_S - 1))
    connection.protocol.dataReceived(b"x" * 3 * bounds.BODY_BYTES_PER_S)
    server.reactor.pump([1.0] * 3)
    assert not connection.transport.value()
    server.reactor.advance(1.1)
    connection.reply().error(408)


def test_a_body_that_stops(make_server):
    server = make_server(timeout_s=4)
    connection = send(server, HEAD + b"Content-Length: 5000000\r\n\r\n" + b"x" * 1_000_000)
    server.reactor.advance(3)
    connection.protocol.dataReceived(b"x")
    server.reactor.advance(3.9)
    assert not connection.transport.value()
    server.reactor.advance(0.2)
    connection.reply().error(408)


def test_a_slow_answer_has_no_limit(server):
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a"}')
    server.reactor.pump([10.0] * 50)
    assert not connection.transport.disconnecting
    server.pump.run()
    assert connection.reply().status == 200


def test_idle_connections_are_closed(server):
    silent, used = server.connect(), server.connect().send("GET", "/health")
    server.reactor.advance(bounds.IDLE_S - 1)
    assert not silent.transport.disconnecting
    used.send("GET", "/health")
    server.reactor.advance(1)
    assert silent.transport.disconnecting
    assert silent.transport.value() == b""
    assert not used.transport.disconnecting


def test_a_closed_connection_leaves_no_timer(server):
    for data in (b"", b"GET", HEAD + b"Content-Length: 5\r\n\r\nx", b"bad\r\n\r\n"):
        connection = server.connect()
        connection.protocol.dataReceived(data)
        connection.leave()
    assert server.reactor.getDelayedCalls() == []


def test_too_many_connections(server, monkeypatch):
    monkeypatch.setattr(server.site, "_max_connections", 2)
    first, _ = server.connect(), server.connect()
    assert server.site.buildProtocol(None) is None
    first.leave()
    assert server.site.buildProtocol(None) is not None


def test_hundred_requests_in_one_piece(server):
    connection = send(server, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    assert connection.transport.value().count(b"HTTP/1.1 200") == 100
