"""/v1/chat/completions and /apply-template."""

from __future__ import annotations

import json

import msgspec
import pytest

CHAT = "/v1/chat/completions"


def user(content):
    return {"role": "user", "content": content}


def chat(server, **body):
    return server.post(CHAT, {"messages": [user("Hi")], **body})


@pytest.mark.parametrize("route", [CHAT, "/chat/completions"])
def test_answer(server, route):
    server.engine.say = "Hello!"
    answer = server.post(route, {"messages": [user("Hi")], "model": "whatever"}).json
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "fake.gguf"
    assert answer["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!"},
            "finish_reason": "stop",
            "logprobs": None,
        }
    ]
    n_prompt = len("user\nHi\n") + len("assistant\n") + 3 + 1  # three control tokens and BOS
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (n_prompt, 7, n_prompt + 7)
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}
    assert chat(server).json["usage"]["prompt_tokens_details"]["cached_tokens"] == n_prompt - 1


def test_finish_reasons(server):
    server.engine.say = "Hello there"
    reason = lambda **body: chat(server, **body).json["choices"][0]["finish_reason"]  # noqa: E731
    assert reason() == "stop"
    assert reason(max_tokens=3) == reason(n_predict=3) == reason(max_completion_tokens=3) == "length"
    assert reason(stop="the") == "stop"


def test_stream(server):
    server.engine.say = "Hello"
    events = chat(server, stream=True).events
    assert events[-1] == "[DONE]"
    chunks = events[:-1]
    assert len({chunk["id"] for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0] == {"role": "assistant", "content": None}
    assert deltas[-1] == {}
    assert "".join(delta["content"] for delta in deltas[1:-1]) == "Hello"
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert not any("usage" in chunk for chunk in chunks)


def test_stream_with_usage(server):
    server.engine.say = "Hello"
    *chunks, usage, done = chat(server, stream=True, max_tokens=2, stream_options={"include_usage": True}).events
    assert all(chunk["usage"] is None for chunk in chunks)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert (usage["choices"], usage["usage"]["completion_tokens"], done) == ([], 2, "[DONE]")


def test_stream_that_fails_ends_with_an_error_and_done(server):
    from llamatw.errors import EngineFailure

    server.engine.say = "Hello"  # a random text may end at its first token
    server.engine.faults.extend([None, EngineFailure("no luck", -1)])
    error, done = chat(server, stream=True).events[-2:]
    assert (error["error"]["code"], error["error"]["message"], done) == (500, "no luck", "[DONE]")


def test_repeat_penalty_default_and_native_fields(server):
    seen = []
    server.engine.reply = lambda history, seed: 257
    open_seq = server.engine.open_seq
    server.engine.open_seq = lambda prompt, sampling, *rest: (seen.append(sampling), open_seq(prompt, sampling, *rest))[
        1
    ]
    chat(server)
    chat(server, repeat_penalty=1.5, min_p=0.2, top_k=3)
    assert [(s.repeat_penalty, s.temperature) for s in seen] == [(1.0, 0.8), (1.5, 0.8)]
    assert (seen[1].min_p, seen[1].top_k) == (0.2, 3)


def test_apply_template(server):
    prompt = lambda messages, **more: server.post("/apply-template", {"messages": messages, **more}).json["prompt"]  # noqa: E731
    start = "<|im_start|>assistant\n"
    assert prompt([user("A")]) == f"<|im_start|>user\nA<|im_end|>\n{start}"
    assert prompt([user("A")], add_generation_prompt=False) == "<|im_start|>user\nA<|im_end|>\n"
    assert prompt([{"role": "developer", "content": "D"}]).startswith("<|im_start|>system\nD")
    parts = [{"type": "text", "text": "p1"}, {"type": "text", "text": "p2"}]
    assert prompt([user(parts)]) == f"<|im_start|>user\np1\np2<|im_end|>\n{start}"
    server.post("/apply-template", {"messages": [{"role": "user"}]}).error(400, "messages")
    silent = [{"role": "assistant", "content": None}, user("A")]
    assert prompt(silent).startswith("<|im_start|>assistant\n<|im_end|>")


def test_user_text_is_no_control_token(server):
    seen = []
    submit = server.service.submit
    server.service.submit = lambda prompt, *more: (seen.append(prompt), submit(prompt, *more))[1]
    chat(server, messages=[user("x<|im_end|>y")])
    assert [token for token in seen[0] if token >= 256] == [256, 258, 259, 258]


@pytest.mark.parametrize(
    "messages",
    [
        None,
        "x",
        [],
        ["a"],
        [{}],
        [{"role": 5, "content": "x"}],
        [{"role": "user", "content": 5}],
        [{"role": "user", "content": {}}],
        [{"role": "robot", "content": "x"}],
        [user([{"type": "zzz"}])],
        [user([{"type": "text"}])],
        [user([{}])],
        [user("x")] * 5000,
    ],
)
def test_bad_messages(server, messages):
    server.post(CHAT, {"messages": messages}).error(400, "messages")
    server.post("/apply-template", {"messages": messages}).error(400, "messages")


def test_missing_messages(server):
    server.post(CHAT, {}).error(400, "messages")


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "tool", "content": "x"}],
        [{"role": "assistant", "tool_calls": [{"id": "1"}]}],
        [user([{"type": "image_url", "image_url": {"url": "data:"}}])],
    ],
)
def test_messages_of_later(server, messages):
    server.post(CHAT, {"messages": messages}).error(501, "messages")


def test_no_template(server):
    server.service._model = msgspec.structs.replace(server.service._model, chat_template=None)
    assert chat(server).error(400)["type"] == "chat_template_rejected"


def test_broken_template(server):
    server.service._model = msgspec.structs.replace(server.service._model, chat_template="{{ ''.__class__ }}{% if %}")
    assert chat(server).error(400)["type"] == "chat_template_rejected"


def test_prompt_too_long(server):
    assert chat(server, messages=[user("x" * 3000)]).error(400, "prompt")["type"] == "exceed_context_size_error"


def test_client_that_leaves(server):
    body = json.dumps({"messages": [user("Hi")], "stream": True, "ignore_eos": True}).encode()
    connection = server.connect().send("POST", CHAT, body)
    server.pump.run(5)
    connection.leave()
    assert server.n_busy == 0


def test_template_flags(make_server):
    hello = {"messages": [{"role": "user", "content": "Hi"}]}
    server = make_server(chat_template="llama2")
    assert "[INST] Hi [/INST]" in server.post("/apply-template", hello).json["prompt"]
    props = server.get("/props").json
    assert "[INST] " in props["chat_template"]
    assert props["chat_template_caps"]["supports_system_role"] is True
    server = make_server(chat_template="{{ messages[0].content }}!")
    assert server.post("/apply-template", hello).json["prompt"] == "Hi!"
    server = make_server(jinja=False)
    server.service._model = msgspec.structs.replace(server.engine.model, chat_template="{{ '<|im_start|>' }}")
    assert server.post("/apply-template", hello).json["prompt"].startswith("<|im_start|>user\nHi<|im_end|>")
    server = make_server(jinja=False)
    server.service._model = msgspec.structs.replace(server.engine.model, chat_template="{{ 'Q:' }}")
    assert server.post("/v1/chat/completions", hello).error(400)["type"] == "chat_template_rejected"
    assert server.get("/props").json["chat_template_caps"] == {}


@pytest.mark.parametrize("path", ["/apply-template", "/v1/chat/completions/input_tokens"])
def test_routes_that_generate_nothing_check_stops_too(server, path):
    body = {"messages": [{"role": "user", "content": "a"}], "stop": ["a"] * 17}
    server.post(path, body).error(400, "stop")
