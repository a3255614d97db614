"""Bad requests to a real server while somebody else is served: refused for their reasons, and nobody else notices.

LLAMATW_ATTACKS is the number of requests (`make attack`: 10,000).
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest

from tests import gguf_bytes
from tests.bad_requests import Bad, each_field
from tests.live_server import Server, serving

N_ATTACKS = int(os.environ.get("LLAMATW_ATTACKS", "1200"))
SEED = 11
PATIENCE_S = 30.0
CANARY = {"prompt": "Once upon a time", "temperature": 0, "n_predict": 48, "cache_prompt": False}


@pytest.fixture(scope="module")
def server(tmp_path_factory, engine_library, smollm2) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("server")
    saves = directory / "saves"
    saves.mkdir()
    ids = {"fim_pre_token_id": 7, "fim_suf_token_id": 8, "fim_mid_token_id": 9}  # /infill is served with them
    pairs = [gguf_bytes.u32(f"tokenizer.ggml.{key}", id) for key, id in ids.items()]
    model = gguf_bytes.with_pairs(smollm2, directory / "model.gguf", pairs)
    with serving(directory, "-m", str(model), "-c", "1024", "--props", "--slot-save-path", str(saves)) as server:
        server.wait_for_health(200)
        yield server
        assert "Traceback" not in server.log.read_text()
        assert not list(saves.iterdir())


class Attacker:
    """One connection, opened again when the server has closed it."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)

    def send(self, bad: Bad) -> tuple[int, bytes]:
        for _ in range(2):  # a connection that was closed meanwhile is found so by writing to it
            try:
                self._connection.request(bad.method, bad.path, bad.body, bad.headers)
                reply = self._connection.getresponse()
                return reply.status, reply.read()
            except (ConnectionError, http.client.BadStatusLine):
                self._connection.close()
        pytest.fail(f"no answer to {bad}")


def trouble(bad: Bad, status: int, body: bytes) -> str | None:
    """What is wrong with an answer."""
    if not (400 <= status < 500 or status == 501):
        return f"status {status}"
    try:
        error: Any = json.loads(body)["error"]
    except ValueError:
        return "no JSON"
    if error["code"] != status or not error["message"] or len(error["message"]) > 1000:
        return f"an odd error: {str(error)[:500]}"
    if bad.fields and error["param"] not in bad.fields:
        return f"not the field: {error}"
    return None


def texts(server: Server, stop: Event) -> list[str]:
    """Of the canary, sung again and again."""
    found = []
    while not stop.is_set() or not found:
        found.append("".join(event["content"] for event in server.stream(CANARY)))
    return found


@contextlib.contextmanager
def canary(server: Server) -> Iterator[Future[list[str]]]:
    stop = Event()
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(texts, server, stop)
        finally:
            stop.set()


def test_each_is_refused_and_nobody_else_notices(server):
    want = "".join(event["content"] for event in server.stream(CANARY))
    document = server.ask("GET", "/openapi.json")[1]
    attacker, counts, wrong = Attacker(server.port), Counter[int](), []
    with canary(server) as sung:
        for bad in itertools.islice(each_field(document, SEED), N_ATTACKS):
            status, body = attacker.send(bad)
            counts[status] += 1
            found = trouble(bad, status, body)
            if found:
                wrong.append(f"{found}: {bad.method} {bad.path} {bad.headers} {bad.fields} {bad.body[:300]!r}")
    print(f"{N_ATTACKS} requests: {dict(sorted(counts.items()))}; the canary sang {len(sung.result())} times")
    assert not wrong, f"{len(wrong)} of {N_ATTACKS}:\n" + "\n".join(wrong[:40])
    assert set(sung.result()) == {want}
    assert server.process.poll() is None and not server.busy()
    props = server.ask("GET", "/props")[1]
    assert (props["user_name"], props["system_prompt"]) == ("", ""), "what was refused has changed nothing"
