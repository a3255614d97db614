"""/health, /props, /slots, /v1/models, and what is known but not served."""

from __future__ import annotations

import msgspec
import pytest

from llamatw.errors import ModelError


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
def test_health(server, path):
    ready = server.get(path)
    assert (ready.status, ready.json) == (200, {"status": "ok"})


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
def test_health_while_loading(make_server, path):
    server = make_server(ready=False)
    reply = server.connect().send("GET", path).reply()
    assert reply.error(503)["type"] == "unavailable_error"
    assert reply.json["status"] == "loading model"
    assert reply.headers["retry-after"] == "1"


def test_other_routes_while_loading(make_server):
    server = make_server(ready=False)
    for path in ("/props", "/slots", "/v1/models"):
        server.connect().send("GET", path).reply().error(503)
    for path in ("/completion", "/v1/chat/completions", "/tokenize", "/detokenize", "/apply-template"):
        server.connect().send("POST", path, b"{}").reply().error(503)
    assert server.connect().send("GET", "/").reply().status == 200


def test_health_of_a_model_that_cannot_be_loaded(make_server):
    server = make_server(ready=False)
    server.service.failed(ModelError("m.gguf is no GGUF file"))
    reply = server.connect().send("GET", "/health").reply()
    assert "m.gguf is no GGUF file" in reply.error(503)["message"]
    assert reply.json["status"] == "error"
    assert "retry-after" not in reply.headers
    assert "m.gguf" in server.connect().send("POST", "/completion", b"{}").reply().error(503)["message"]


@pytest.mark.parametrize("path", ["/health", "/v1/health"])
def test_health_while_a_step_is_stuck(server, path):
    replies = []
    step = server.engine.step

    def stuck(rows):
        server.reactor.advance(45)
        replies.append(server.connect().send("GET", path).reply())
        return step(rows)

    server.engine.step = stuck
    assert server.post("/completion", {"prompt": "abc", "n_predict": 1}).status == 200
    error = replies[0].error(503)
    assert error["type"] == "unavailable_error"
    assert "for 45 s" in error["message"] and "request 0 (4 tokens)" in error["message"]
    assert replies[0].json["status"] == "error" and "retry-after" not in replies[0].headers
    assert server.get(path).json == {"status": "ok"}


def test_head(server):
    reply = server.request("HEAD", "/health")
    assert (reply.status, reply.body) == (200, b"")


def test_props(server):
    props = server.get("/props").json
    settings = props["default_generation_settings"]
    for key in ("n_ctx", "temperature", "top_k", "repeat_penalty", "n_predict", "seed", "model", "mirostat"):
        assert key in settings
    assert (settings["n_ctx"], settings["params"]["n_predict"], settings["seed"]) == (1024, -1, -1)
    assert (props["total_slots"], props["bos_token"], props["eos_token"]) == (2, "<s>", "</s>")
    assert (props["assistant_name"], props["user_name"], props["model_path"]) == ("", "", "fake.gguf")
    assert "<|im_start|>" in props["chat_template"]


def test_models(make_server):
    server = make_server(aliases=("mine", "other"), tags=("small",))
    models = server.get("/v1/models").json
    assert models == server.get("/models").json
    (model,) = models["data"]
    assert (models["object"], model["id"], model["object"], model["owned_by"]) == ("list", "mine", "model", "llamacpp")
    assert (model["aliases"], model["tags"]) == (["mine", "other"], ["small"])
    assert model["meta"]["n_vocab"] == 260
    (other,) = models["models"]
    assert (other["name"], other["details"]["family"], other["details"]["parameter_size"]) == ("mine", "fake", "1.0K")
    assert server.post("/completion", {"prompt": "a"}).json["model"] == "mine"


def test_what_the_file_says_of_its_weights(server):
    info = server.service._model
    metadata = {"general.file_type": 15, "tokenizer.ggml.model": "gpt2", "tokenizer.chat_template.tool_use": "T"}
    server.service._model = msgspec.structs.replace(info, metadata=metadata)
    (model,) = server.get("/v1/models").json["data"]
    assert (model["meta"]["ftype"], model["meta"]["vocab_type"], model["tags"]) == ("Q4_K - Medium", 2, [])
    props = server.get("/props").json
    assert (props["model_ftype"], props["chat_template_tool_use"]) == ("Q4_K - Medium", "T")
    for odd in (99, -1, "x", True, 2.5):
        server.service._model = msgspec.structs.replace(info, metadata={"general.file_type": odd})
        assert server.get("/props").json["model_ftype"] in ("unknown", "F16")


def test_one_model(make_server):
    server = make_server(aliases=("/models/my model.gguf",))
    (model,) = server.get("/v1/models").json["data"]
    for path in (
        "/v1/models//models/my%20model.gguf",
        "/v1/models/models/my%20model.gguf",
        "/models/models/my%20model.gguf",
    ):
        assert server.get(path).json == model, path
    assert server.get("/v1/models/other").error(404)["type"] == "not_found_error"
    make_server(ready=False).connect().send("GET", "/v1/models/x").reply().error(503)


def test_changing_props(make_server):
    server = make_server(props=True)
    assert server.get("/props").json["endpoint_props"] is True
    change = lambda **body: server.post("/props", body)  # noqa: E731
    assert change(system_prompt="Be nice.", user_name="U:").json == {"success": True}
    assert change(assistant_name="A:").json == {"success": True}
    props = server.get("/props").json
    assert (props["system_prompt"], props["user_name"], props["assistant_name"]) == ("Be nice.", "U:", "A:")
    assert change(system_prompt={"prompt": "Other."}).json == {"success": True}
    assert server.get("/props").json["user_name"] == ""
    assert change().json == {"success": True}
    assert server.get("/props").json["system_prompt"] == "Other."
    change(system_prompt="x" * 2000).error(400, "system_prompt")
    change(system_prompt=5).error(400, "system_prompt")
    change(temperature=1).error(400)
    assert server.get("/props").json["system_prompt"] == "Other."


def test_slots(server):
    slots = server.get("/slots").json
    assert [(slot["id"], slot["n_ctx"], slot["is_processing"]) for slot in slots] == [
        (0, 1024, False),
        (1, 1024, False),
    ]
    body = b'{"prompt":["a","b"],"ignore_eos":true,"n_predict":100,"seed":4}'
    server.connect().send("POST", "/completion", body)
    server.pump.run(5)
    busy = server.connect().send("GET", "/slots").reply().json
    assert [slot["is_processing"] for slot in busy] == [True, True]
    assert busy[0]["params"]["seed"] == 4
    assert "stop" not in busy[0]["params"], "the engine does not know"
    assert busy[0]["next_token"][0]["n_remain"] == 100 - busy[0]["next_token"][0]["n_decoded"]
    server.connect().send("GET", "/slots?fail_on_no_slot=1").reply().error(503)
    server.pump.run()
    assert server.get("/slots?fail_on_no_slot=1").status == 200
    done = server.get("/slots").json
    assert [slot["is_processing"] for slot in done] == [False, False]
    token = {"has_next_token": False, "has_new_line": False, "n_remain": -1, "n_decoded": 100}
    assert [slot["next_token"] for slot in done] == [[token], [token]], "what it did last"
    assert done[0]["params"]["seed"] == 4 and done[0]["n_prompt_tokens"] == 2


@pytest.mark.parametrize("path", ["/props", "/slots/0?action=save", "/infill", "/embedding"])
def test_known_but_not_served(server, path):
    assert server.post(path, {}).error(501)["type"] == "not_supported_error"
