"""Grammars, schemas and response formats over HTTP: what is taken, refused, shown, and what the answer is held to."""

from __future__ import annotations

import json

import pytest

from tests.web.test_infill import IDS, teach

GRAMMAR = 'root ::= "yes" | "no"'
SCHEMA = {"enum": ["yes", "no", 3]}
TEXTS = ('"yes"', '"no"', "3")
CHAT = {"messages": [{"role": "user", "content": "well?"}]}


def complete(server, **fields):
    return server.post("/completion", {"prompt": "well?", "n_predict": 40, **fields})


def chat(server, **fields):
    return server.post("/v1/chat/completions", {**CHAT, "max_tokens": 40, **fields})


def named(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema, **more}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        ({"grammar": GRAMMAR}, ("yes", "no")),
        ({"json_schema": SCHEMA}, TEXTS),
        ({"grammar": '%llguidance {}\nstart: "a" /[0-9]/ "!"'}, tuple(f"a{n}!" for n in range(10))),
    ],
)
def test_native_answers_fit(server, fields, texts, stream):
    reply = complete(server, stream=stream, **fields)
    if stream:
        assert "".join(event["content"] for event in reply.events) in texts
    last = reply.events[-1] if stream else reply.json
    assert stream or last["content"] in texts
    assert last["stop_type"] == "eos"
    assert last["stopped_eos"] is True


@pytest.mark.parametrize(
    "fields",
    [
        {"response_format": named(SCHEMA)},
        {"response_format": named(SCHEMA, strict=False, description="d")},
        {"response_format": {"type": "json_object", "schema": SCHEMA}},
        {"json_schema": SCHEMA, "response_format": {"type": "text"}},
        {"json_schema": SCHEMA, "tools": [], "tool_choice": "none"},
    ],
)
def test_chat_answers_fit(server, fields):
    choice = chat(server, **fields).json["choices"][0]
    assert choice["message"]["content"] in TEXTS
    assert choice["finish_reason"] == "stop"


@pytest.mark.parametrize("path", ["/completion", "/infill", "/v1/completions"])
def test_completions_take_a_response_format(server, path):
    teach(server, **IDS)
    for response_format in (named(SCHEMA), {"type": "json_object", "schema": SCHEMA}):
        answer = server.post(path, {"prompt": "well?", "n_predict": 40, "response_format": response_format}).json
        assert (answer["choices"][0]["text"] if "choices" in answer else answer["content"]) in TEXTS
    server.post(path, {"prompt": "a", "response_format": {"type": "xml"}}).error(400, "response_format")
    both = {"response_format": {"type": "json_object"}, "grammar": GRAMMAR}
    server.post(path, {"prompt": "a", **both}).error(400, "grammar")


@pytest.mark.parametrize("value", [5, "a", [1], True])
def test_a_word_to_the_schema_compiler_that_is_none(server, value):
    complete(server, json_schema={**SCHEMA, "x-guidance": value}).error(400, "json_schema")
    chat(server, response_format=named({**SCHEMA, "x-guidance": value})).error(400, "response_format")
    assert complete(server, json_schema={**SCHEMA, "x-guidance": None}).json["content"] in TEXTS


def test_json_object_is_an_object(server):
    content = chat(server, response_format={"type": "json_object"}).json["choices"][0]["message"]["content"]
    assert content.startswith("{")


def test_chat_grammar(server):
    assert chat(server, grammar=GRAMMAR).json["choices"][0]["message"]["content"] in ("yes", "no")


def test_each_of_n_answers_and_prompts_fits(server):
    assert all(answer["content"] in TEXTS for answer in complete(server, n=3, json_schema=SCHEMA).json)
    answers = complete(server, prompt=["one", "two"], json_schema=SCHEMA).json
    assert [answer["content"] in TEXTS for answer in answers] == [True, True]


def test_a_cut_answer_says_so(server):
    assert complete(server, n_predict=2, json_schema={"const": "long"}).json["stop_type"] == "limit"
    assert chat(server, max_tokens=2, json_schema={"const": "long"}).json["choices"][0]["finish_reason"] == "length"


def test_settings_show_what_holds(server):
    assert complete(server, grammar=GRAMMAR).json["generation_settings"]["grammar"] == GRAMMAR
    text = '{"const":   90071992547, "title": "\\u00e9"}'
    reply = server.post("/completion", f'{{"prompt": "a", "json_schema": {text}}}'.encode())
    assert reply.json["content"] == "90071992547"
    assert text.encode() in reply.body
    used = complete(server).json["generation_settings"]
    assert (used["grammar"], used["grammar_lazy"], used["grammar_triggers"], used["json_schema"]) == (
        "",
        False,
        [],
        None,
    )


def test_members_come_in_the_schemas_order(server):
    names = ["zeta", "alpha", "mid"]
    schema = {"type": "object", "properties": {name: {"const": 1} for name in names}, "required": names}
    content = complete(server, json_schema={**schema, "additionalProperties": False}).json["content"]
    assert list(json.loads(content)) == names


def test_lazy_grammars(server):
    server.engine.say = "so <go>zzz"
    lazy = {"grammar": 'root ::= "<go>yes"', "grammar_lazy": True}
    reply = complete(server, **lazy, grammar_triggers=[{"type": 1, "value": "<go>"}])
    assert reply.json["content"] == "so <go>yes"
    used = reply.json["generation_settings"]
    assert (used["grammar_lazy"], used["grammar_triggers"]) == (True, [{"type": 1, "value": "<go>"}])
    reply = complete(server, **lazy, grammar_triggers=[{"type": 0, "token": ord("!")}])
    assert reply.json["content"] == "so <go>zzz"


@pytest.mark.parametrize(
    ("trigger", "content"),
    [
        ({"type": 2, "value": "<g[a-z]>"}, "so <go>yes"),
        ({"type": 2, "value": "so (<go>)"}, "so <go>yes"),
        ({"type": 2, "value": "^<go>"}, "so <go>zzz"),
        ({"type": 3, "value": "s. (<go>)"}, "so <go>yes"),
        ({"type": 3, "value": "<go>"}, "so <go>zzz"),
    ],
)
def test_grammars_that_wait_for_a_pattern(server, trigger, content):
    server.engine.say = "so <go>zzz"
    lazy = {"grammar": 'root ::= "<go>yes"', "grammar_lazy": True, "grammar_triggers": [trigger]}
    reply = complete(server, **lazy)
    assert reply.json["content"] == content
    assert reply.json["generation_settings"]["grammar_triggers"] == [trigger]


def test_a_pattern_that_cannot_be_taken_is_refused_by_its_text(server):
    for value in ("(?=x)", r"(a)\1", "(", "a{1,2000}", "a)|(b"):
        trigger = {"type": 2, "value": value}
        error = complete(server, **LAZY, grammar_triggers=[trigger]).error(400, "grammar_triggers")
        assert repr(value) in error["message"]


def test_a_control_tokens_name_is_waited_for_as_the_token(server):
    reply = complete(
        server, grammar=GRAMMAR, grammar_lazy=True, grammar_triggers=[{"type": 1, "value": "<|im_start|>"}]
    )
    assert reply.json["generation_settings"]["grammar_triggers"] == [{"type": 0, "value": "", "token": 258}]


LAZY = {"grammar": GRAMMAR, "grammar_lazy": True}
REFUSED = [
    ({"grammar": GRAMMAR, "json_schema": SCHEMA}, "grammar"),
    ({"grammar": "root ::= ("}, "grammar"),
    ({"grammar": "%llguidance {}\nstart: foo"}, "grammar"),
    ({"grammar": 5}, "grammar"),
    ({"json_schema": "x"}, "json_schema"),
    ({"json_schema": 5}, "json_schema"),
    ({"json_schema": []}, "json_schema"),
    ({"json_schema": {"type": "strange"}}, "json_schema"),
    ({"json_schema": {"properties": {"a": {"not": {}}}}}, "json_schema"),
    ({"grammar_triggers": [{"type": 1, "value": "x"}], "grammar": GRAMMAR}, "grammar_triggers"),
    ({"grammar_lazy": True}, "grammar_lazy"),
    ({"grammar_lazy": True, "json_schema": SCHEMA}, "grammar_lazy"),
    ({"grammar_lazy": "yes"}, "grammar_lazy"),
    (LAZY, "grammar_triggers"),
    ({**LAZY, "grammar_triggers": [{"type": 1, "value": "x"}] * 65}, "grammar_triggers"),
    *(
        ({**LAZY, "grammar_triggers": [trigger]}, "grammar_triggers")
        for trigger in (
            5,
            {},
            {"type": 99, "value": "x"},
            {"type": True, "value": "x"},
            {"type": 1, "value": ""},
            {"type": 1, "value": 5},
            {"type": 1, "value": "x" * 257},
            {"type": 2, "value": ""},
            {"type": 3, "value": "x" * 1025},
            {"type": 0, "value": "x"},
            {"type": 0, "token": 260},
            {"type": 0, "token": -1},
            {"type": 0, "token": True},
        )
    ),
    ({"preserved_tokens": [5]}, "preserved_tokens"),
    ({"preserved_tokens": ["x"] * 65}, "preserved_tokens"),
]


@pytest.mark.parametrize(("fields", "field"), REFUSED, ids=[json.dumps(fields)[:60] for fields, _ in REFUSED])
def test_mistakes_name_their_field(server, fields, field):
    assert field in complete(server, **fields).error(400, field)["message"]


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "sound"},
        {"type": 5},
        {},
        {"type": "text", "schema": {}},
        {"type": "text", "json_schema": {}},
        {"type": "json_object", "json_schema": {"schema": {}}},
        {"type": "json_object", "schema": {"type": "strange"}},
        {"type": "json_schema"},
        {"type": "json_schema", "schema": {}},
        {"type": "json_schema", "json_schema": {}},
        {"type": "json_schema", "json_schema": {"schema": True}},
        {"type": "json_schema", "json_schema": {"schema": {"type": "strange"}}},
        "json_object",
    ],
)
def test_response_formats_that_are_refused(server, response_format):
    assert "response_format" in chat(server, response_format=response_format).error(400, "response_format")["message"]


def test_a_response_format_and_a_grammar_are_one_too_many(server):
    error = chat(server, response_format={"type": "json_object"}, grammar=GRAMMAR).error(400, "grammar")
    assert "response_format" in error["message"]


def test_tools_are_not_served_yet_with_a_schema_either(server):
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    chat(server, tools=[tool], response_format={"type": "json_object"}).error(501, "tools")


def test_what_cannot_be_served_yet(server):
    complete(server, preserved_tokens=["<|im_start|>"]).error(501, "preserved_tokens")
    assert complete(server, preserved_tokens=["plain", "x"]).status == 200


def test_empty_wishes_are_none(server):
    server.engine.say = "abc"
    for fields in ({"grammar": ""}, {"grammar": None}, {"json_schema": None}, {"grammar_lazy": False}):
        assert complete(server, **fields).json["content"] == "abc"
    for fields in ({"response_format": None}, {"response_format": {"type": "text"}}):
        assert chat(server, **fields).json["choices"][0]["message"]["content"] == "abc"


def test_the_servers_own_shape_holds_where_a_request_states_none(make_server):
    for defaults, texts in (({"json_schema": SCHEMA}, TEXTS), ({"grammar": GRAMMAR}, ("yes", "no"))):
        server = make_server(defaults=defaults)
        server.engine.say = "abc"
        for fields in ({}, {"json_schema": None}, {"grammar": None}):
            assert complete(server, **fields).json["content"] in texts
        assert complete(server, json_schema={"const": 5}).json["content"] == "5"
        assert complete(server, grammar="").json["content"] == "abc"
        text = chat(server, response_format={"type": "text"}).json["choices"][0]["message"]["content"]
        assert text == "abc"


def test_ignoring_the_end_is_the_requests_own_mistake(server):
    """The real engine says that nothing is left to sample."""
    server.engine.is_nan = lambda history: history[-1] == ord("3")
    error = complete(server, json_schema={"const": 3}, ignore_eos=True).error(400, "json_schema")
    assert "ignore_eos" in error["message"]


def test_a_time_limit_holds_while_a_schema_waits_and_is_not_begun_anew_behind_it(server, monkeypatch):
    pool = SlowPool()
    monkeypatch.setattr(server.reactor, "getThreadPool", lambda: pool)
    bodies = [json.dumps({"prompt": "a", "json_schema": {"const": n}}).encode() for n in range(2)]
    late, running = [
        server.connect().send("POST", "/completion", body, x_request_timeout=limit)
        for body, limit in zip(bodies, ("5", "60"), strict=True)
    ]
    server.reactor.advance(5)
    assert "json_schema: the request's time limit" in late.reply().error(503)["message"]
    limits = []
    submit = server.service.submit
    monkeypatch.setattr(server.service, "submit", lambda *args: limits.append(args[1].timeout_s) or submit(*args))
    pool.go_on()
    server.reactor.advance(0)
    pool.go_on()
    server.pump.run()
    assert running.reply().json["content"] == "1"
    assert limits == [55]


class SlowPool:
    """Keeps its work until it is told to do it."""

    def __init__(self):
        self.kept = []

    def callInThreadWithCallback(self, done, work, *args):
        self.kept.append(lambda: done(True, work(*args)))

    def go_on(self):
        kept, self.kept = self.kept, []
        for work in kept:
            work()


def test_clients_that_leave_while_their_schemas_are_compiled_do_not_fill_the_threads(server, monkeypatch):
    pool = SlowPool()
    monkeypatch.setattr(server.reactor, "getThreadPool", lambda: pool)
    bodies = [json.dumps({"prompt": "a", "json_schema": {"enum": ["yes", n]}}).encode() for n in range(6)]
    for body in bodies[:5]:
        server.connect().send("POST", "/completion", body).leave()
    last = server.connect().send("POST", "/completion", bodies[5])
    assert len(pool.kept) == 1  # as many as before anybody had left
    pool.go_on()
    server.reactor.advance(0)
    pool.go_on()
    server.pump.run()
    assert last.reply().json["content"] in ('"yes"', "5")
    assert not pool.kept
