"""Which pages and names may use the server."""

from __future__ import annotations

import pytest
from twisted.internet.address import IPv4Address, UNIXAddress

from llamatw.settings import Cors

PAGE = "https://example.org"
ANSWER = b'{"content":"a"}'


def ask(server, host, address="127.0.0.1"):
    connection = server.connect()
    connection.transport.hostAddr = IPv4Address("TCP", address, 8080) if address else UNIXAddress("/s")
    connection.protocol.dataReceived(f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    return connection.reply()


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8080",
        "127.0.0.1:8080",
        "[::1]:8080",
        "a.localhost",
        "box",
        "box.",
        "192.0.2.7",
        "proxy.net",
    ],
)
def test_known_hosts(make_server, host):
    assert ask(make_server(allowed_hosts=("Proxy.net",)), host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.com", "127.0.0.1.evil.com:8080", "localhost.evil.com", "[::1", "proxy.net.evil"]
)
def test_rebound_hosts(make_server, host):
    server = make_server(allowed_hosts=("proxy.net",))
    assert ask(server, host).error(403)["type"] == "permission_error"
    assert ask(server, host, "192.0.2.7").status == 200, "no loopback address"
    assert ask(server, host, None).status == 200, "a Unix socket"


def post(server, **headers):
    return server.post("/tokenize", ANSWER, **headers)


def test_listed_origins(make_server):
    server = make_server(cors=Cors(origins=(PAGE,), methods=("POST",), headers=("x-a",), credentials=False))
    reply = post(server, Origin=PAGE)
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, PAGE)
    assert reply.headers["access-control-allow-credentials"] is None
    assert reply.headers["vary"] == "Origin"
    post(server, Origin="https://example.org.evil.com").error(403)
    post(server, Origin="null").error(403)
    assert post(server, Origin="http://x").status == 200, "its own page"
    assert post(server).status == 200
    reply = server.get("/health", Origin="https://other.org")
    assert (reply.status, reply.headers["access-control-allow-origin"]) == (200, None)
    reply = server.request("OPTIONS", "/completion", Origin=PAGE, Access_Control_Request_Headers="x-b")
    assert reply.headers["access-control-allow-methods"] == "POST"
    assert reply.headers["access-control-allow-headers"] == "x-a"


@pytest.mark.parametrize("origin", ["http://localhost:3000", "https://127.0.0.1", "http://[::1]:80"])
def test_localhost(make_server, origin):
    server = make_server(cors=Cors(origins=("localhost",)))
    assert post(server, Origin=origin).headers["access-control-allow-origin"] == origin
    post(server, Origin=PAGE).error(403)
    post(server, Origin="http://localhost.evil.com").error(403)
