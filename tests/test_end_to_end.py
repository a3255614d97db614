"""Strangers at a real server with a real model: many at once, leaving in the middle, sending rubbish.

Nothing here is about speed: what must have happened is read off states and texts, the clock only ends a hanging test.
"""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.live_server import Server, half_close, hang_up, request_bytes, reset, serving, until

CANARY = {"prompt": "The capital of France is", "n_predict": 24, "temperature": 0, "id_slot": 0}
ENDLESS = {"prompt": "Once upon a time", "n_predict": 7000, "ignore_eos": True, "temperature": 0}
LONG_PROMPT = [(7 * i * i + 13 * i) % 40000 + 100 for i in range(7000)]
ROUTES = (
    *("/completion", "/v1/completions", "/infill", "/v1/chat/completions"),
    *("/tokenize", "/detokenize", "/apply-template", "/v1/chat/completions/input_tokens"),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine_library, smollm2) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), "-m", str(smollm2), "-c", "8192", "-np", "4") as server:
        server.wait_for_health(200)
        yield server
        assert "Traceback" not in server.log.read_text()


@pytest.fixture(autouse=True)
def unharmed(request) -> Iterator[None]:
    """After each test on the common server: every lane idle, healthy."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        until(lambda: not server.busy(), "all lanes are idle")
        assert server.ask("GET", "/health") == (200, {"status": "ok"})


def in_parallel(work: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(items)) as pool:
        return list(pool.map(work, items))


def summary(events: list[Any]) -> tuple[str, list[int], str]:
    text = "".join(event["content"] for event in events)
    tokens = [token for event in events for token in event["tokens"]]
    return text, tokens, events[-1]["stop_type"]


# ---- many at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [{"temperature": 0}, {"temperature": 1.3, "top_k": 0, "top_p": 1, "min_p": 0}])
def test_eight_streams_get_the_text_they_get_alone(server, sampling):
    starts = ["Once upon", "def main(", "😀 means", "漢字 ", "El niño", "Привет,", "1, 2, 3,", "<html>"]
    bodies = [{**sampling, "prompt": start, "n_predict": 60, "seed": seed} for seed, start in enumerate(starts)]
    alone = [summary(server.stream({**body, "cache_prompt": False})) for body in bodies]
    assert in_parallel(lambda body: summary(server.stream(body)), bodies) == alone
    assert server.complete({**bodies[0], "return_tokens": True})["tokens"] == alone[0][1]


def test_more_work_than_pages_changes_no_text(tmp_path, engine_library, smollm2):
    """Four sequences that fill the pool by themselves: the youngest are closed and run again, again and again."""
    bodies = [
        {
            "prompt": start,
            "n_predict": 200,
            "ignore_eos": True,
            "temperature": 2.0 * (seed % 2),
            "seed": seed,
            "top_k": 0,
        }
        for seed, start in enumerate(["Once upon", "漢字 ", "😀 means", "Привет,", "El niño", "def main("])
    ]
    with serving(tmp_path, "-m", str(smollm2), "-c", "256", "-np", "4") as server:
        server.wait_for_health(200)
        alone = [summary(server.stream(body)) for body in bodies]
        assert in_parallel(lambda body: summary(server.stream(body)), bodies) == alone


def test_a_cached_prefix_changes_no_text(server):
    ids = LONG_PROMPT[:300]
    for cut in (1, 63, 64, 65, 128, 129, 299, 300):
        body = {"prompt": [*ids[:cut], 5, 6, 7], "n_predict": 8, "temperature": 0, "ignore_eos": True}
        cold = server.complete({**body, "cache_prompt": False})
        warm = [server.complete(body) for _ in range(2)]
        assert [answer["content"] for answer in warm] == [cold["content"]] * 2, cut
        assert (cold["timings"]["cache_n"], warm[1]["timings"]["cache_n"]) == (0, cut + 2)


def test_a_full_queue_says_when_to_come_again(server):
    peers = [server.post("/completion", ENDLESS) for _ in range(80)]
    until(lambda: len(server.busy()) == 4, "the lanes are taken")
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("POST", "/completion", json.dumps(CANARY))
    reply = connection.getresponse()
    assert reply.status == 429 and 1 <= int(reply.getheader("retry-after") or 0) <= 600
    assert json.loads(reply.read())["error"]["type"] == "rate_limit_error"
    connection.close()
    for peer in peers:
        reset(peer)
    assert server.complete(CANARY)["stop_type"] == "limit"


# ---- leaving -----------------------------------------------------------------------------------------------------

WAYS = pytest.mark.parametrize("leave", [hang_up, reset, half_close])
STREAMED = pytest.mark.parametrize("stream", [True, False])


@WAYS
@STREAMED
def test_leaving_in_decode(server, leave, stream):
    peer = server.post("/completion", {**ENDLESS, "stream": stream})
    until(lambda: any(n_decoded(slot) > 3 for slot in server.busy()), "it decodes")
    leave(peer)
    last = last_seen(server)
    assert last is None or n_decoded(last) < ENDLESS["n_predict"] // 2
    peer.close()


@WAYS
@STREAMED
def test_leaving_in_prefill(server, leave, stream):
    peer = server.post("/completion", {"prompt": LONG_PROMPT, "n_predict": 4, "cache_prompt": False, "stream": stream})
    until(lambda: any(slot["n_prompt_tokens_processed"] for slot in server.busy()), "it has begun")
    leave(peer)
    last = last_seen(server)
    assert last is None or last["n_prompt_tokens_processed"] < len(LONG_PROMPT)
    peer.close()


@WAYS
@STREAMED
def test_leaving_in_the_queue(server, leave, stream):
    """The next who waits gets the lane: nobody evaluates the prompt of who has left."""
    holders = [server.post("/completion", ENDLESS) for _ in range(4)]
    until(lambda: len(server.busy()) == 4, "the lanes are taken")
    newest = max(slot["id_task"] for slot in server.busy())
    ghost = server.post("/completion", {**ENDLESS, "stream": stream})
    for _ in range(2):
        server.ask("GET", "/health")  # answered later, so it has been read by now
    leave(ghost)
    canary = server.post("/completion", ENDLESS)
    holders.pop().close()
    until(lambda: {slot["id_task"] for slot in server.busy()} - set(range(newest + 1)), "the lane is taken again")
    assert newest + 1 not in {slot["id_task"] for slot in server.busy()}
    assert newest + 2 in {slot["id_task"] for slot in server.busy()}
    for peer in (ghost, canary, *holders):
        peer.close()


def n_decoded(slot: Any) -> int:
    count: int = slot["next_token"][0]["n_decoded"]
    return count


def last_seen(server: Server) -> Any:
    """The only working lane as it was seen last before it became idle."""
    seen: list[Any] = [None]

    def idle() -> bool:
        busy = server.busy()
        seen.extend(busy)
        return not busy

    until(idle, "the lane is idle")
    return seen[-1]


def test_who_never_reads_keeps_nobody_else_waiting(server):
    peers = [server.post("/completion", {**ENDLESS, "stream": True}) for _ in range(3)]
    until(lambda: len(server.busy()) == 3, "they run")
    assert server.complete(CANARY)["tokens_predicted"] == 24
    for peer in peers:
        peer.close()


# ---- rubbish -----------------------------------------------------------------------------------------------------

BODIES = [
    *(
        b"",
        b" ",
        b"{",
        b"}",
        b"[]",
        b"null",
        b"true",
        b"1",
        b'"text"',
        b"{} {}",
        b"{'a':1}",
        b'{"a":1,}',
        b"\x00",
        b"a=b",
    ),
    *(
        b'{"prompt":"\xff"}',
        b'{"prompt":"\xc0\x80"}',
        b'{"prompt":"\xed\xa0\x80"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
    ),
    *(b'{"prompt":"\\ud800"}', b'{"content":"\\udc00x"}', b'{"prompt":"a","stop":"\\ud83d"}', b'{"prompt":"\\u12"}'),
    *(b'{"temperature":NaN}', b'{"temperature":1e999}', b'{"seed":-Infinity}', b'{"n_predict":%s}' % (b"9" * 5000)),
    *(
        b"[" * 100_000,
        b'{"prompt":%s%s}' % (b"[" * 50_000, b"]" * 50_000),
        b'{"a":' * 50_000,
        b'{"x":%s1]}' % (b"[" * 5000),
    ),
    *(
        b'{"prompt":{"a":1}}',
        b'{"prompt":[null]}',
        b'{"prompt":[1.5]}',
        b'{"prompt":[-1]}',
        b'{"prompt":[99999999999999999999]}',
    ),
    *(
        b'{"messages":5}',
        b'{"messages":[[]]}',
        b'{"messages":[{"role":7,"content":"a"}]}',
        b'{"messages":[{"role":"x\\u0000"}]}',
    ),
    *(b'{"tokens":["a"]}', b'{"tokens":[-1]}', b'{"tokens":[1e9]}', b'{"content":{}}', b'{"content":[[1]]}'),
]
HEAD = b"Host: test\r\n"
SOCKETS = [
    b"\r\n" * 50,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200) + b"\r\n\r\n",
    b"GET /health\r\n\r\n",
    b"GET /health HTTP/7.3\r\n\r\n",
    b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /health HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    b"GET /health HTTP/1.1\r\n" + b"X: a\r\n" * 5000 + b"\r\n",
    b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
    b"GET /%ff%fe HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /%2e%2e/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"GET /..%2f..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"TRACE / HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"CONNECT test:1 HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"BREW /completion HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"DELETE /completion HTTP/1.1\r\n" + HEAD + b"\r\n",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Content-Length: -1\r\n\r\n{}",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Content-Length: 99999999999999999999\r\n\r\n{}",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Content-Length: 500\r\n\r\n" + b'{"prompt":',
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /completion HTTP/1.1\r\n" + HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b",
    request_bytes("/completion", b'{"prompt":"a","n_predict":2}') * 20,
    request_bytes("/completion", b'{"prompt":"a","stream":true}') + b"\xff" * 100_000,
]


def test_rubbish_harms_nobody(server):
    assert len(BODIES) * len(ROUTES) >= 200
    before = canary(server)
    for route in ROUTES:
        for body in BODIES:
            status, answer = server.ask("POST", route, body)
            assert status in (200, 400, 501), (route, body[:80], answer)
            assert status == 200 or answer["error"]["code"] == status
    for leave in (hang_up, reset, half_close):
        for data in SOCKETS:
            peer = server.connect(data)
            leave(peer)
            peer.close()
    until(lambda: not server.busy(), "all lanes are idle")
    assert canary(server) == before


def test_requests_cut_off_anywhere(server):
    """Also a request that came in one byte at a time is answered as if it had come in one piece."""
    whole = request_bytes("/completion", json.dumps({**CANARY, "stream": True}).encode())
    before = canary(server)
    for length in random.Random(0).sample(range(len(whole)), 40):
        reset(server.connect(whole[:length]))
    slow = server.connect()
    for byte in whole:
        slow.sendall(bytes([byte]))
    assert slow.recv(12) == b"HTTP/1.1 200"
    slow.close()
    assert canary(server) == before


def canary(server: Server) -> list[Any]:
    """All of a stream but its times and its slot."""
    events = server.stream({**CANARY, "seed": 1, "cache_prompt": False})
    assert events[-1].pop("timings")["predicted_n"] == 24
    return [{name: value for name, value in event.items() if name not in ("id_slot", "slot_id")} for event in events]


# ---- the end -----------------------------------------------------------------------------------------------------


def test_sigterm_ends_streams_with_a_last_event(tmp_path, engine_library, smollm2):
    with serving(tmp_path, "-m", str(smollm2), "-np", "2") as server:
        server.wait_for_health(200)
        ends: list[Any] = []
        bodies = [ENDLESS, ENDLESS, {"prompt": LONG_PROMPT, "n_predict": 4}, ENDLESS]
        threads = [threading.Thread(target=lambda b=body: ends.append(server.stream(b)[-1])) for body in bodies]
        for thread in threads:
            thread.start()
        until(lambda: len(server.busy()) == 2, "two run, two wait")
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert server.process.wait(60) == 0
        assert len(ends) == 4
        assert all(event.get("stop") or event["error"]["code"] == 503 for event in ends)
        assert "Traceback" not in server.log.read_text()
