"""The document of /openapi.json: sound by the standard's own schema, and no more and no less than what is served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from llamatw.web import openapi
from llamatw.web.limits import LIMITS


@pytest.fixture
def app(server) -> Any:
    return server.site.resource._inner._app


@pytest.fixture
def document(server) -> Any:
    reply = server.get("/openapi.json")
    assert reply.status == 200 and reply.headers["content-type"].startswith("application/json")
    return reply.json


def validator(document: Any, name: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": document["components"]})


def test_sound(document):
    OpenAPIV31SpecValidator(document).validate()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_route_is_described_and_nothing_else(app, document):
    described = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert described == set(openapi.operations(app)) == set(openapi.ROUTES)
    ids = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]
    assert len(set(ids)) == len(ids)


def test_each_operation_says_what_it_takes_and_gives(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"].endswith(".")
            errors = [key for key in operation["responses"] if key != "200"]
            assert errors and all(
                operation["responses"][key] == {"$ref": "#/components/responses/Error"} for key in errors
            )
            serves = "200" in operation["responses"]
            assert ("requestBody" in operation) == (method == "post" and serves), path


def test_ranges_are_those_of_the_table(document):
    fields = document["components"]["schemas"]["CompletionRequest"]["properties"]
    assert fields["top_k"]["anyOf"] == [{"type": "integer", "minimum": -1, "maximum": 2**31 - 1}, {"type": "null"}]
    assert fields["speculative.n_max"]["anyOf"][0] == {"type": "integer", "minimum": 0, "maximum": 16}
    for name, field in fields.items():
        assert ("minimum" in json.dumps(field)) == (name in LIMITS or name == "prompt"), name


def test_fields_that_are_not_served_say_so(document):
    schemas = document["components"]["schemas"]
    assert "501" in schemas["CompletionRequest"]["properties"]["suffix"]["description"]
    assert "description" not in schemas["TextRequest"]["properties"]["suffix"]


@pytest.mark.parametrize(
    ("prompt", "is_sound"),
    [
        ("a", True),
        ([1, "a", 2], True),
        (["a", [1, 2], {"prompt_string": "b"}, None], True),
        (None, True),
        ([], False),
        (1, False),
        ([1, None], False),
        ({"prompt": "a"}, False),
        ([[]], False),
    ],
)
def test_the_forms_of_a_prompt(server, document, prompt, is_sound):
    body = {"prompt": prompt, "n_predict": 0}
    assert validator(document, "CompletionRequest").is_valid(body) == is_sound
    assert (server.post("/completion", body).status == 200) == is_sound


def test_a_hole_has_one_prompt(document):
    infill = validator(document, "InfillRequest")
    assert infill.is_valid({"prompt": []}) and not infill.is_valid({"prompt": [["a"]]})


@pytest.mark.parametrize(
    "reply",
    [
        ("POST", "/completion", b"{"),
        ("POST", "/completion", b'{"top_p": 2}'),
        ("GET", "/none", b""),
        ("GET", "/metrics", b""),
        ("POST", "/embedding", b""),
    ],
)
def test_errors_have_the_shape(server, document, reply):
    answer = server.request(*reply)
    assert answer.status >= 400
    validator(document, "Error").validate(answer.json)


def test_open_without_a_key_and_kept(make_server):
    server = make_server(api_keys=("secret",), aliases=("private-name",))
    first = server.get("/openapi.json")
    assert first.status == 200 and b"secret" not in first.body and b"private-name" not in first.body
    assert server.get("/openapi.json").body == first.body
    again = server.get("/openapi.json", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert server.post("/openapi.json", {}).error(401)


def test_told_while_the_model_is_loading(make_server):
    assert make_server(ready=False).get("/openapi.json").status == 200


def test_paths_stand_behind_the_prefix(make_server):
    document = make_server(api_prefix="/llm").get("/llm/openapi.json").json
    assert document["servers"] == [{"url": "/llm"}] and "/completion" in document["paths"]
