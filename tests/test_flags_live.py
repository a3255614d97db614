"""What flags do to a running server, asked over HTTP: those of the old server that other tests only parse."""

from __future__ import annotations

import http.client
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_server import Server, serving

SYSTEM = {"prompt": "Be nice. ", "anti_prompt": "User:", "assistant_name": "Nice:"}
PROMPT = {"prompt": [5] * 200, "cache_prompt": False, "ignore_eos": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    (folder / "system.json").write_text(json.dumps(SYSTEM))
    (folder / "keys").write_text("# for friends\nsesame\n")
    (folder / "files").mkdir()
    (folder / "files" / "index.html").write_text("mine")
    (folder / "files" / "props").write_text("in front of a route")
    return folder


@pytest.fixture(scope="module")
def server(folder, engine_library, smollm2) -> Iterator[Server]:
    flags = "-c 768 -np 3 -b 64 -n 5 -a small,other -spf system.json --path files --api-key first --api-key-file keys"
    with serving(folder, "-m", str(smollm2), *flags.split(), "--chat-template", "llama2", "--log-disable") as server:
        server.wait_for_health(200)
        yield server


def ok(server: Server, method: str, path: str, body: object = None):
    status, answer = server.ask(method, path, body, **{"X-Api-Key": "first"})
    assert status == 200, answer
    return answer


def test_context(server):
    props = ok(server, "GET", "/props")
    assert (props["total_slots"], props["default_generation_settings"]["n_ctx"]) == (3, 768)
    status, answer = server.ask("POST", "/completion", {"prompt": [5] * 769}, **{"X-Api-Key": "first"})
    assert (status, answer["error"]["n_ctx"]) == (400, 768)
    assert ok(server, "POST", "/completion", {"prompt": [5] * 700, "n_predict": 1})["tokens_evaluated"] > 700, "unified"


def test_batch(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    body = {**PROMPT, "stream": True, "return_progress": True}
    connection.request("POST", "/completion", json.dumps(body), {"X-Api-Key": "first"})
    lines = connection.getresponse().read().splitlines()
    connection.close()
    events = [json.loads(line[6:]) for line in lines if line.startswith(b"data: ")]
    done = [event["prompt_progress"]["processed"] for event in events if "prompt_progress" in event]
    assert len(done) > 3 and all(1 <= b - a <= 64 for a, b in itertools.pairwise(done))


def test_limit(server):
    for more in ({}, {"n_predict": 100}):
        answer = ok(server, "POST", "/completion", {**PROMPT, **more})
        assert (answer["tokens_predicted"], answer["stop_type"]) == (5, "limit")


def test_names(server, smollm2):
    (model,) = ok(server, "GET", "/v1/models")["data"]
    assert (model["id"], model["aliases"]) == ("other", ["other", "small"])
    assert ok(server, "GET", "/props")["model_path"] == str(smollm2)


def test_system_prompt(server):
    props = ok(server, "GET", "/props")
    assert (props["system_prompt"], props["user_name"], props["assistant_name"]) == tuple(SYSTEM.values())
    n_system = len(ok(server, "POST", "/tokenize", {"content": SYSTEM["prompt"]})["tokens"])
    assert ok(server, "POST", "/completion", {**PROMPT, "n_predict": 1})["tokens_evaluated"] == 200 + n_system


def test_files(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"mine"
    connection.close()
    assert "total_slots" in ok(server, "GET", "/props"), "no file stands in front of a route"


def test_keys(server):
    for key, status in (("first", 200), ("sesame", 200), ("third", 401), ("# for friends", 401)):
        assert server.ask("POST", "/tokenize", {"content": "a"}, Authorization=f"Bearer {key}")[0] == status
    assert server.ask("GET", "/props")[0] == 401 and server.ask("GET", "/health")[0] == 200


def test_template(server):
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Hi"}]
    prompt = ok(server, "POST", "/apply-template", {"messages": messages})["prompt"]
    assert prompt.endswith("[INST] <<SYS>>\nS\n<</SYS>>\n\nHi [/INST]")


def test_silence(server):
    ok(server, "POST", "/tokenize", {"content": "a"})
    assert "/tokenize" not in server.log.read_text()
