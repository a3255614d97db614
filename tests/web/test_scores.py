"""`echo` with `logprobs` on /v1/completions: a prompt's own log-probabilities, in front of those of the answer."""

from __future__ import annotations

import msgspec
import pytest

from llamatw.capi.records import Choices
from llamatw.web import completions
from llamatw.web.probs import Entries, Prompt
from tests.web.test_infill import IDS, teach

PATH = "/v1/completions"
LISTS = ("content", "tokens", "token_logprobs", "top_logprobs", "text_offset")


def score(server, **body):
    reply = server.post(PATH, {"prompt": "aé", "echo": True, "logprobs": 1, **body})
    assert reply.status == 200, reply.body
    return reply.json


def scored(server, **body):
    return score(server, **body)["choices"][0]


def test_the_prompt_stands_in_front(server):
    server.engine.say = "b"
    choice = scored(server, logprobs=2)
    assert (choice["text"], choice["finish_reason"]) == ("aéb", "stop")
    told = choice["logprobs"]
    assert told["tokens"] == ["<s>", "a", "\ufffd", "\ufffd", "b", ""]
    assert told["token_logprobs"] == [None, -0.25, -0.5, -0.75, -0.5, -0.5]
    assert told["top_logprobs"][:2] == [None, {"a": -0.5, "b": -1.5}] and told["top_logprobs"][4] == {
        "b": -0.5,
        "c": -1.5,
    }
    assert told["text_offset"] == [0, 0, 1, 1, 2, 3], "BOS is not in the text"
    assert [entry["token"] for entry in told["content"]] == ["b", ""], "generated ones only"


def test_the_prompt_alone(server):
    answer = score(server, max_tokens=0, logprobs=0)
    choice = answer["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("aé", "length")
    assert choice["logprobs"]["token_logprobs"] == [None, -0.25, -0.5, -0.75]
    assert choice["logprobs"]["top_logprobs"][1] == {"a": -0.25}, "no alternatives: the token itself"
    assert {len(values) for name, values in choice["logprobs"].items() if name != "content"} == {4}
    assert answer["usage"]["completion_tokens"] == 0 and answer["usage"]["prompt_tokens"] == 4


@pytest.mark.parametrize(
    ("prompt", "tokens", "offsets"),
    [
        ([97, 258, 98], ["a", "<|im_start|>", "b"], [0, 1, 13]),
        ("a<|im_start|>b", ["<s>", "a", "<|im_start|>", "b"], [0, 0, 1, 13]),
        ([256, 97], ["<s>", "a"], [0, 3]),
        (["a", 98], ["<s>", "a", "b"], [0, 0, 1]),
        ([0xFF, 97], ["\ufffd", "a"], [0, 1]),
        ([97], ["a"], [0]),
        ("", [], []),
    ],
)
def test_forms_of_a_prompt(server, prompt, tokens, offsets):
    choice = scored(server, prompt=prompt, max_tokens=0)
    told = choice["logprobs"]
    assert (told["tokens"], told["text_offset"]) == (tokens, offsets)
    assert told["token_logprobs"] == [None, *[-0.25 * i for i in range(1, len(tokens))]][: len(tokens)]
    for begin, token in zip(offsets[1:], tokens[1:], strict=True):
        assert choice["text"].startswith(token, begin)


def test_several_prompts_and_answers(server):
    choices = score(server, prompt=[[97, 98], [99, 100, 101]], n=2, max_tokens=1)["choices"]
    assert [choice["logprobs"]["tokens"][:-1] for choice in choices] == [["a", "b"]] * 2 + [["c", "d", "e"]] * 2
    best = score(server, prompt=["x", "yz"], best_of=2, max_tokens=0)["choices"]
    assert [choice["logprobs"]["tokens"] for choice in best] == [["<s>", "x"], ["<s>", "y", "z"]]


@pytest.mark.parametrize("body", [{}, {"max_tokens": 0}, {"max_tokens": 1}, {"n": 2, "stop": "b"}, {"prompt": ""}])
def test_stream(server, body):
    server.engine.say = "bé!"
    whole = score(server, **body)["choices"]
    events = server.post(PATH, {"prompt": "aé", "echo": True, "logprobs": 1, "stream": True, **body}).events[:-1]
    for index, choice in enumerate(whole):
        mine = [event["choices"][0] for event in events if event["choices"][0]["index"] == index]
        assert "".join(chunk["text"] for chunk in mine) == choice["text"]
        for name in LISTS:
            told = [value for chunk in mine if chunk["logprobs"] for value in chunk["logprobs"][name]]
            assert told == choice["logprobs"][name]
        assert mine[0]["text"] == body.get("prompt", "aé"), "in one chunk, with all of its own"


def test_progress_does_not_wait_for_the_end_of_the_prompt(server):
    body = {"prompt": "x" * 600, "echo": True, "logprobs": 0, "stream": True, "return_progress": True, "max_tokens": 2}
    events = server.post(PATH, body).events
    is_progress = ["prompt_progress" in event for event in events[:-1]]
    assert is_progress.index(False) == sum(is_progress) >= 2
    [told] = [event["choices"][0]["logprobs"] for event in events[:-1] if event["choices"][0]["text"] == "x" * 600]
    assert len(told["tokens"]) == 601


def test_what_is_cached_is_read_again_and_stays(server):
    first = score(server, prompt="x" * 200, max_tokens=1, seed=1)
    again = score(server, prompt="x" * 200, max_tokens=1, seed=1, cache_prompt=True)
    assert again["choices"] == first["choices"] and again["timings"]["cache_n"] == 0
    plain = server.post(PATH, {"prompt": "x" * 200, "max_tokens": 1}).json
    assert plain["timings"]["cache_n"] > 100


def test_a_system_prompt_is_not_told(make_server):
    server = make_server(props=True)
    assert server.post("/props", {"system_prompt": "Be nice."}).status == 200
    choice = scored(server, prompt="ab", max_tokens=0)
    assert (choice["text"], choice["logprobs"]["tokens"]) == ("ab", ["a", "b"])
    assert choice["logprobs"]["token_logprobs"] == [-0.25 * 9, -0.25 * 10], "BOS and eight letters stand in front"
    assert choice["logprobs"]["text_offset"] == [0, 1]


def test_what_is_refused(server, monkeypatch):
    for value in (-1, 101, "3", True):
        server.post(PATH, {"prompt": "a", "echo": True, "logprobs": value}).error(400, "logprobs")
    teach(server, **IDS)
    server.post(PATH, {"prompt": "a", "suffix": "b", "echo": True, "logprobs": 1}).error(501, "suffix")
    monkeypatch.setattr(completions, "_MAX_SCORES", 2 * 2 * 3)
    assert scored(server, prompt="a", n=2, logprobs=2, max_tokens=0)
    server.post(PATH, {"prompt": "ab", "n": 2, "logprobs": 2, "echo": True}).error(400, "logprobs")
    server.post("/completion", {"prompt": "a", "n_probs": 1, "echo": True}).error(501, "echo")


def test_nothing_is_told_where_nothing_is_asked(server):
    assert scored(server, logprobs=None)["logprobs"] is None
    assert scored(server, logprobs=False, stream=False)["logprobs"] is None
    plain = server.post(PATH, {"prompt": "aé", "logprobs": 1, "max_tokens": 1}).json["choices"][0]["logprobs"]
    assert len(plain["tokens"]) == 1


def detokenize(ids, *, special=False):
    """As with SentencePiece: the first word of all loses its space."""
    text = "".join({0: "<s>" * special, 1: " a", 2: " b", 3: "c"}[token] for token in ids)
    return text.removeprefix(" ").encode()


def test_the_space_in_front_of_a_word_is_its_own():
    entries = Entries(detokenize)
    scores = [Choices.of([(1, -1.0), (2, -0.5), (1, -1.0)]), Choices.of([(3, -2.0), (2, -0.1), (-1, 0.0)])]
    told = entries.prompt(Prompt("ac b", [0, 1, 3, 2], 0), scores, 2)
    assert told["tokens"] == ["<s>", " a", "c"], "as far as it was read when its time was up"
    assert (told["token_logprobs"], told["text_offset"]) == ([None, -1.0, -2.0], [0, 0, 1])
    tops = [msgspec.json.decode(top) for top in told["top_logprobs"][1:]]
    assert tops == [pytest.approx({" b": -0.5, " a": -1.0}), pytest.approx({" b": -0.1, "c": -2.0})]
