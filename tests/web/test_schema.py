"""No field, whatever it holds, is a server error; what is refused is refused by name."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llamatw.web.bounds import MAX_COMMAS
from llamatw.web.limits import LIMITS, UNSERVED
from llamatw.web.messages import ChatRequest
from llamatw.web.schema import CompletionRequest, Generating

NATIVE = sorted(CompletionRequest.__struct_encode_fields__)
OTHERS = (
    "input_prefix",
    "input_suffix",
    "input_extra",
    "prompt",
    "suffix",
    "echo",
    "logprobs",
    "model",
    "best_of",
    "n",
)
CHAT = sorted(ChatRequest.__struct_encode_fields__)
ODD = [
    *(b"0", b"-0", b"1", b"-1", b"2", b"-2", b"0.5", b"1.0", b"1.5", b"-0.0", b"1e-45", b"1e30", b"-1e308", b"1e400"),
    *(
        b"2147483647",
        b"2147483648",
        b"4294967301",
        b"9007199254740993",
        b"18446744073709551615",
        b"1" * 40,
        b"9" * 5000,
    ),
    *(
        b"null",
        b"true",
        b"false",
        b'""',
        b'"x"',
        b'"5"',
        b"[]",
        b"{}",
        b"[1]",
        b'["a"]',
        b"[[1,2]]",
        b"[{}]",
        b"[null]",
    ),
    *(b'{"type":"text"}', b'{"type":5}', b'{"a":{"b":[1]}}', b'"\\ud83d\\ude00"', b"NaN", b"Infinity"),
]


def body(field, value, base):
    rest = {name: of for name, of in base.items() if name != field}
    return json.dumps(rest)[:-1].encode() + (b"," if rest else b"") + b'"%s":%s}' % (field.encode(), value)


def check(reply, field):
    if reply.status == 200:
        return
    assert reply.status in (400, 501), (field, reply.body)
    error = reply.json["error"]
    assert error["code"] == reply.status
    assert error["param"] in (field, None, "prompt", "messages")


@pytest.mark.parametrize("field", NATIVE)
def test_odd_values_of_a_native_field(server, field):
    server.engine.say = "x"
    for value in ODD:
        check(server.post("/completion", body(field, value, {"prompt": "a"})), field)


@pytest.mark.parametrize("field", CHAT)
def test_odd_values_of_a_chat_field(server, field):
    server.engine.say = "x"
    base = {"messages": [{"role": "user", "content": "a"}]}
    for value in ODD:
        check(server.post("/v1/chat/completions", body(field, value, base)), field)


@pytest.mark.parametrize("field", OTHERS)
def test_odd_values_of_other_fields(server, field):
    server.engine.say = "x"
    path = "/infill" if field.startswith("input") else "/v1/completions"
    for value in ODD:
        check(server.post(path, body(field, value, {"prompt": "a"})), field)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(NATIVE), values, max_size=4))
def test_any_mixture(server, fields):
    server.engine.say = "x"
    reply = server.post("/completion", {"prompt": "a", "n_predict": 1, **fields})
    assert reply.status in (200, 400, 429, 501), reply.body


@pytest.mark.parametrize("field", sorted(set(LIMITS) & set(CompletionRequest.__struct_encode_fields__)))
def test_edges_of_every_range(server, field):
    limit = LIMITS[field]
    for value in (limit.low - 1, limit.high + 1, limit.low + 0.5 if limit.whole else limit.high * 1.01):
        error = server.post("/completion", {"prompt": "a", "n_predict": 1, field: value}).error(400, field)
        assert field in error["message"]
    for value in (limit.low, limit.high):
        assert limit.holds(value)


def test_what_is_zero_in_single_precision(server):
    error = server.post("/completion", {"prompt": "a", "repeat_penalty": 1e-300}).error(400, "repeat_penalty")
    assert error["message"] == "repeat_penalty must be a number from 0.001 to 100, not 1e-300"


def test_too_many_values(server):
    for body in (b'{"prompt":[%s1]}', b'{"unknown":[%s1]}', b"[%s1]"):
        reply = server.request("POST", "/completion", body % (b"1," * (MAX_COMMAS + 1)))
        assert str(MAX_COMMAS) in reply.error(400)["message"]


@pytest.mark.parametrize("field", sorted(LIMITS))
@pytest.mark.parametrize("value", [True, "5", [], {}])
def test_only_numbers_are_numbers(server, field, value):
    path = "/completion" if field in NATIVE else "/v1/chat/completions"
    base = {"prompt": "a"} if field in NATIVE else {"messages": [{"role": "user", "content": "a"}]}
    assert field in server.post(path, {**base, field: value}).error(400, field)["message"]


NEUTRAL = {
    "n_probs": 0,
    "logprobs": False,
    "n": 1,
    "n_cmpl": 1,
    "best_of": 1,
    "logit_bias": [],
    "grammar": "",
    "grammar_lazy": False,
    "grammar_triggers": [],
    "typical_p": 1.0,
    "tfs_z": 1,
    "dynatemp_range": 0,
    "top_n_sigma": -1,
    "xtc_probability": 0.0,
    "dry_multiplier": 0,
    "mirostat": 0,
    "adaptive_target": -1,
    "min_keep": 0,
    "penalize_nl": True,
    "penalty_prompt": None,
    "system_prompt": None,
    "image_data": [],
    "lora": [],
    "n_indent": 0,
    "verbose": False,
    "timings_per_token": False,
    "response_fields": [],
    "t_max_predict_ms": -1,
    "return_progress": False,
    "json_schema": None,
    "samplers": ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"],
    "preserved_tokens": [],
    "chat_format": "Content-only",
    "parse_tool_calls": False,
    "generation_prompt": "",
    "seed": 3.0,
    "unknown_field": {"a": [1]},
}
ASKING = {
    "chat_format": 2,
    "parse_tool_calls": True,
    "generation_prompt": "<think>",
    "image_data": [{"data": "x", "id": 1}],
    "lora": [{"id": 0, "scale": 1}],
}


def test_neutral_values_are_fine(server):
    assert server.post("/completion", {"prompt": "a", "n_predict": 1, **NEUTRAL}).status == 200
    chat = {
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "logprobs": False,
        "functions": None,
    }
    messages = [{"role": "user", "content": "a"}]
    assert server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 1, **chat}).status == 200


def test_null_samplers_and_the_defaults_that_props_tells(server):
    defaults = server.get("/props").json["default_generation_settings"]["params"]
    for more in ({"samplers": None}, {**defaults, "stream": False}):
        assert server.post("/completion", {**more, "prompt": "a", "n_predict": 1, "max_tokens": 1}).status == 200


@pytest.mark.parametrize("field", sorted(ASKING))
def test_wishes_that_cannot_be_served_yet(server, field):
    error = server.post("/completion", {"prompt": "a", field: ASKING[field]}).error(501, field)
    assert error["type"] == "not_supported_error"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("chat_template", "{{ 1 }}"),
    ],
)
def test_wishes_of_chat_that_cannot_be_served_yet(server, field, value):
    server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], field: value}).error(
        501, field
    )


@pytest.mark.parametrize("value", [{}, {"a": 1}, {"schema": {}}])
def test_a_response_format_without_a_type_is_not_taken_for_text(server, value):
    messages = [{"role": "user", "content": "a"}]
    reply = server.post("/v1/chat/completions", {"messages": messages, "response_format": value})
    assert reply.status in (400, 501) and reply.json["error"]["param"] == "response_format"


def test_tables_name_fields_that_exist():
    known = {*CompletionRequest.__struct_encode_fields__, *ChatRequest.__struct_encode_fields__}
    assert set(LIMITS) <= known
    assert set(UNSERVED) <= known
    numbers = {field.encode_name for field in msgspec.structs.fields(Generating) if field.type == (int | float | None)}
    assert numbers <= set(LIMITS), "every number has a range"


@pytest.mark.parametrize("stop", [[""], "", ["x"] * 17, ["x" * 257], ["é" * 129], [5], {"a": 1}, 5])
def test_bad_stops(server, stop):
    server.post("/completion", {"prompt": "a", "stop": stop}).error(400, "stop")


def test_spellings_that_differ(server):
    server.post("/completion", {"prompt": "a", "n_predict": 3, "max_tokens": 4}).error(400, "n_predict")
    server.post("/completion", {"prompt": "a", "max_tokens": 3, "max_completion_tokens": 9}).error(400, "max_tokens")
