"""Request ids, the log file, the prefix of all paths, routes that flags turn on and off, defaults of requests."""

from __future__ import annotations

import json

import pytest

from llamatw.settings import SystemPrompt


@pytest.mark.parametrize("offered", ["abc-1.2_X", "a" * 64])
def test_a_sane_id_is_kept(server, offered):
    assert server.get("/health", X_Request_Id=offered).headers["x-request-id"] == offered
    assert server.get("/nothing", X_Request_Id=offered).headers["x-request-id"] == offered


@pytest.mark.parametrize("offered", ["a" * 65, "a b", "ä", "", "a\tb", "a;b"])
def test_another_id_is_replaced(server, offered):
    given = [server.get("/health", X_Request_Id=offered).headers["x-request-id"] for _ in range(2)]
    assert offered not in given
    assert len(set(given)) == 2


@pytest.fixture
def logged(make_server, tmp_path):
    path = tmp_path / "access.jsonl"
    server = make_server(log_file=str(path))
    return server, lambda: [json.loads(line) for line in path.read_text().splitlines()]


def test_log_file(logged):
    server, lines = logged
    server.engine.say = "four"
    server.post("/completion", {"prompt": "SECRET", "n_predict": 3}, X_Request_Id="one")
    server.post("/completion", {"prompt": "SECRET", "temperature": "SECRET"})
    server.connect().send("POST", "/completion", b'{"prompt":"SECRET","stream":true}').leave()
    first, second, third = lines()
    assert (first["id"], first["method"], first["path"], first["status"]) == ("one", "POST", "/completion", 200)
    assert (first["prompt_tokens"], first["predicted_tokens"], first["finish"]) == (7, 3, ["limit"])
    assert (first["received"], first["client"], first["client_left"]) == (36, "192.0.2.1", False)
    assert first["sent"] > 100
    assert {"time", "ms", "cached_tokens", "prompt_ms", "predicted_ms"} <= first.keys()
    assert second["status"] == 400
    assert "finish" not in second
    assert third["client_left"] is True
    assert third["finish"] == ["none"]
    assert "SECRET" not in json.dumps(lines())


def test_log_file_that_cannot_be_written(make_server, tmp_path):
    with pytest.raises(SystemExit, match=r"--log-file .* Is a directory"):
        make_server(log_file=str(tmp_path))


def test_a_full_disk_ends_no_request(make_server):
    assert make_server(log_file="/dev/full").get("/health").status == 200


def test_api_prefix(make_server):
    server = make_server(api_prefix="/llama", api_keys=("k",))
    for path in ("/llama/health", "/llama/v1/health", "/llama/", "/llama/app.js"):
        assert server.get(path).status == 200
    assert server.get("/llama/props", X_Api_Key="k").status == 200
    for path in ("/health", "/", "/llamahealth", "/llam"):
        server.get(path).error(401)
        server.get(path, X_Api_Key="k").error(404)
    assert server.post("/llama/tokenize", {"content": "a"}, X_Api_Key="k").json == {"tokens": [97]}


@pytest.mark.parametrize("query", ["", "?m=a&b"])
def test_the_prefix_by_itself_leads_to_the_page(make_server, query):
    server = make_server(api_prefix="/a/b", api_keys=("k",))
    reply = server.get(f"/a/b{query}")
    assert (reply.status, reply.headers["location"], reply.body) == (308, f"/a/b/{query}", b"")
    server.request("POST", "/a/b").error(401)


def test_no_page(make_server):
    server = make_server(ui=False)
    server.get("/").error(404)
    assert server.get("/health").status == 200


def test_slots_and_props_routes(make_server):
    server = make_server(slots=False)
    server.get("/slots").error(501)
    server.post("/props", {}).error(501)
    props = server.get("/props").json
    assert (props["endpoint_slots"], props["endpoint_props"]) == (False, False)
    server = make_server(props=True)
    assert server.post("/props", {"system_prompt": {"prompt": "be nice"}}).json == {"success": True}
    assert server.get("/props").json["system_prompt"] == "be nice"
    assert server.get("/props").json["endpoint_props"] is True
    server.post("/props", {"temperature": 1}).error(400)
    assert server.post("/props", {"system_prompt": {"prompt": ""}}).json == {"success": True}
    assert server.get("/props").json["system_prompt"] == SystemPrompt().prompt


def test_defaults_of_requests(make_server):
    server = make_server(defaults={"temperature": 0.25, "top_k": 7, "seed": 5, "repeat_penalty": 1.5, "n_keep": 3})
    shown = server.get("/props").json["default_generation_settings"]
    for settings in (shown, shown["params"]):
        assert (settings["temperature"], settings["top_k"], settings["seed"]) == (0.25, 7, 5)
        assert (settings["repeat_penalty"], settings["n_keep"]) == (1.5, 3)
    used = server.post("/completion", {"prompt": "a", "top_k": 9}).json["generation_settings"]
    assert (used["temperature"], used["top_k"], used["seed"], used["repeat_penalty"]) == (0.25, 9, 5, 1.5)
    assert make_server().get("/props").json["default_generation_settings"]["seed"] == -1


def test_deep_bodies(server):
    def nested(n):
        return b'{"content":"a","x":' + b"[" * n + b"]" * n + b"}"

    assert server.post("/tokenize", nested(63)).status == 200
    assert "64" in server.post("/tokenize", nested(64)).error(400)["message"]
    text = b'{"content":"' + b"[{" * 100 + b'\\"[", "x":' + b"[]}"
    assert server.post("/tokenize", text).status == 200, "brackets in strings are text"
    many = b'{"content":"a","x":[' + b"[]," * 1000 + b"0]}"
    assert server.post("/tokenize", many).status == 200
    server.post("/tokenize", b"[" * 1_000_000).error(400)
    server.post("/completion", b'{"prompt":"a","seed":' + b"9" * 5000 + b"}").error(400, "seed")
