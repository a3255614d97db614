"""/v1/completions."""

from __future__ import annotations

import msgspec
import pytest

from llamatw.engine.sequence import Choices, TokenProbs
from llamatw.engine.stream import TokenStream
from llamatw.web.generation import Generation, Placed
from tests.web.test_infill import BOS, IDS, MID, PRE, SUF, seen_prompts, teach

PATH = "/v1/completions"


def complete(server, **body):
    reply = server.post(PATH, {"prompt": "Hi", **body})
    assert reply.status == 200, reply.body
    return reply.json


def texts(answer):
    return [choice["text"] for choice in answer["choices"]]


def test_answer(server):
    server.engine.say = "Hello!"
    answer = complete(server, model="any")
    assert (answer["object"], answer["model"], answer["id"][:5]) == ("text_completion", "fake.gguf", "cmpl-")
    assert answer["choices"] == [{"index": 0, "text": "Hello!", "finish_reason": "stop", "logprobs": None}]
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (3, 7, 10)
    assert "__verbose" not in answer


def test_prompt_is_required(server):
    server.post(PATH, {}).error(400, "prompt")


@pytest.mark.parametrize(
    ("prompt", "want"),
    [
        ("ab", [[BOS, 97, 98]]),
        ([97, 98], [[97, 98]]),
        (["ab", "c"], [[BOS, 97, 98], [BOS, 99]]),
        ([[97], [98, 99]], [[97], [98, 99]]),
        (["ab"], [[BOS, 97, 98]]),
        (["a", 98], [[BOS, 97, 98]]),
    ],
)
def test_forms_of_a_prompt(server, prompt, want):
    seen = seen_prompts(server)
    answer = complete(server, prompt=prompt, max_tokens=1)
    assert seen == want
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(want)))
    assert answer["usage"]["prompt_tokens"] == sum(map(len, want))


@pytest.mark.parametrize("prompt", [5, {}, [], [260], [-1, 5], [[260]], [True], [["a"], [{}]], True])
def test_bad_prompts(server, prompt):
    server.post(PATH, {"prompt": prompt}).error(400, "prompt")


def test_several_answers_to_several_prompts(server):
    answer = complete(server, prompt=["ab", "cd"], n=2, max_tokens=1)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["prompt_tokens"] == 6 and answer["usage"]["completion_tokens"] == 4


def test_stream(server):
    server.engine.say = "Hello"
    *chunks, usage, done = server.post(
        PATH, {"prompt": ["a", "b"], "stream": True, "stream_options": {"include_usage": True}}
    ).events
    assert done == "[DONE]" and usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12
    assert len({chunk["id"] for chunk in (*chunks, usage)}) == 1
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    for index in (0, 1):
        mine = [chunk["choices"][0] for chunk in chunks if chunk["choices"][0]["index"] == index]
        assert "".join(choice["text"] for choice in mine) == "Hello"
        assert [choice["finish_reason"] for choice in mine] == [None] * (len(mine) - 1) + ["stop"]


def test_stop_and_finish_reasons(server):
    server.engine.say = "Hello there"
    ends = lambda **body: complete(server, **body)["choices"][0]  # noqa: E731
    assert (ends(stop="the")["text"], ends(stop="the")["finish_reason"]) == ("Hello ", "stop")
    assert (ends(max_tokens=3)["text"], ends(max_tokens=3)["finish_reason"]) == ("Hel", "length")


@pytest.mark.parametrize("prompt", ["Hé", [72, *"é".encode()], ["H", *"é".encode()]])
def test_echo(server, prompt):
    server.engine.say = "!"
    assert texts(complete(server, prompt=prompt, echo=True)) == ["Hé!"]
    events = server.post(PATH, {"prompt": prompt, "echo": True, "stream": True}).events
    assert "".join(chunk["choices"][0]["text"] for chunk in events[:-1]) == "Hé!"


def test_echo_of_several(server):
    server.engine.say = "!"
    assert texts(complete(server, prompt=["a", "b"], n=2, echo=True)) == ["a!", "a!", "b!", "b!"]


def test_suffix(server):
    server.post(PATH, {"prompt": "ab", "suffix": "cd"}).error(501, "suffix")
    assert complete(server, suffix="")["choices"]
    teach(server, **IDS)
    seen = seen_prompts(server)
    complete(server, prompt="ab", suffix="cd", max_tokens=1)
    assert seen == [[BOS, PRE, *b"ab", SUF, *b"cd", MID]]


def test_best_of(server):
    assert len(complete(server, n=2, best_of=2)["choices"]) == 2
    server.post(PATH, {"prompt": "a", "n": 2, "best_of": 1}).error(400, "best_of")
    server.post(PATH, {"prompt": "a", "n": 2, "best_of": 3, "stream": True}).error(400, "best_of")
    server.post(PATH, {"prompt": "a", "best_of": 256}).error(400, "best_of")


def test_the_best_are_told(server, monkeypatch):
    server.engine.say = "ab"
    likelihoods = iter([-3.0, -1.0, -9.0, -7.0])
    made = []

    def likelihood(generation):
        made.append(generation)
        return next(likelihoods)

    monkeypatch.setattr(Generation, "likelihood", property(likelihood))
    answer = complete(server, prompt=["x", "yy"], best_of=2, echo=True)
    assert texts(answer) == ["xab", "yyab"] and [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert all(choice["logprobs"] is None for choice in answer["choices"]), "they are for the choice only"
    assert answer["usage"]["completion_tokens"] == sum(len(generation.tokens) for generation in made) == 12
    assert answer["usage"]["prompt_tokens"] == sum(generation.n_prompt for generation in made[::2])
    likelihoods = iter([-3.0, -1.0, -2.0])
    native = server.post("/completion", {"prompt": "x", "best_of": 3, "seed": 5}).json
    assert (native["index"], native["content"]) == (0, "ab") and "completion_probabilities" not in native


def test_likelihood_is_the_mean_of_the_logarithms():
    generation = Generation(TokenStream(0, 1, lambda *_: None))
    assert generation.likelihood == 0
    entry = TokenProbs(97, -1.0, 0.5, Choices(b""), Choices(b""))
    generation.probs = [Placed(0, entry), Placed(1, msgspec.structs.replace(entry, logprob=-4.0))]
    assert generation.likelihood == -2.5


def test_native_fields_and_penalty(server):
    server.engine.say = "abc"
    answer = complete(server, verbose=True, return_tokens=True, top_k=7)
    native = answer["__verbose"]
    assert (native["prompt"], native["tokens"], native["content"]) == ("Hi", [*b"abc", 257], "abc")
    assert (native["generation_settings"]["repeat_penalty"], native["generation_settings"]["top_k"]) == (1.0, 7)


def test_response_fields(server):
    answer = complete(server, response_fields=["choices", "usage/total_tokens"])
    assert set(answer) == {"choices", "usage/total_tokens"}


def test_logprobs(server):
    server.engine.say = "aé"
    logprobs = complete(server, logprobs=2)["choices"][0]["logprobs"]
    assert [entry["bytes"] for entry in logprobs["content"]] == [[97], [0xC3], [0xA9], []]
    assert [len(entry["top_logprobs"]) for entry in logprobs["content"]] == [2] * 4
    assert logprobs["tokens"] == ["a", "\ufffd", "\ufffd", ""]
    assert logprobs["token_logprobs"] == [-0.5] * 4
    assert logprobs["top_logprobs"][:2] == [{"a": -0.5, "b": -1.5}, {"\ufffd": -0.5}]
    assert logprobs["text_offset"] == [0, 1, 1, 2]
    assert [entry["top_logprobs"] for entry in complete(server, logprobs=0)["choices"][0]["logprobs"]["content"]] == [
        []
    ] * 4
    assert complete(server, logprobs=False)["choices"][0]["logprobs"] is None
    server.post(PATH, {"prompt": "a", "logprobs": True}).error(400, "logprobs")


def test_logprobs_in_a_stream(server):
    server.engine.say = "aéb"
    body = {"prompt": "a", "logprobs": 1, "stop": "b"}
    whole = server.post(PATH, body).json["choices"][0]["logprobs"]
    chunks = [event["choices"][0]["logprobs"] for event in server.post(PATH, {**body, "stream": True}).events[:-1]]
    for name, values in whole.items():
        assert [value for chunk in chunks if chunk for value in chunk[name]] == values


def test_client_that_leaves(server):
    connection = server.connect().send("POST", PATH, b'{"prompt":["a","b"],"stream":true,"ignore_eos":true}')
    server.pump.run(5)
    connection.leave()
    assert server.n_busy == 0
