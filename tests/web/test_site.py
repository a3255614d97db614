"""Keys, CORS, limits, errors of HTTP itself, the page."""

from __future__ import annotations

import gzip
import os

import pytest
from twisted.logger import formatEvent, globalLogPublisher

from llamatw.web import site as site_module
from llamatw.web.sse import PING_S

ORIGIN = "http://example.com"
CLOSED = [
    ("POST", "/completion", b'{"prompt":"a"}'),
    ("POST", "/v1/chat/completions", b"{}"),
    ("POST", "/tokenize", b"{}"),
    ("GET", "/v1/models", b""),
    ("GET", "/props", b""),
    ("GET", "/slots", b""),
    ("GET", "/nothing", b""),
    ("GET", "//health", b""),
    ("GET", "/health/", b""),
    ("GET", "/./health", b""),
    ("GET", "/%68ealth/x", b""),
    ("POST", "/health", b""),
]


@pytest.fixture
def locked(make_server):
    return make_server(api_keys=("one", "two words"))


@pytest.mark.parametrize(("method", "path", "body"), CLOSED)
def test_key_needed(locked, method, path, body):
    reply = locked.request(method, path, body)
    assert reply.error(401)["type"] == "authentication_error"
    assert reply.headers["www-authenticate"] == "Bearer"
    for headers in (
        {"Authorization": "Bearer one"},
        {"Authorization": "bearer one"},
        {"X-Api-Key": "two words"},
        {"Authorization": "Bearer two words"},
    ):
        assert locked.request(method, path, body, **headers).status != 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer onex"},
        {"Authorization": "Bearer on"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic one"},
        {"Authorization": "one"},
        {"X-Api-Key": ""},
        {"X-Api-Key": "nope"},
        {"Authorization": "Bearer nope", "X-Api-Key": "one"},
    ],
)
def test_wrong_key(locked, headers):
    locked.get("/props", **headers).error(401)


def test_both_headers_with_good_keys(locked):
    assert locked.get("/props", Authorization="Bearer one", X_Api_Key="two words").status == 200


def test_no_key_needed(locked):
    for path in ("/health", "/v1/health", "/", "/app.js"):
        assert locked.get(path).status == 200
    assert locked.request("OPTIONS", "/completion", Origin=ORIGIN).status == 200


def test_path_comes_before_the_built_in_files(make_server, tmp_path):
    (tmp_path / "index.html").write_text("mine")
    server = make_server(path=str(tmp_path))
    assert server.get("/").body == b"mine"
    for path in ("/completion.js", "/json-schema-to-grammar.mjs", "/index.js"):
        assert server.get(path).headers["content-type"] == "text/javascript; charset=utf-8"


def test_file_that_is_named_like_a_route_opens_nothing(make_server, tmp_path):
    (tmp_path / "props").write_text("x")
    server = make_server(api_keys=("k",), path=str(tmp_path))
    for path in ("/props", "/%70rops"):
        server.get(path).error(401)
    assert server.get("/props", X_Api_Key="k").json["total_slots"] == 2


def test_preflight(server):
    for path in ("/completion", "/", "/nothing"):
        reply = server.request("OPTIONS", path, Origin=ORIGIN, Access_Control_Request_Headers="authorization")
        assert (reply.status, reply.body) == (200, b"")
        assert reply.headers["access-control-allow-origin"] == ORIGIN
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert "POST" in reply.headers["access-control-allow-methods"]
        assert reply.headers["access-control-allow-headers"] == "authorization"


def test_origin_is_echoed_also_on_errors_and_streams(server):
    bodies = [b'{"prompt":"a"}', b'{"prompt":"a","stream":true}', b"{"]
    replies = [server.post("/completion", body, Origin=ORIGIN) for body in bodies]
    replies += [server.get("/props", Origin=ORIGIN), server.get("/nothing", Origin=ORIGIN)]
    assert {reply.headers["access-control-allow-origin"] for reply in replies} == {ORIGIN}
    assert server.get("/props").headers["access-control-allow-origin"] is None


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nothing.html"),
        ("POST", "/nothing"),
        ("GET", "/completion/"),
        ("DELETE", "/health"),
        ("GET", "/completion"),
    ],
)
def test_unknown_route(server, method, path):
    assert server.request(method, path).error(404)["type"] == "not_found_error"


def test_other_errors_of_http(server):
    server.request("BREW", "/completion").error(405)
    server.get("/%ff").error(400)
    server.post("/completion", {}, Content_Encoding="gzip").error(415)
    server.post("/completion", {}, Content_Encoding="gzip\r\nContent-Encoding: identity").error(415)
    assert server.post("/tokenize", {"content": "a"}, Content_Encoding="Identity").status == 200
    server.post("/completion", {}, Content_Type="multipart/form-data; boundary=x").error(415)
    assert server.get("/health").headers["x-content-type-options"] == "nosniff"


def test_internal_error(server):
    server.service.tokenize = None
    error = server.post("/completion", {"prompt": "a"}).error(500)
    assert (error["type"], error["message"]) == ("server_error", "internal error")


MALFORMED = [
    b'{"prompt":',
    b"",
    b"hello",
    b"{'prompt':'x'}",
    b'{"prompt":"x",}',
    b'{"prompt":"x","temperature":NaN}',
    b"[" * 50000,
    b'{"a":' * 30000,
    b'{"prompt":"\xff\xfe"}',
    b'{"prompt":"\xc0\xaf"}',
    b'{"prompt":"\\ud800"}',
    b"\0\0\0\0",
    b"[1]",
    b'"x"',
    b"null",
    b"12",
    b"\xef\xbb\xbf",
    b"-",
    b'"',
    b'{"prompt"::1}',
    b'{"prompt":"x","top_k":0x10}',
    b'{"prompt":"x"} trailing',
]


@pytest.mark.parametrize("body", MALFORMED)
@pytest.mark.parametrize("path", ["/completion", "/v1/chat/completions", "/tokenize", "/detokenize", "/apply-template"])
def test_malformed_json(server, path, body):
    reply = server.post(path, body)
    assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("more", "name"),
    [
        (b'"json_schema":{"a":[1e999]}', "json_schema"),
        (b'"unknown":-1e999', "unknown"),
        (b'"temperature":1e999', "temperature"),
        (b'"chat_template_kwargs":{"a":1e999}', "chat_template_kwargs"),
        (b'"a b":1e999', None),
        (b'"a":1e999,"\\ud800":1', None),
        (b'"a":1e999,"b":"\\ud800"', None),
    ],
)
def test_a_number_that_is_too_large_for_any_field(server, more, name):
    server.request("POST", "/completion", b'{"prompt":"a",%s}' % more).error(400, name)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"content":"a","content":"a"}', "content"),
        (b'{"content":"a","x":1,"con\\u0074ent" : "b"}', "content"),
        (b'{"content":"a","x":[{"y":1}, {"y":2, "z":{"y":3}, "y"\t:4}]}', "y"),
        (b'{"content":"a","\\"{":1,"\\"{":1}', '"{'),
        (b'{"content":"a","":1,"":1}', ""),
        (b'{"content":"\\u003A \\\\u003a","x":1,"x":1}', "x"),
    ],
)
def test_a_name_that_stands_twice(server, body, name):
    error = server.request("POST", "/tokenize", body).error(400, name)
    assert error["message"] == f"{name!r} stands twice in one object of the body"


@pytest.mark.parametrize(
    "body",
    [
        b'{"content":"a","x":{"content":"content"},"y":[{"a":1},{"a":1},"a","a"]}',
        b'{"content":"\\"x\\": \\"x\\":","x":"\\\\","y":"x:"}',
        b'{"content":"{ \\"content\\": {"}',
        b'{"content":"\\u003A: \\\\\\u003a \\\\u003a","x:":1}',
    ],
)
def test_names_that_stand_once_in_each_object(server, body):
    assert server.request("POST", "/tokenize", body).status == 200


def test_a_name_that_stands_twice_in_a_long_body(server):
    body = b'{"content":"%s","x":1,"x":2}' % (b"a" * 2_000_000)
    assert server.request("POST", "/tokenize", body).error(400)["message"].startswith("a name stands twice")


def test_too_many_objects(server):
    body = b'{"content":"%s","x":[%s{}]}'
    assert server.request("POST", "/tokenize", body % (b"{" * 200_000, b"{}," * 9)).status == 200
    assert "100000 objects" in server.request("POST", "/tokenize", body % (b"", b"{}," * 100_000)).error(400)["message"]


def test_body_whatever_its_content_type(server):
    reply = server.post("/completion", {"prompt": "a"}, Content_Type="application/x-www-form-urlencoded")
    assert reply.status == 200


def test_long_body_is_refused_before_it_arrives(server):
    connection = server.connect()
    connection.protocol.dataReceived(b"POST /completion HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    connection.reply().error(413)
    connection.protocol.dataReceived(b"x" * 1000)
    server.reactor.advance(3)
    assert connection.transport.disconnecting


def test_long_chunked_body(server, monkeypatch):
    monkeypatch.setattr(site_module, "MAX_BODY_BYTES", 1000)
    connection = server.connect()
    connection.protocol.dataReceived(b"POST /completion HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(11):
        connection.protocol.dataReceived(b"64\r\n" + b"x" * 100 + b"\r\n")
    connection.reply().error(413)
    connection.protocol.dataReceived(b"0\r\n\r\n")
    server.reactor.advance(3)
    assert connection.transport.disconnecting


def test_pipelined_requests_are_answered_in_order(server):
    connection = server.connect()
    for text in (b"a", b"b", b"c"):
        connection.send("POST", "/tokenize", b'{"content":"%s"}' % text)
    server.pump.run()
    out = connection.transport.value()
    assert out.count(b"HTTP/1.1 200") == 3
    assert out.index(b"[97]") < out.index(b"[98]") < out.index(b"[99]")


def test_stream_says_so_at_once_and_pings(server):
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true}')
    assert b"200 OK" in connection.transport.value()
    server.reactor.advance(PING_S)
    server.reactor.advance(PING_S)
    assert connection.transport.value().count(b": ping\n\n") == 2
    server.pump.run()
    assert connection.reply().events[-1]["stop"] is True
    assert server.reactor.getDelayedCalls()[1:] == []  # but for the connection's own timeout


def test_ping_interval_of_the_request(server):
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true,"sse_ping_interval":2}')
    server.reactor.advance(2)
    assert b": ping" in connection.transport.value()
    silent = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true,"sse_ping_interval":-1}')
    server.reactor.pump([5] * 10)
    assert b": ping" not in silent.transport.value()


def test_reader_that_stops_and_comes_back_misses_nothing(server):
    server.engine.say = "abcdef"
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true}')
    server.pump.run(3)
    before = len(connection.transport.value())
    connection.transport.producer.pauseProducing()
    server.pump.run()
    assert len(connection.transport.value()) == before
    connection.transport.producer.resumeProducing()
    assert "".join(event["content"] for event in connection.reply().events) == "abcdef"


def test_reader_that_never_comes_back_is_cut_off(make_server):
    server = make_server(timeout_s=20)
    server.engine.say = "abcdef"
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true}')
    connection.transport.producer.pauseProducing()
    server.pump.run()
    server.reactor.pump([1.0] * 30)
    assert connection.transport.aborted
    connection.leave()
    assert server.reactor.getDelayedCalls() == []


def test_shutdown_ends_streams_with_an_event(server):
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true,"ignore_eos":true}')
    server.pump.run(3)
    server.service.stopService()
    server.reactor.advance(6)
    assert connection.reply().events[-1]["error"]["code"] == 503
    idle = server.site.idle()
    assert idle.called


@pytest.fixture
def page(make_server, tmp_path):
    (tmp_path / "secret.txt").write_text("TOPSECRET")
    public = tmp_path / "public"
    (public / "sub").mkdir(parents=True)
    (public / "hello.txt").write_text("hello")
    (public / "app.mjs").write_text("let a = 1")
    (public / "data.unknown").write_text("?")
    (public / ".hidden").write_text("TOPSECRET")
    (public / "sub" / "index.html").write_text("<p>sub")
    os.symlink(tmp_path / "secret.txt", public / "link.txt")
    os.symlink("ring", public / "ring")
    return make_server(path=str(public))


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/hello.txt", "text/plain; charset=utf-8", b"hello"),
        ("/app.mjs", "text/javascript; charset=utf-8", b"let a = 1"),
        ("/data.unknown", "text/plain; charset=utf-8", b"?"),
        ("/sub/", "text/html; charset=utf-8", b"<p>sub"),
        ("/sub/index.html", "text/html; charset=utf-8", b"<p>sub"),
    ],
)
def test_files(page, path, kind, body):
    reply = page.get(path)
    assert (reply.status, reply.headers["content-type"], reply.body) == (200, kind, body)
    assert reply.headers["cache-control"] == "no-cache"
    again = page.get(path, If_None_Match=reply.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert page.request("HEAD", path).status == 200


@pytest.mark.parametrize("form", ["W/{}", '"x", {}', '"a,b" , W/{},"c"', '"\\", {}', "*", " * "])
@pytest.mark.parametrize("path", ["/hello.txt", "/openapi.json"])
def test_forms_of_what_a_client_has(page, path, form):
    etag = page.get(path).headers["etag"]
    again = page.get(path, If_None_Match=form.format(etag))
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)


@pytest.mark.parametrize("form", ["", "W/", '"x"', "{}x", '"*"', '"x{}'])
def test_what_a_client_has_is_something_else(page, form):
    etag = page.get("/hello.txt").headers["etag"][1:-1]
    assert page.get("/hello.txt", If_None_Match=form.format(etag)).body == b"hello"


def test_text_travels_compressed_where_it_is_taken(page, tmp_path):
    text = b"let answer = 42;\n" * 400
    (tmp_path / "public" / "large.js").write_bytes(text)
    plain, packed = page.get("/large.js"), page.get("/large.js", Accept_Encoding="br, gzip;q=0.5")
    assert (plain.body, "content-encoding" in plain.headers) == (text, False)
    assert (gzip.decompress(packed.body), packed.headers["content-encoding"]) == (text, "gzip")
    assert len(packed.body) == int(packed.headers["content-length"]) < 200
    assert plain.headers["vary"] == packed.headers["vary"] == "Origin, Accept-Encoding"
    assert plain.headers["etag"] != packed.headers["etag"]
    again = page.get("/large.js", Accept_Encoding="gzip", If_None_Match=packed.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    (tmp_path / "public" / "large.js").write_bytes(text * 2)
    assert gzip.decompress(page.get("/large.js", Accept_Encoding="gzip").body) == text * 2


@pytest.mark.parametrize(
    ("header", "path"), [("gzip;q=0", "/large.js"), ("br", "/large.js"), ("gzip", "/hello.txt"), ("gzip", "/app.png")]
)
def test_not_compressed(page, tmp_path, header, path):
    (tmp_path / "public" / "large.js").write_bytes(b"a" * 5000)
    (tmp_path / "public" / "app.png").write_bytes(b"a" * 5000)
    reply = page.get(path, Accept_Encoding=header)
    assert reply.status == 200 and "content-encoding" not in reply.headers


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/sub/../../secret.txt",
        "/sub/..%5c..%5csecret.txt",
        "/link.txt",
        "/.hidden",
        "/ring",
        "/hello.txt%00.html",
        "/" + "x" * 5000,
        "/etc/passwd",
        "//etc/passwd",
        "/sub",
        "/sub/nothing",
    ],
)
def test_no_way_out_of_the_page(page, path):
    reply = page.get(path)
    assert b"TOPSECRET" not in reply.body
    reply.error(404)


@pytest.fixture
def log_lines():
    lines = []

    def observe(event):
        if event["log_namespace"] == "llamatw.access":
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)


def test_access_log(server, log_lines):
    server.get("/health")
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","ignore_eos":true}')
    connection.leave()
    assert log_lines[0].startswith("192.0.2.1 GET /health 200 15 bytes")
    assert log_lines[1] == "192.0.2.1 POST /completion 200 0 bytes (the client left)"
