"""/completion, /tokenize, /detokenize."""

from __future__ import annotations

import json

import pytest

STORY = "Once, a lake.\nThen foo bar. The end."


def text_of(events):
    return "".join(event["content"] for event in events)


@pytest.mark.parametrize("route", ["/completion", "/completions"])
def test_answer_has_old_and_new_keys(server, route):
    server.engine.say = STORY
    reply = server.post(route, {"prompt": "Hi", "temperature": 0, "seed": 7})
    assert reply.status == 200
    answer = reply.json
    assert answer["content"] == STORY
    assert answer["prompt"] == "Hi"
    assert (answer["index"], answer["stop"], answer["model"]) == (0, True, "fake.gguf")
    assert (answer["tokens_evaluated"], answer["tokens_predicted"]) == (3, len(STORY) + 1)
    assert answer["tokens_cached"] == 3 + len(STORY)
    assert answer["id_slot"] == answer["slot_id"] == 0
    assert (answer["stopped_eos"], answer["stopped_limit"], answer["stopped_word"]) == (True, False, False)
    assert (answer["stop_type"], answer["stopping_word"], answer["truncated"]) == ("eos", "", False)
    assert answer["has_new_line"] is True
    assert answer["tokens"] == []
    assert answer["timings"]["prompt_n"] + answer["timings"]["cache_n"] == 3
    settings = answer["generation_settings"]
    assert (settings["seed"], settings["temperature"], settings["repeat_penalty"]) == (7, 0.0, 1.1)
    usual = "penalties dry top_n_sigma top_k tfs_z typ_p top_p min_p xtc temperature"
    assert settings["samplers"] == usual.split()


@pytest.mark.parametrize("stop", [[], ["foo bar"], ["bar", "foo"], ["nowhere"], ["The end.X"], ["O"], ["😀"]])
@pytest.mark.parametrize("limit", [-1, 5, 17])
def test_stream_shows_the_same_as_the_plain_answer(server, stop, limit):
    server.engine.say = STORY + " é😀 done"
    body = {"prompt": "Hi", "stop": stop, "n_predict": limit, "cache_prompt": False}
    plain = server.post("/completion", body).json
    events = server.post("/completion", {**body, "stream": True}).events
    assert text_of(events) == plain["content"]
    assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
    assert events[-1]["content"] == "" and events[-1]["tokens"] == []
    for key in ("tokens_predicted", "tokens_evaluated", "stop_type", "stopping_word", "truncated", "has_new_line"):
        assert events[-1][key] == plain[key]
    said = [*(STORY + " é😀 done").encode(), 257]
    tokens = [token for event in events for token in event["tokens"]]
    assert tokens == said[: plain["tokens_predicted"]]


def test_partial_events(server):
    server.engine.say = "ab"
    events = server.post("/completion", {"prompt": "Hi", "stream": True}).events
    assert events[0] == {
        "index": 0,
        "content": "a",
        "tokens": [97],
        "stop": False,
        "id_slot": 0,
        "slot_id": 0,
        "multimodal": False,
        "tokens_predicted": 1,
        "tokens_evaluated": 3,
    }


def test_stop_word(server):
    server.engine.say = STORY
    answer = server.post("/completion", {"prompt": "Hi", "stop": ["end", "foo bar"]}).json
    assert answer["content"] == "Once, a lake.\nThen "
    assert (answer["stop_type"], answer["stopping_word"], answer["stopped_word"]) == ("word", "foo bar", True)
    assert server.n_busy == 0


def test_character_cut_by_the_limit_is_replaced_in_both_ways(server):
    server.engine.say = "a😀"
    body = {"prompt": "Hi", "n_predict": 3}
    assert server.post("/completion", body).json["content"] == "a\ufffd"
    assert text_of(server.post("/completion", {**body, "stream": True}).events) == "a\ufffd"


def test_limits(server, make_server):
    server.engine.say = "x" * 50
    predict = lambda site, **body: site.post("/completion", {"prompt": "Hi", **body}).json  # noqa: E731
    assert predict(server, n_predict=0)["tokens_predicted"] == 0
    assert predict(server, n_predict=0)["stop_type"] == "limit"
    assert predict(server, n_predict=4)["content"] == "xxxx"
    assert predict(server, max_tokens=5)["tokens_predicted"] == 5
    assert predict(server, max_completion_tokens=6, n_predict=6)["tokens_predicted"] == 6
    assert predict(server)["stop_type"] == "eos"
    limited = make_server(n_predict=3)
    limited.engine.say = "x" * 50
    assert predict(limited)["tokens_predicted"] == 3
    assert predict(limited, n_predict=2)["tokens_predicted"] == 2
    assert predict(limited, n_predict=0)["tokens_predicted"] == 0
    assert predict(limited, n_predict=10)["tokens_predicted"] == 3
    assert predict(limited, n_predict=-2)["tokens_predicted"] == 3


def test_full_context(server):
    server.engine.say = "x" * 2000
    answer = server.post("/completion", {"prompt": "Hi"}).json
    assert (answer["stop_type"], answer["truncated"], answer["stopped_limit"]) == ("limit", True, True)


def test_prompt_too_long(server):
    error = server.post("/completion", {"prompt": "x" * 2000, "stream": True}).error(400, "prompt")
    assert (error["type"], error["n_prompt_tokens"], error["n_ctx"]) == ("exceed_context_size_error", 2001, 1024)


@pytest.mark.parametrize("prompt", ["", None])
def test_empty_prompt_answers_at_once(server, prompt):
    answer = server.post("/completion", {"prompt": prompt}).json
    assert (answer["content"], answer["tokens_predicted"], answer["tokens_evaluated"]) == ("", 0, 0)
    assert server.post("/completion", {"prompt": prompt, "stream": True}).events[-1]["stop"] is True


def test_prompt_forms(server):
    server.engine.say = "ok"
    evaluated = lambda prompt: server.post("/completion", {"prompt": prompt}).json["tokens_evaluated"]  # noqa: E731
    assert evaluated("ab") == 3
    assert evaluated([97, 98]) == 2
    assert evaluated(["ab", 99, "d"]) == 5
    assert evaluated([99, "ab"]) == 3
    assert evaluated(["ab"]) == 3
    assert evaluated([[97, 98, 99]]) == 3
    assert evaluated({"prompt_string": "ab"}) == 3
    assert evaluated("<s><|im_start|>") == 3


@pytest.mark.parametrize(
    "prompt", [[], [-1], [260], [2**40], [2**70], [1.5], [True], {"a": 1}, 5, True, ["a", {"x": 1}], [[]]]
)
def test_bad_prompts(server, prompt):
    server.post("/completion", {"prompt": prompt}).error(400, "prompt")


def test_several_prompts(server):
    server.engine.say = "abc"
    prompts = ["one", [50, 51], {"prompt_string": "three"}]
    answers = server.post("/completion", {"prompt": prompts}).json
    assert [answer["index"] for answer in answers] == [0, 1, 2]
    assert [answer["prompt"] for answer in answers] == prompts
    assert [answer["tokens_evaluated"] for answer in answers] == [4, 2, 6]
    events = server.post("/completion", {"prompt": prompts, "stream": True}).events
    for index in range(3):
        own = [event for event in events if event["index"] == index]
        assert text_of(own) == "abc"
        assert [event["stop"] for event in own].count(True) == 1


def test_several_prompts_are_given_up_together(server):
    server.engine.say = "abc"
    assert server.post("/completion", {"prompt": ["a", "x" * 2000]}).error(400, "prompt")
    assert "takes 5 at once" in server.post("/completion", {"prompt": ["a"] * 9}).error(400, "prompt")["message"]
    server.connect().send("POST", "/completion", b'{"prompt":"a"}')
    server.post("/completion", {"prompt": ["a"] * 5}).error(429)
    server.engine.faults.extend([None, ValueError("broken")])
    events = server.post("/completion", {"prompt": ["a", "b"], "stream": True}).events
    assert "error" in events[-1]
    assert server.service.snapshot().n_waiting == 0


def test_queue_full(server):
    waiting = [server.connect().send("POST", "/completion", b'{"prompt":"a"}') for _ in range(5)]
    reply = server.connect().send("POST", "/completion", b'{"prompt":"a"}').reply()
    reply.error(429)
    assert reply.headers["retry-after"] == "1"
    server.pump.run()
    assert [connection.reply().status for connection in waiting] == [200] * 5


def test_failing_step_is_an_error_of_its_requests(server):
    from llamatw.errors import EngineFailure

    server.engine.faults.append(EngineFailure("no luck", -1))
    assert server.post("/completion", {"prompt": "a"}).error(500)["type"] == "server_error"
    server.engine.faults.extend([None, EngineFailure("no luck", -1)])
    reply = server.post("/completion", {"prompt": "a", "stream": True, "ignore_eos": True})
    assert reply.status == 200
    assert reply.events[-1]["error"]["message"] == "no luck"
    assert server.post("/completion", {"prompt": "a"}).status == 200


def test_slot_wish(server):
    server.engine.say = "x"
    assert server.post("/completion", {"prompt": "a", "id_slot": 1}).json["id_slot"] == 1
    assert server.post("/completion", {"prompt": "a", "slot_id": 1}).json["slot_id"] == 1
    server.post("/completion", {"prompt": "a", "id_slot": 2}).error(400, "id_slot")
    server.post("/completion", {"prompt": "a", "id_slot": 0, "slot_id": 1}).error(400, "id_slot")


def test_response_fields_and_tokens(server):
    server.engine.say = "ab"
    body = {"prompt": "a", "n_predict": 2, "response_fields": ["content", "generation_settings/n_predict", "no/such"]}
    assert server.post("/completion", body).json == {"content": "ab", "generation_settings/n_predict": 2}
    assert server.post("/completion", {"prompt": "a", "n_predict": 2, "return_tokens": True}).json["tokens"] == [97, 98]


def test_seed(server):
    seed = lambda **body: server.post("/completion", {"prompt": "a", **body}).json["generation_settings"]["seed"]  # noqa: E731
    assert seed(seed=5) == 5
    assert seed(seed=2**64 - 1) == 2**64 - 1
    assert len({seed(), seed(seed=-1), seed(seed=2**32 - 1), seed(seed=None)}) == 4


def test_tokenize(server):
    tokens = lambda **body: server.post("/tokenize", body).json["tokens"]  # noqa: E731
    assert tokens() == tokens(content="") == tokens(content=[]) == []
    assert tokens(content="a<s>") == [97, 256]
    assert tokens(content="<s>", parse_special=False) == [60, 115, 62]
    assert tokens(content="a", add_special=True) == [256, 97]
    assert tokens(content=["a", 98, "c"]) == [97, 98, 99]
    assert tokens(content="é", with_pieces=True) == [{"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}]
    assert tokens(content="a", with_pieces=True) == [{"id": 97, "piece": "a"}]
    assert tokens(content="x" * 100_000) == [120] * 100_000
    for content in (5, {"a": 1}, [1.5], [260], [-1], [None]):
        server.post("/tokenize", {"content": content}).error(400, "content")


def test_detokenize(server):
    text = lambda **body: server.post("/detokenize", body).json["content"]  # noqa: E731
    assert text() == text(tokens=[]) == ""
    assert text(tokens=[256, 97, 195]) == "<s>a\ufffd"
    for tokens in (["a"], 5, [260], [-1], [2**70]):
        server.post("/detokenize", {"tokens": tokens}).error(400, "tokens")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 5])
def test_client_that_leaves_frees_its_slot(server, stream, turns):
    body = json.dumps({"prompt": ["a", "b"], "ignore_eos": True, "stream": stream}).encode()
    connection = server.connect().send("POST", "/completion", body)
    server.pump.run(turns)
    connection.leave()
    assert server.n_busy == 0
    assert server.reactor.getDelayedCalls() == []
