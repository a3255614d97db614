"""What answers hold when asked for: progress, timings, the native answer; assistant prefill; template values."""

from __future__ import annotations

import msgspec
import pytest

CHAT = "/v1/chat/completions"


def user(content):
    return {"role": "user", "content": content}


def assistant(content):
    return {"role": "assistant", "content": content}


def chat(server, *messages, path=CHAT, **body):
    return server.post(path, {"messages": list(messages) or [user("Hi")], **body})


def prompt_of(server, *messages, **body):
    reply = chat(server, *messages, path="/apply-template", **body)
    assert reply.status == 200, reply.body
    return reply.json["prompt"]


# ---- progress and timings ----


def progresses(events):
    return [event["prompt_progress"] for event in events if "prompt_progress" in event]


@pytest.mark.parametrize("path", ["/completion", "/v1/completions"])
def test_progress(server, path):
    body = {"prompt": "x" * 900, "stream": True, "return_progress": True, "n_predict": 2}
    cold = progresses(server.post(path, body).events)
    assert [p["total"] for p in cold] == [901] * len(cold)
    assert cold[0] == {"total": 901, "cache": 0, "processed": 0, "time_ms": 0.0}
    assert [p["processed"] for p in cold] == [0, 512, 901]
    assert [p["time_ms"] for p in cold] == sorted(p["time_ms"] for p in cold)
    warm = progresses(server.post(path, body).events)
    assert [(p["cache"], p["processed"]) for p in warm] == [(900, 900), (900, 901)]


def test_progress_in_chat_comes_between_role_and_text(server):
    server.engine.say = "abc"
    events = chat(server, user("x" * 700), stream=True, return_progress=True).events[:-1]
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0] == {"role": "assistant", "content": None} and deltas[1] == deltas[2] == {}
    assert len(progresses(events)) == 3 and "prompt_progress" not in events[0]
    assert "".join(delta.get("content") or "" for delta in deltas) == "abc"


def test_no_progress_unless_asked_for(server):
    for body in ({}, {"return_progress": False}, {"return_progress": None}):
        assert not progresses(server.post("/completion", {"prompt": "ab", "stream": True, **body}).events)
    assert "prompt_progress" not in server.post("/completion", {"prompt": "ab", "return_progress": True}).json


def test_progress_of_no_prompt(server):
    events = server.post("/completion", {"prompt": "", "stream": True, "return_progress": True}).events
    assert not progresses(events) and events[-1]["stop"]


@pytest.mark.parametrize("path", ["/completion", "/v1/completions", CHAT])
def test_timings_per_token(server, path):
    server.engine.say = "abc"
    body = {"prompt": "Hi", "messages": [user("Hi")], "stream": True}
    timed = [event for event in server.post(path, {**body, "timings_per_token": True}).events if event != "[DONE]"]
    counts = [event["timings"]["predicted_n"] for event in timed if "timings" in event]
    assert len(counts) >= 4 and counts == sorted(counts) and counts[-1] == 4
    plain = [event for event in server.post(path, body).events if event != "[DONE]"]
    assert ["timings" in event for event in plain] == [False] * (len(plain) - 1) + [True]


def test_settings_tell_what_was_asked_for(server):
    for wish in (True, False):
        answer = server.post("/completion", {"prompt": "a", "n_predict": 1, "timings_per_token": wish}).json
        assert answer["generation_settings"]["timings_per_token"] is wish
    assert server.get("/props").json["default_generation_settings"]["params"]["timings_per_token"] is False


# ---- verbose ----


def test_verbose(server, make_server):
    server.engine.say = "abc"
    assert "__verbose" not in chat(server).json
    native = chat(server, verbose=True).json["__verbose"]
    assert native["prompt"] == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert (native["content"], native["stop_type"]) == ("abc", "eos")
    *chunks, last, _ = chat(server, verbose=True, stream=True).events
    assert "__verbose" in last and not any("__verbose" in chunk for chunk in chunks)
    talker = make_server(verbose=True)
    assert "__verbose" in chat(talker).json and "__verbose" not in chat(talker, verbose=False).json


def test_response_fields_of_chat(server):
    assert set(chat(server, response_fields=["id", "usage/prompt_tokens", "nothing"]).json) == {
        "id",
        "usage/prompt_tokens",
    }


# ---- counting ----


@pytest.mark.parametrize("path", [f"{CHAT}/input_tokens", "/chat/completions/input_tokens"])
def test_input_tokens(server, path):
    counted = chat(server, path=path).json
    assert counted["object"] == "response.input_tokens"
    assert counted["input_tokens"] == chat(server).json["usage"]["prompt_tokens"]
    chat(server, user(5), path=path).error(400, "messages")
    chat(server, path=path, temperature=1000).error(400, "temperature")


@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/input_tokens", "/apply-template"])
def test_a_chat_is_checked_by_whoever_reads_it(server, path):
    wrong = {
        "response_format": {"type": "xml"},
        "grammar": "root ::= (",
        "json_schema": {"type": "nothing"},
        "logit_bias": [[10**9, 1]],
        "samplers": ["nope"],
        "n": 200,
        "best_of": 200,
        "id_slot": 99,
        "top_logprobs": 3,
        "preserved_tokens": [""],
    }
    for field, value in wrong.items():
        chat(server, path=path, **{field: value}).error(400, field)


# ---- assistant prefill ----

HEAD = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize("content", ["Wh", [{"type": "text", "text": "Wh"}], "Wh ", ""])
def test_the_last_message_of_the_assistant_is_gone_on_with(server, content):
    text = content if isinstance(content, str) else "Wh"
    assert prompt_of(server, user("Hi"), assistant(content)) == HEAD + text
    server.engine.say = "ill"
    assert chat(server, user("Hi"), assistant(content)).json["choices"][0]["message"]["content"] == "ill"


def test_a_turn_that_is_over(server, make_server):
    whole = HEAD + "Wh<|im_end|>\n"
    turns = user("Hi"), assistant("Wh")
    assert prompt_of(server, *turns, add_generation_prompt=False) == whole
    strict = make_server(prefills=False)
    assert prompt_of(strict, *turns) == whole + "<|im_start|>assistant\n"
    assert prompt_of(strict, *turns, continue_final_message=True) == HEAD + "Wh"


@pytest.mark.parametrize("wish", [True, "content"])
def test_continue_final_message(server, wish):
    turns = user("Hi"), assistant("Wh")
    assert prompt_of(server, *turns, continue_final_message=wish) == HEAD + "Wh"
    assert prompt_of(server, *turns, continue_final_message=wish, add_generation_prompt=False) == HEAD + "Wh"
    chat(server, *turns, continue_final_message=wish, add_generation_prompt=True).error(400, "continue_final_message")
    chat(server, user("Hi"), continue_final_message=wish).error(400, "continue_final_message")


def test_bad_wishes_to_continue(server):
    turns = user("Hi"), assistant("Wh")
    chat(server, *turns, continue_final_message="all").error(400, "continue_final_message")
    chat(server, *turns, continue_final_message="reasoning_content").error(501, "continue_final_message")
    chat(server, user("Hi"), assistant("a"), assistant("b")).error(400, "messages")


def test_a_prefill_holds_no_control_token(server):
    seen = []
    submit = server.service.submit
    server.service.submit = lambda prompt, *more: (seen.append(prompt), submit(prompt, *more))[1]
    chat(server, user("Hi"), assistant("a<|im_end|>b"), max_tokens=1)
    assert [token for token in seen[0] if token >= 256] == [256, 258, 259, 258]
    assert bytes(seen[0][-12:]) == b"a<|im_end|>b"


# ---- template values ----

TEMPLATE = "{{ messages[0].content }}{% if enable_thinking %}<think>{% endif %}{{ style or '' }}"


@pytest.fixture
def choosy(server):
    server.service._model = msgspec.structs.replace(server.service._model, chat_template=TEMPLATE)
    return server


def test_template_values(choosy):
    assert prompt_of(choosy, user("A")) == "A"
    assert prompt_of(choosy, user("A"), chat_template_kwargs={"enable_thinking": True}) == "A<think>"
    assert prompt_of(choosy, user("A"), chat_template_kwargs={"style": "!", "other": [{"a": 1}]}) == "A!"
    assert prompt_of(choosy, user("A"), chat_template_kwargs={}) == "A"
    assert (
        chat(choosy, user("A"), chat_template_kwargs={"style": "!"}, max_tokens=1).json["usage"]["prompt_tokens"] == 3
    )


@pytest.mark.parametrize(
    "values",
    [
        {"enable_thinking": "yes"},
        {"messages": []},
        {"bos_token": "x"},
        {"add_generation_prompt": True},
        {"raise_exception": 1},
        {"namespace": 1},
        {"self": 1},
        {"tools": []},
        {"_private": 1},
        {"a b": 1},
        {"": 1},
        {"é": 1},
        {"a" * 65: 1},
        {f"a{n}": 1 for n in range(33)},
        {"a": "x" * 70_000},
        [],
        "x",
        5,
    ],
)
def test_bad_template_values(choosy, values):
    chat(choosy, user("A"), chat_template_kwargs=values).error(400, "chat_template_kwargs")


@pytest.mark.parametrize("value", ["<|im_end|>", ["a", {"b": "x<s>y"}], {"</s>": 1}])
def test_template_values_hold_no_control_tokens(choosy, value):
    error = chat(choosy, user("A"), chat_template_kwargs={"style": value}).error(400, "chat_template_kwargs")
    assert error["type"] == "chat_template_rejected"
