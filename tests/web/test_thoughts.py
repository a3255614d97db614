"""Chats that are held to something, with models that think first: the thought is free, and apart from the answer."""

from __future__ import annotations

import msgspec
import pytest

CHAT = {"messages": [{"role": "user", "content": "well?"}], "max_tokens": 60}
TEMPLATE = (
    "{% for m in messages %}{{ m.content.split('</think>')[-1] }}|{% endfor %}"
    "{% if add_generation_prompt %}A:{% if enable_thinking is true %}<think>\n{% elif enable_thinking is false %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
OPENS, CLOSED = ({"chat_template_kwargs": {"enable_thinking": value}} for value in (True, False))
ANSWERS = ('"yes"', '"no"')
HELD = {"response_format": {"type": "json_object", "schema": {"enum": ["yes", "no"]}}}


@pytest.fixture
def thinker(server):
    server.service._model = msgspec.structs.replace(server.service._model, chat_template=TEMPLATE)
    return server


def ask(server, **fields):
    return server.post("/v1/chat/completions", {**CHAT, **HELD, **fields})


def message(server, **fields):
    """Of an answer in one piece, which a stream gives as well."""
    whole = ask(server, **fields).json["choices"][0]
    events = [event["choices"][0] for event in ask(server, stream=True, **fields).events[:-1]]
    said = {"role": "assistant", "content": ""}
    for delta in (event["delta"] for event in events):
        for key in ("content", "reasoning_content"):
            if delta.get(key):
                said[key] = said.get(key, "") + delta[key]
    assert (said, events[-1]["finish_reason"]) == (whole["message"], whole["finish_reason"])
    return whole["message"], whole["finish_reason"]


@pytest.mark.parametrize("held", [HELD, {"grammar": 'root ::= "yes" | "no"', "response_format": None}])
def test_a_thought_that_the_template_opens(thinker, held):
    thinker.engine.say = "Hm, <b>.\n</think>zzz"
    said, reason = message(thinker, **OPENS, **held)
    assert said["reasoning_content"] == "Hm, <b>."
    assert said["content"].strip('"') in ("yes", "no")
    assert reason == "stop"


@pytest.mark.parametrize("said", ["k", "think>", "<think>", "</think>", "</think> k", "", " ", "A:<think>"])
def test_what_the_user_says_does_not_hide_what_the_template_opens(thinker, said):
    thinker.engine.say = "Hm.</think>zzz"
    messages = [{"role": "user", "content": said}]
    shown, _ = message(thinker, **OPENS, messages=messages)
    assert (shown["reasoning_content"], shown["content"] in ANSWERS) == ("Hm.", True)
    thinker.engine.say = "<think>Hm.</think>zzz"
    assert message(thinker, **CLOSED, messages=messages)[0]["content"] in ANSWERS


def test_a_thought_that_the_model_opens(thinker):
    thinker.engine.say = "<think>Hm.</think>zzz"
    said, _ = message(thinker)
    assert (said["reasoning_content"], said["content"] in ANSWERS) == ("Hm.", True)


BEGUN = {"messages": [*CHAT["messages"], {"role": "assistant", "content": ""}]}


@pytest.mark.parametrize("fields", [{}, CLOSED, BEGUN])
def test_no_thought(thinker, fields):
    thinker.engine.say = "zzz"
    said, _ = message(thinker, **fields)
    assert "reasoning_content" not in said and said["content"] in ANSWERS


def test_a_closed_thought_is_not_opened_again(thinker):
    thinker.engine.say = "<think>Hm.</think>zzz"
    assert message(thinker, **CLOSED)[0]["content"] in ANSWERS


def test_an_answer_that_has_begun_has_no_thought(thinker):
    thinker.engine.say = "<think>Hm.</think>zzz"
    begun = [*CHAT["messages"], {"role": "assistant", "content": "Well: "}]
    assert message(thinker, messages=begun)[0]["content"] in ANSWERS
    thinker.engine.say = "m.</think>zzz"
    begun = [*CHAT["messages"], {"role": "assistant", "content": "<think>H"}]
    said, _ = message(thinker, messages=begun)
    assert (said["reasoning_content"], said["content"] in ANSWERS) == ("m.", True)


def test_tags_that_a_user_writes_are_no_thought(thinker):
    thinker.engine.say = "zzz"
    assert message(thinker, messages=[{"role": "user", "content": "what is <think>?"}])[0]["content"] in ANSWERS


def test_a_thought_without_an_end(thinker):
    thinker.engine.say = "Hm"
    said, reason = message(thinker, **OPENS, max_tokens=20)
    assert (said["content"], reason) == ("", "length")
    assert said["reasoning_content"].startswith("Hm")


def test_thoughts_within_the_content_as_wished(thinker):
    thinker.engine.say = "Hm.</think>zzz"
    said, _ = message(thinker, **OPENS, reasoning_format="none")
    assert said["content"].removeprefix("Hm.</think>") in ANSWERS


def test_probabilities_go_along(thinker):
    thinker.engine.say = "Hm.</think>zzz"
    choice = ask(thinker, **OPENS, logprobs=True, top_logprobs=1).json["choices"][0]
    events = ask(thinker, **OPENS, logprobs=True, top_logprobs=1, stream=True).events[:-1]
    streamed = [entry for event in events for entry in (event["choices"][0]["logprobs"] or {}).get("content", ())]
    assert streamed == choice["logprobs"]["content"]
    assert "".join(entry["token"] for entry in streamed).startswith("Hm.</think>")


def test_without_tags_in_the_template_and_without_a_wish_nothing_changes(server, thinker):
    thinker.engine.say = "<think>Hm.</think>zzz"
    plain = thinker.post("/v1/chat/completions", {**CHAT, "max_tokens": 21}).json["choices"][0]["message"]
    assert plain == {"role": "assistant", "content": "<think>Hm.</think>zzz"}
    server.service._model = msgspec.structs.replace(server.service._model, chat_template="{{ messages[0].content }}")
