"""Token probabilities over HTTP: shapes, which tokens have them, what is refused."""

from __future__ import annotations

import math

import pytest

from llamatw.capi._abi import MAX_PROBS
from llamatw.engine.sequence import Choices, Delta, TokenProbs
from llamatw.engine.stream import TokenStream
from llamatw.web.generation import Generation
from llamatw.web.limits import LIMITS

EOS = 257
SAID = "aé😀 foo b!"  # bytes are tokens


def complete(server, **body):
    return server.post("/completion", {"prompt": "Hi", "cache_prompt": False, **body})


def chat(server, **body):
    return server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}], **body})


def entries(events):
    return [entry for event in events for entry in event.get("completion_probabilities", [])]


def test_an_entry_has_old_and_new_keys(server):
    server.engine.say = "a"
    answer = complete(server, n_probs=2).json
    assert answer["completion_probabilities"] == [
        {
            "id": 97,
            "token": "a",
            "bytes": [97],
            "logprob": -0.5,
            "top_logprobs": [
                {"id": 97, "token": "a", "bytes": [97], "logprob": -0.5},
                {"id": 98, "token": "b", "bytes": [98], "logprob": -1.5},
            ],
            "content": "a",
            "probs": [{"prob": 0.5, "tok_str": "a"}, {"prob": 0.25, "tok_str": "b"}],
        },
        {
            "id": EOS,
            "token": "",
            "bytes": [],
            "logprob": -0.5,
            "top_logprobs": [
                {"id": EOS, "token": "", "bytes": [], "logprob": -0.5},
                {"id": 258, "token": "", "bytes": [], "logprob": -1.5},
            ],
            "content": "",
            "probs": [{"prob": 0.5, "tok_str": ""}, {"prob": 0.25, "tok_str": ""}],
        },
    ]
    assert answer["generation_settings"]["n_probs"] == 2


def test_after_all_samplers(server):
    server.engine.say = "a"
    body = {"n_predict": 1, "n_probs": 2, "post_sampling_probs": True}
    [entry] = complete(server, **body).json["completion_probabilities"]
    assert entry["prob"] == 0.5
    assert entry["top_probs"] == [
        {"id": 97, "token": "a", "bytes": [97], "prob": 0.5},
        {"id": 98, "token": "b", "bytes": [98], "prob": 0.25},
    ]
    [entry] = complete(server, temperature=0, **body).json["completion_probabilities"]
    assert entry["prob"] == 1 and entry["top_probs"] == [{"id": 97, "token": "a", "bytes": [97], "prob": 1.0}]
    assert "top_probs" not in complete(server, n_probs=2).json["completion_probabilities"][0]


def test_bytes_of_a_part_of_a_character(server):
    server.engine.say = "é"
    first, second, _ = complete(server, n_probs=1).json["completion_probabilities"]
    assert (first["token"], first["bytes"], first["content"]) == ("\ufffd", [0xC3], "byte: \\xc3")
    assert (second["bytes"], second["probs"][0]["tok_str"]) == ([0xA9], "byte: \\xa9")


def test_none_where_none_are_asked_for(server):
    for body in ({}, {"n_probs": 0}, {"logprobs": False}, {"logprobs": 0}, {"post_sampling_probs": True}):
        assert "completion_probabilities" not in complete(server, n_predict=2, **body).json
        events = complete(server, n_predict=2, stream=True, **body).events
        assert not any("completion_probabilities" in event for event in events)


@pytest.mark.parametrize("stop", [[], ["foo b"], ["fo", "b"], ["oX"], ["b!Z"], ["a"], ["😀"]])
@pytest.mark.parametrize("limit", [-1, 2, 4, 9])
def test_entries_go_with_the_text(server, stop, limit):
    server.engine.say = SAID
    body = {"n_probs": 1, "stop": stop, "n_predict": limit}
    plain = complete(server, **body).json
    shown = plain["completion_probabilities"]
    events = complete(server, stream=True, **body).events
    assert entries(events[:-1]) == shown and "completion_probabilities" not in events[-1]
    said = b"".join(bytes(entry["bytes"]) for entry in shown)
    assert said.decode("utf-8", "replace") == plain["content"]
    if plain["stop_type"] != "word":
        assert len(shown) == plain["tokens_predicted"]
    for event in events[:-1]:
        own = b"".join(bytes(entry["bytes"]) for entry in event["completion_probabilities"])
        assert own.decode("utf-8", "replace") == event["content"]


def test_a_token_that_a_stop_word_cuts_keeps_its_entry():
    """As some of its text is shown."""
    stream = TokenStream(0, 1, lambda *_: None)
    probs = [TokenProbs(token, -1.0, 0.5, Choices(), Choices()) for token in range(4)]
    texts = ["He", "llo wo", "rld", "!"]
    for entry, text in zip(probs, texts, strict=True):
        stream.push(Delta(tokens=(entry.token,), probs=(entry,), text=text))
    generation = Generation(stream, ("world",))
    with pytest.raises(StopIteration):
        generation.finish().send(None)
    assert generation.text == "Hello " and [(start, probs.token) for start, probs in generation.probs] == [
        (0, 0),
        (2, 1),
    ]


def test_many_entries_count_as_unread_bytes():
    """So a reader that is far behind makes its sequence rest."""
    rests = []
    stream = TokenStream(0, 1, lambda *_: None, lambda id, rests_now: rests.append(rests_now))
    choices = Choices.of([(1, -1.0)] * 100)
    entry = TokenProbs(1, -1.0, 0.5, choices, choices)
    for _ in range(50):
        stream.push(Delta(tokens=(1,), probs=(entry,), text="a"))
    assert rests == [True]


def test_response_fields(server):
    server.engine.say = "ab"
    answer = complete(server, n_probs=1, response_fields=["completion_probabilities"]).json
    assert list(answer) == ["completion_probabilities"] and len(answer["completion_probabilities"]) == 3


def test_chat(server):
    server.engine.say = "aé"
    choice = chat(server, logprobs=True, top_logprobs=2).json["choices"][0]
    content = choice["logprobs"]["content"]
    assert content[0] == {
        "id": 97,
        "token": "a",
        "bytes": [97],
        "logprob": -0.5,
        "top_logprobs": [
            {"id": 97, "token": "a", "bytes": [97], "logprob": -0.5},
            {"id": 98, "token": "b", "bytes": [98], "logprob": -1.5},
        ],
    }
    assert b"".join(bytes(entry["bytes"]) for entry in content).decode() == choice["message"]["content"]
    n_top = lambda **body: len(chat(server, **body).json["choices"][0]["logprobs"]["content"][0]["top_logprobs"])  # noqa: E731
    assert n_top(logprobs=True) == 20
    assert n_top(logprobs=True, top_logprobs=0) == 0
    assert n_top(n_probs=3) == 3
    assert chat(server, logprobs=False, top_logprobs=0).json["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("stop", [None, "é", "b"])
def test_chat_stream(server, stop):
    server.engine.say = "aéb"
    body = {"logprobs": True, "top_logprobs": 1, "stop": stop}
    whole = chat(server, **body).json["choices"][0]["logprobs"]["content"]
    choices = [event["choices"][0] for event in chat(server, stream=True, **body).events[:-1]]
    assert [entry for choice in choices for entry in (choice["logprobs"] or {"content": []})["content"]] == whole
    assert choices[0]["logprobs"] is None and choices[-1]["logprobs"] is None


def test_several_answers(server):
    server.engine.say = "a"
    first, second = complete(server, n=2, n_probs=1).json
    assert first["completion_probabilities"] == second["completion_probabilities"] != []
    choices = chat(server, n=2, logprobs=True).json["choices"]
    assert all(len(choice["logprobs"]["content"]) == 2 for choice in choices)


def test_what_is_refused(server):
    for name in ("n_probs", "logprobs"):
        assert LIMITS[name].high == MAX_PROBS
        for value in (-1, MAX_PROBS + 1, 10**9, True, "3", math.nan):
            complete(server, **{name: value}).error(400, None if value is math.nan else name)
    complete(server, n_probs=2, logprobs=3).error(400, "n_probs")
    chat(server, top_logprobs=2).error(400, "top_logprobs")
    chat(server, logprobs=False, top_logprobs=2).error(400, "top_logprobs")
    chat(server, logprobs=True, top_logprobs=21).error(400, "top_logprobs")
    chat(server, logprobs=3).error(400, "logprobs")
    chat(server, logprobs=True, top_logprobs=2, n_probs=3).error(400, "n_probs")
    for value in (2, False, None):
        assert complete(server, n_probs=2, logprobs=value, n_predict=1).json["completion_probabilities"]
