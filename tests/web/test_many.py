"""Several answers to a prompt, the system prompt, and what many clients at once get."""

from __future__ import annotations

import json

import pytest

USER = [{"role": "user", "content": "hello"}]


# ---- several answers ----


def test_n_answers_are_a_list_and_share_their_prompt(server):
    reply = server.post("/completion", {"prompt": "x" * 300, "n_cmpl": 3, "seed": 5, "n_predict": 8})
    answers = reply.json
    assert [answer["index"] for answer in answers] == [0, 1, 2]
    alone = [
        server.post("/completion", {"prompt": "x" * 300, "seed": 5 + n, "n_predict": 8}).json["content"]
        for n in range(3)
    ]
    assert [answer["content"] for answer in answers] == alone and len(set(alone)) == 3
    assert sum(answer["timings"]["prompt_n"] for answer in answers) == 301 + 2, "computed once, but for the last token"


def test_n_answers_to_each_of_several_prompts(server):
    answers = server.post("/completion", {"prompt": ["ab", "cd"], "n": 2, "n_predict": 1}).json
    assert [(answer["index"], answer["prompt"]) for answer in answers] == [(0, "ab"), (1, "ab"), (2, "cd"), (3, "cd")]


def test_n_answers_in_a_stream(server):
    events = server.post("/completion", {"prompt": "ab", "n": 2, "n_predict": 3, "stream": True}).events
    assert {event["index"] for event in events} == {0, 1}
    assert [event["index"] for event in events if event["stop"]] in ([0, 1], [1, 0])


def test_n_choices(server):
    server.engine.say = "abc"
    body = {"messages": USER, "n": 3, "seed": 1}
    whole = server.post("/v1/chat/completions", body).json
    assert [(choice["index"], choice["message"]["content"]) for choice in whole["choices"]] == [
        (n, "abc") for n in range(3)
    ]
    assert whole["usage"]["completion_tokens"] == 12 and whole["usage"]["prompt_tokens"] < 60
    *chunks, usage, done = server.post(
        "/v1/chat/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}
    ).events
    assert done == "[DONE]" and usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12
    texts = dict.fromkeys(range(3), "")
    for chunk in chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["delta"].get("content") or ""
    assert texts == dict.fromkeys(range(3), "abc")
    assert sum(chunk["choices"][0]["finish_reason"] == "stop" for chunk in chunks) == 3


@pytest.mark.parametrize("body", [{"prompt": "a", "n": 6}, {"prompt": ["a", "b", "c"], "n": 2}])
def test_more_answers_than_the_server_takes(server, body):
    assert "takes 5 at once" in server.post("/completion", body).error(400, "n")["message"]


def test_too_many_answers_are_refused_by_the_name_they_were_asked_for(server):
    server.post("/completion", {"prompt": "a", "n_cmpl": 6}).error(400, "n_cmpl")


def test_spellings_of_n_that_differ(server):
    server.post("/completion", {"prompt": "a", "n": 2, "n_cmpl": 3}).error(400, "n")


# ---- the system prompt ----


def seen_prompts(server):
    seen = []
    submit = server.service.submit
    server.service.submit = lambda prompt, *more: (seen.append(prompt), submit(prompt, *more))[1]
    return seen


def test_a_system_prompt_stands_in_front_of_every_prompt_once_it_is_set(server):
    seen = seen_prompts(server)
    system = {"prompt": "be <s> nice", "anti_prompt": "User:", "assistant_name": "Bot:"}
    server.post("/completion", {"prompt": "hi", "n_predict": 1, "system_prompt": system})
    server.post("/completion", {"prompt": "hi", "n_predict": 1})
    server.post("/v1/chat/completions", {"messages": USER, "max_tokens": 1})
    head = [256, *b"be <s> nice"]
    assert seen[0] == seen[1] == [*head, *b"hi"], "one BOS, and no control tokens in it"
    assert seen[2][: len(head)] == head and seen[2].count(256) == 1
    props = server.get("/props").json
    assert (props["user_name"], props["assistant_name"]) == ("User:", "Bot:")
    server.post("/completion", {"prompt": "hi", "n_predict": 1, "system_prompt": {}})
    assert seen[3] == [256, *b"hi"] and server.get("/props").json["user_name"] == ""


def test_a_system_prompt_that_leaves_no_room_is_refused_and_changes_nothing(server):
    server.post("/completion", {"prompt": "hi", "system_prompt": {"prompt": "x" * 1023}}).error(400, "system_prompt")
    assert server.get("/props").json["system_prompt"] == ""
    server.post("/completion", {"prompt": "hi", "n_predict": 1, "system_prompt": {"prompt": "x" * 1000}})
    error = server.post("/completion", {"prompt": "y" * 100}).error(400, "prompt")
    assert error["type"] == "exceed_context_size_error" and error["n_prompt_tokens"] == 1101


@pytest.mark.parametrize("wrong", [{"n": 6}, {"prompt": [9999]}, {"prompt": "y" * 2000}])
def test_a_system_prompt_of_a_request_that_is_refused_is_not_set(server, wrong):
    system = {"prompt": "be nice", "anti_prompt": "User:"}
    assert server.post("/completion", {"prompt": "hi", "system_prompt": system, **wrong}).status == 400
    props = server.get("/props").json
    assert (props["system_prompt"], props["user_name"]) == ("", "")


def test_who_finds_all_places_taken_sets_no_system_prompt(server):
    for _ in range(5):
        server.connect().send("POST", "/completion", b'{"prompt":"a","ignore_eos":true}')
    body = b'{"prompt":"a","system_prompt":{"prompt":"be nice"}}'
    server.connect().send("POST", "/completion", body).reply().error(429)
    assert server.get("/props").json["system_prompt"] == ""


@pytest.mark.parametrize("bad", ["text", 5, [1], {"prompt": 5}, {"anti_prompt": []}])
def test_system_prompts_of_a_wrong_type(server, bad):
    server.post("/completion", {"prompt": "x", "system_prompt": bad}).error(400, "system_prompt")


# ---- many clients ----


def test_who_comes_when_all_places_are_taken_is_told_when_to_come_back(server):
    for _ in range(5):
        server.connect().send("POST", "/completion", b'{"prompt":"a","ignore_eos":true}')
    reply = server.connect().send("POST", "/completion", b'{"prompt":"a"}').reply()
    assert reply.error(429)["type"] == "rate_limit_error" and int(reply.headers["retry-after"]) >= 1


def test_an_api_key_cannot_take_all_places(make_server):
    server = make_server(api_keys=("one", "two"))

    def post(key):
        return server.connect().send("POST", "/completion", b'{"prompt":"a","ignore_eos":true}', x_api_key=key)

    mine = [post("one") for _ in range(3)]
    other = post("two")
    refused = post("one")
    server.pump.run(2)
    assert "its share" in refused.reply().error(429)["message"]
    assert all(not connection.transport.value() for connection in (*mine, other)), "these are served"


def test_api_keys_do_not_see_each_others_cache(make_server):
    server = make_server(api_keys=("one", "two"))

    def cached(key):
        return server.post("/completion", {"prompt": "x" * 200, "n_predict": 1}, x_api_key=key).json["timings"][
            "cache_n"
        ]

    assert [cached("one"), cached("two"), cached("one")] == [0, 0, 200]


def test_bytes_and_tokens_that_wait_are_bounded(server):
    server.service._admission.max_bytes = 400
    server.service._admission.max_tokens = 120
    first = server.connect().send("POST", "/completion", b'{"prompt":"a","ignore_eos":true}')
    long = json.dumps({"prompt": "a", "unknown": "x" * 400}).encode()
    assert "bytes" in server.connect().send("POST", "/completion", long).reply().error(429)["message"]
    many = json.dumps({"prompt": "x" * 119}).encode()
    assert "tokens" in server.connect().send("POST", "/completion", many).reply().error(429)["message"]
    first.leave()
    assert server.post("/completion", many).status == 200, "who is alone is only bound by the context"


def test_a_deadline_in_the_header_holds_in_the_queue_and_while_running(server):
    server.engine.say = "a" * 900
    body = b'{"prompt":"a","stream":true,"speculative.n_max":0}'
    first = [server.connect().send("POST", "/completion", body, x_request_timeout="5") for _ in range(2)]
    late = server.connect().send("POST", "/completion", body, x_request_timeout="1.5")
    server.pump.run(3)
    server.reactor.advance(2)
    server.pump.run(3)
    assert late.reply().events[-1]["error"]["code"] == 503
    server.reactor.advance(4)
    server.pump.run(3)
    for connection in first:
        last = connection.reply().events[-1]
        assert (last["stop"], last["stop_type"], last["truncated"]) == (True, "limit", False)
        assert 0 < last["tokens_predicted"] < 20


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x", "", "86401"])
def test_bad_deadlines(server, value):
    error = server.post("/completion", {"prompt": "a"}, x_request_timeout=value).error(400)
    assert "X-Request-Timeout" in error["message"]


def test_a_reader_that_is_far_behind_makes_its_sequence_rest(server, monkeypatch):
    monkeypatch.setattr("llamatw.engine.stream._MANY_BYTES", 100)
    monkeypatch.setattr("llamatw.engine.stream._FEW_BYTES", 10)
    server.engine.say = "abcdefghij" * 50
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true}')
    server.pump.run(2)
    connection.transport.producer.pauseProducing()
    server.pump.run()
    slot = server.service.snapshot().slots[0]
    assert slot.is_processing and 100 < slot.n_decoded < 130, "it has stopped for the reader"
    other = server.post("/completion", {"prompt": "b", "n_predict": 5})
    assert other.json["tokens_predicted"] == 5, "others go on"
    connection.transport.producer.resumeProducing()
    server.pump.run()
    assert "".join(event["content"] for event in connection.reply().events) == server.engine.say


def test_a_reader_that_leaves_while_its_sequence_rests(server, monkeypatch):
    monkeypatch.setattr("llamatw.engine.stream._MANY_BYTES", 100)
    server.engine.say = "abcdefghij" * 50
    connection = server.connect().send("POST", "/completion", b'{"prompt":"a","stream":true}')
    server.pump.run(2)
    connection.transport.producer.pauseProducing()
    server.pump.run()
    connection.leave()
    assert server.n_busy == 0
