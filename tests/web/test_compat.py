"""Every row of docs/compat.md is true: what is had, what is refused, what is absent, and the tests that it names."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from llamatw.flags.refused import REFUSED
from llamatw.flags.table import FLAGS
from llamatw.web import admin, openapi
from llamatw.web.limits import UNSERVED
from tests import compat

ROWS = list(compat.rows())
PAGE = {"GET /", "GET /{name}", "GET /models//{name}", "GET /v1/models//{name}"}  # files, and ids that begin with /
MESSAGES = [{"role": "user", "content": "Hi"}]
WISHES: dict[str, Any] = {
    "tools": [{"type": "function"}],
    "tool_choice": "required",
    "functions": [{"name": "f"}],
    "function_call": {"name": "f"},
    "image_data": [{"data": "", "id": 1}],
    "multimodal_data": ["x"],
    "lora": [{"id": 0, "scale": 1}],
    "n_cache_reuse": 1,
    "backend_sampling": True,
    "chat_format": 2,
    "chat_parser": "x",
    "parse_tool_calls": True,
    "generation_prompt": "<think>",
    "echo": True,
    "suffix": "x",
    "chat_template": "chatml",
    "reasoning_effort": "low",
    "reasoning_format": "deepseek",
    "reasoning_budget_tokens": 5,
    "thinking_budget_tokens": 5,
    "reasoning_budget_message": "enough",
    "reasoning_budget_start_tag": "<think>",
    "reasoning_budget_end_tag": "</think>",
    "reasoning_budget_end_tags": ["</think>"],
    "reasoning_control": True,
    "modalities": ["text", "audio"],
    "audio": {"voice": "x"},
}


def names(sections: str, *states: str) -> set[str]:
    return {name for row in ROWS if re.match(sections, row.section) and row.state in states for name in row.names}


def plain(found: set[str]) -> set[str]:
    """Without the descriptions."""
    return {name for name in found if not name.startswith('"')}


def test_the_document_is_current(root):
    assert (root / "docs" / "compat.md").read_text(encoding="utf-8") == compat.markdown(), "make compat"


def test_the_tests_exist(root):
    for row in ROWS:
        assert row.state in compat.STATES, row
        file, _, name = row.test.partition("::")
        assert f"def {name}(" in (root / "tests" / file).read_text(encoding="utf-8"), row


def test_each_name_stands_once():
    for sections in ("Flags", "Variables", "Routes", "Fields", "Keys of a native", "Keys of gen"):
        found = [name for row in ROWS if re.match(sections, row.section) for name in row.names]
        assert not {name for name in found if found.count(name) > 1}


def test_flags():
    served = {word for flag in FLAGS for word in (*flag.spellings, *flag.off)}
    granted = {word for entry in REFUSED if entry.is_granted for word in entry.names}
    refused = {word for entry in REFUSED if not entry.is_granted for word in entry.names}
    assert plain(names("Flags", "same", "differs")) == served
    assert plain(names("Flags", "granted")) == granted
    assert plain(names("Flags", "refused")) == refused


def test_variables():
    assert names("Variables", "same") == {flag.env for flag in FLAGS if flag.env}
    refused = {entry.env for entry in REFUSED if entry.env}
    assert names("Variables", "refused") == refused and not names("Variables", "absent") & refused


def test_routes(server):
    here = set(openapi.operations(server.site.resource._inner._app)) - PAGE
    unserved = {" ".join(route) for route in admin.UNSERVED}
    listed = plain(names("Routes", "same", "differs")) - PAGE
    assert listed == here - unserved and names("Routes", "refused") == unserved
    for route in names("Routes", "refused", "absent"):
        server.request(*route.split(" ")).error(501 if route in unserved else 404)


def test_fields():
    bodies = {route.body for route in openapi.ROUTES.values() if route.body is not None}
    fields = {field.encode_name for body in bodies for field in msgspec.structs.fields(body)}
    listed = names("Fields", "same", "differs", "refused")
    assert listed == fields
    assert names("Fields", "refused") == set(UNSERVED) - {"echo", "suffix"}, "/v1/completions has these"
    assert not names("Fields", "ignored") & fields


@pytest.mark.parametrize("field", UNSERVED)
def test_refused_fields(server, field):
    chat = openapi.ChatRequest.__struct_fields__
    path, body = ("/v1/chat/completions", {"messages": MESSAGES}) if field in chat else ("/completion", {"prompt": "a"})
    server.post(path, {**body, field: WISHES[field]}).error(501, field)


def test_ignored_fields(server):
    more = dict.fromkeys(names("Fields", "ignored"), "anything")
    bodies = {"/completion": {"prompt": "a"}, "/v1/chat/completions": {"messages": MESSAGES}}
    for path, body in bodies.items():
        assert server.post(path, {**body, "n_predict": 1, **more}).status == 200


def test_keys(server):
    server.engine.say = "a"
    body = {"prompt": "a", "n_probs": 1, "return_progress": True, "cache_prompt": False}
    whole, events = server.post("/completion", body).json, server.post("/completion", {**body, "stream": True}).events
    keys = {key for answer in (whole, *events) for key in (*answer, *answer.get("timings", ()))}
    assert plain(names("Keys of a native", "same", "differs")) == keys
    settings = whole["generation_settings"]
    assert names("Keys of gen", "same", "differs") == set(settings) - {"json_schema", "cache_prompt"}, "ours"


def test_absent_keys(server):
    settings = server.post("/completion", {"prompt": "a", "n_predict": 1}).json["generation_settings"]
    assert not names("Keys of gen", "absent") & set(settings)
    message = server.post("/v1/chat/completions", {"messages": MESSAGES, "n_predict": 1}).json["choices"][0]["message"]
    assert not names("Keys of OpenAI", "absent") & set(message)
