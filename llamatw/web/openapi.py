"""/openapi.json: the API described as OpenAPI 3.1, for clients and their generators.

Routes come from Klein's url map, bodies from the Structs that decode them, ranges from limits.py; only summaries and
kinds of answers are written here.  A route without an entry below is an error as soon as the document is asked for.
It tells nothing of this server's model or keys, so it needs none.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import msgspec
from klein import Klein

from llamatw import __version__, errors
from llamatw.web import admin, reply
from llamatw.web.api import JSON, Api, Request, is_known
from llamatw.web.completions import TextRequest
from llamatw.web.constraints import FORMATS, ResponseFormat
from llamatw.web.infill import InfillRequest
from llamatw.web.limits import LIMITS, UNSERVED, Limit
from llamatw.web.messages import (
    MAX_MESSAGES,
    SERVED_ROLES,
    UNSERVED_PARTS,
    UNSERVED_ROLES,
    ChatMessage,
    ChatRequest,
    ContentPart,
)
from llamatw.web.props import PropsRequest
from llamatw.web.schema import (
    MAX_STOPS,
    CompletionRequest,
    DetokenizeRequest,
    Generating,
    SlotFileRequest,
    TokenizeRequest,
)

OPEN_PATHS = ("/health", "/v1/health", "/openapi.json")
_PAGE = ("GET /", "GET /{name}")

Schema = dict[str, Any]


class Route(msgspec.Struct, frozen=True):
    summary: str
    body: type | None = None
    media: str = "application/json"  # of the answer
    needs_body: bool = True


_COMPLETION = Route("Completes one prompt or several.", CompletionRequest)
_CHAT = Route("Answers a conversation, as OpenAI's chat completions.", ChatRequest)
_COUNT = Route("Counts the prompt tokens of a conversation.", ChatRequest)
_HEALTH = Route("Says whether the server is well; 503 while it is loading or stuck.")
_MODELS = Route("Lists the one model that is served.")
_MODEL = Route("Describes the model by its id, which may be a path.")
_FILE = Route("A file of the page.", media="*/*")

ROUTES: dict[str, Route] = {
    "GET /health": _HEALTH,
    "GET /v1/health": _HEALTH,
    "GET /models": _MODELS,
    "GET /v1/models": _MODELS,
    "GET /models/{name}": _MODEL,
    "GET /models//{name}": _MODEL,
    "GET /v1/models/{name}": _MODEL,
    "GET /v1/models//{name}": _MODEL,
    "GET /props": Route("How the server is set, and what the model file says."),
    "POST /props": Route("Changes the system prompt and its names; 501 without --props.", PropsRequest),
    "GET /metrics": Route("Counters, gauges and histograms for Prometheus; 501 without --metrics.", media="text/plain"),
    "GET /slots": Route("What each slot does, or did last."),
    "POST /slots/{slot}": Route("Saves, restores or erases a slot.", SlotFileRequest, needs_body=False),
    "POST /completion": _COMPLETION,
    "POST /completions": _COMPLETION,
    "POST /infill": Route("Completes what stands between a beginning and an end.", InfillRequest),
    "POST /tokenize": Route("The token ids of a text.", TokenizeRequest),
    "POST /detokenize": Route("The text of token ids.", DetokenizeRequest),
    "POST /v1/completions": Route("Completes prompts, as OpenAI's text completions.", TextRequest),
    "POST /v1/chat/completions": _CHAT,
    "POST /chat/completions": _CHAT,
    "POST /v1/chat/completions/input_tokens": _COUNT,
    "POST /chat/completions/input_tokens": _COUNT,
    "POST /apply-template": Route("The prompt that a conversation comes to.", ChatRequest),
    "GET /openapi.json": Route("This document."),
    "GET /": _FILE,
    "GET /{name}": _FILE,
    **{f"{method} {path}": Route("Not supported in this build: 501.") for method, path in admin.UNSERVED},
}
_UNSERVED_ROUTES = frozenset(f"{method} {path}" for method, path in admin.UNSERVED)
_STREAMED = (_COMPLETION, _CHAT, ROUTES["POST /infill"], ROUTES["POST /v1/completions"])

_ID: Schema = {"type": "integer", "minimum": 0}  # how many there are depends on the model
_PARTS: Schema = {"type": "array", "items": {"anyOf": [{"type": "string"}, _ID]}}
_STRING: Schema = {
    "type": "object",
    "required": ["prompt_string"],
    "properties": {"prompt_string": {"type": "string"}},
}
_ONE: list[Schema] = [{"type": ["string", "null"]}, _STRING]
_PROMPT: Schema = {"anyOf": [*_ONE, _PARTS]}
_SOME: list[Schema] = [*_ONE, {**_PARTS, "minItems": 1}]
_PROMPTS: Schema = {"anyOf": [*_SOME, {"type": "array", "minItems": 1, "items": {"anyOf": _SOME}}]}
_STOPS: Schema = {"type": "array", "maxItems": MAX_STOPS, "items": {"type": ["string", "null"], "minLength": 1}}
_FORMS: dict[tuple[type, str], Schema] = {  # of fields that are more than their Struct says
    (TokenizeRequest, "content"): _PROMPT,
    (DetokenizeRequest, "tokens"): {"anyOf": [{"type": "array", "items": _ID}, {"type": "null"}]},
    (InfillRequest, "prompt"): _PROMPT,
    (CompletionRequest, "prompt"): _PROMPTS,
    (TextRequest, "prompt"): _PROMPTS,
    (SlotFileRequest, "filename"): {"type": "string", "pattern": r"^(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}$"},
    (ChatRequest, "messages"): {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_MESSAGES,
        "items": {"$ref": "#/components/schemas/ChatMessage"},
    },
    (ChatMessage, "role"): {"enum": [*SERVED_ROLES, *UNSERVED_ROLES], "description": "The last two: 501."},
    (ContentPart, "type"): {"enum": ["text", *UNSERVED_PARTS], "description": "All but text: 501."},
    (ResponseFormat, "type"): {"enum": [*FORMATS]},
}
_INNER = {kind.__name__: kind for kind in (ChatMessage, ContentPart, ResponseFormat)}
_PARAMETERS: dict[str, Schema] = {
    "slot": {"in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}},
    "name": {"in": "path", "required": True, "schema": {"type": "string"}},
    "action": {"in": "query", "required": True, "schema": {"enum": ["save", "restore", "erase"]}},
    "fail_on_no_slot": {"in": "query", "description": "503 when all slots work.", "schema": {"type": "string"}},
    "X-Request-Timeout": {
        "in": "header",
        "description": "Seconds from arrival to the last token.",
        "schema": {"type": "number", "minimum": 0.001, "maximum": 86_400},
    },
}
_QUERIES = {"POST /slots/{slot}": ["action"], "GET /slots": ["fail_on_no_slot"]}


class Description:
    """The document, made when it is first asked for."""

    def __init__(self, app: Klein, prefix: str) -> None:
        self._app = app
        self._prefix = prefix

    @cached_property
    def text(self) -> bytes:
        return reply.encode(document(sorted(operations(self._app)), self._prefix))

    @cached_property
    def etag(self) -> bytes:
        return b'"%s"' % hashlib.sha256(self.text).hexdigest()[:32].encode()


def add_routes(app: Klein, api: Api) -> None:
    described = Description(app, api.settings.api_prefix)

    @app.route("/openapi.json", methods=["GET"])
    def openapi(request: Request) -> bytes:
        request.setHeader(b"content-type", JSON)
        request.setHeader(b"cache-control", b"no-cache")
        if is_known(request, described.etag):
            return b""
        request.setHeader(b"content-length", b"%d" % len(described.text))
        return described.text


def operations(app: Klein) -> Iterator[str]:
    """The routes as "METHOD /path/{part}"."""
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
        yield from (f"{method} {path}" for method in (rule.methods or set()) - {"HEAD"})


def document(names: list[str], prefix: str = "") -> Schema:
    """names: of the operations; prefix: what all paths begin with."""
    paths: dict[str, Schema] = {}
    for name in names:
        method, path = name.split(" ")
        paths.setdefault(path, {})[method.lower()] = _operation(name, path, ROUTES[name])
    return {
        "openapi": "3.1.0",
        "info": {"title": "llamatw", "version": __version__},
        "servers": [{"url": prefix or "/"}],
        "security": [{"bearer": []}, {"header": []}, {}],  # the last: a server without keys
        "paths": paths,
        "components": _components(),
    }


def _operation(name: str, path: str, route: Route) -> Schema:
    operation: Schema = {
        "operationId": re.sub(r"\W+", "_", name.replace("//", "/path/")).strip("_"),
        "summary": route.summary,
        "responses": _responses(name, route),
    }
    parameters = [*re.findall(r"{(\w+)}", path), *_QUERIES.get(name, [])]
    parameters += ["X-Request-Timeout"] if route in _STREAMED else []
    if parameters:
        operation["parameters"] = [{"name": parameter, **_PARAMETERS[parameter]} for parameter in parameters]
    if path in OPEN_PATHS or name in _PAGE:
        operation["security"] = []
    if route.body is not None:
        content = {"application/json": {"schema": _reference(route.body.__name__)}}
        operation["requestBody"] = {"required": route.needs_body, "content": content}
    return operation


def _responses(name: str, route: Route) -> Schema:
    """Errors have one shape everywhere."""
    error = {"$ref": "#/components/responses/Error"}
    if name in _UNSERVED_ROUTES:
        return {"501": error, "default": error}
    schema = {"type": ["object", "array"]} if route.media == "application/json" else {"type": "string"}
    content: Schema = {route.media: {"schema": schema}}
    if route in _STREAMED:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"200": {"description": route.summary, "content": content}, "4XX": error, "5XX": error}


def _components() -> Schema:
    kinds = {route.body.__name__: route.body for route in ROUTES.values() if route.body is not None}
    _, schemas = msgspec.json.schema_components(kinds.values(), ref_template="#/components/schemas/{name}")
    for name, schema in schemas.items():
        schema["properties"] = {
            field: _property(kinds.get(name, _INNER.get(name)), field, given)
            for field, given in schema["properties"].items()
        }
    return {
        "schemas": {**schemas, "Error": _error()},
        "responses": {"Error": {"description": "What is wrong.", "content": _json("Error")}},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
        },
    }


def _property(kind: type | None, field: str, given: Schema) -> Schema:
    """One field of a body.  kind: the body's Struct, or one within it; None for those that say all themselves."""
    if kind is None:
        return given
    given = {name: value for name, value in given.items() if name != "default" or value is not None}
    if issubclass(kind, Generating) and field == "stop":
        given = {"anyOf": [{"type": ["string", "null"], "minLength": 1}, _STOPS]}
    elif field in LIMITS:
        given = {"anyOf": [*_ranged(given["anyOf"], LIMITS[field])]}
    elif (kind, field) in _FORMS:
        given = _FORMS[kind, field]
    if issubclass(kind, Generating) and field in UNSERVED and field not in kind.serves:
        given = {**given, "description": "Not supported in this build: 501 when it asks for something."}
    return given


def _ranged(forms: list[Schema], limit: Limit) -> Iterator[Schema]:
    """The forms of a field, with one number within its range instead of "integer" and "number"."""
    if {"type": "integer"} in forms:
        yield _range(limit)
    yield from (form for form in forms if form not in ({"type": "integer"}, {"type": "number"}))


def _range(limit: Limit) -> Schema:
    number = int if limit.whole else float
    kind = "integer" if limit.whole else "number"
    return {"type": kind, "minimum": number(limit.low), "maximum": number(limit.high)}


def _error() -> Schema:
    properties: Schema = {
        "code": {"type": "integer", "description": "The status."},
        "message": {"type": "string"},
        "type": {"enum": sorted(_error_types(errors.LlamatwError))},
        "param": {"type": ["string", "null"], "description": "The field that is wrong."},
        "n_prompt_tokens": {"type": "integer"},
        "n_ctx": {"type": "integer"},
    }
    error = {"type": "object", "required": ["code", "message", "type", "param"], "properties": properties}
    return {"type": "object", "required": ["error"], "properties": {"error": error}}


def _error_types(kind: type[errors.LlamatwError]) -> set[str]:
    return {kind.type}.union(*map(_error_types, kind.__subclasses__()))


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(name: str) -> Schema:
    return {"application/json": {"schema": _reference(name)}}
