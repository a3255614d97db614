"""From a request's fields to what its answer is held to: grammar, schema, response format; and what is shown of it.

A grammar that begins with %llguidance is in Lark's language, else in GBNF.  Whatever is wrong is a BadRequest or
NotSupported that names the field.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from llamatw.engine.constraint import Pattern, Wish
from llamatw.engine.service import EngineService
from llamatw.errors import BadRequest, NotSupported
from llamatw.text.thoughts import Tags

if TYPE_CHECKING:
    from llamatw.web.schema import Generating

MAX_TRIGGERS = 64
MAX_TRIGGER_BYTES = 256
MAX_PATTERN_BYTES = 1024
_LARK = "%llguidance"
_ANY_OBJECT = '{"type": "object"}'
FORMATS = ("text", "json_object", "json_schema")
_TOKEN, _WORD, _PATTERN, _PATTERN_FULL = range(4)  # types of triggers, by the numbers that clients send


class NamedSchema(msgspec.Struct):
    """OpenAI's; a schema is always strict, the other fields are for models that read them."""

    schema: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`, which OpenAI has for chats only."""

    type: str
    schema: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    json_schema: NamedSchema | None = None


class _Guided(msgspec.Struct):
    """A schema's word to llguidance, which takes one that is no object for none."""

    guidance: dict[str, Any] | None = msgspec.field(default=None, name="x-guidance")


def wish(request: Generating, engine: EngineService) -> Wish | None:
    """What the answer must fit; None: anything."""
    _check_preserved(request.preserved_tokens or (), engine)
    asked = [found for found in (_grammar(request, engine), *_schemas(request)) if found is not None]
    if len(asked) > 1:
        names = " and ".join(found.field for found in asked)
        raise BadRequest(f"{names} are given together: only one of them can hold", asked[0].field)
    return asked[0] if asked else None


def behind_thought(asked: Wish, tags: Tags | None, engine: EngineService) -> Wish:
    """tags: of a thought that the model may begin with.  Such as are control tokens cannot be told from the answer."""
    if asked.is_lazy or tags is None or _special(tags.closing, engine) is not None:
        return asked
    return msgspec.structs.replace(asked, thought=tags)


def shown(asked: Wish | None) -> dict[str, Any]:
    """Of generation_settings."""
    grammar = "" if asked is None or asked.kind == "json_schema" else asked.text
    triggers: list[dict[str, Any]] = []
    if asked is not None:
        triggers += [{"type": _WORD, "value": word} for word in asked.words]
        triggers += [{"type": _PATTERN + one.is_full, "value": one.text} for one in asked.patterns]
        triggers += [{"type": _TOKEN, "value": "", "token": token} for token in asked.tokens]
    schema = msgspec.Raw(asked.text.encode()) if asked is not None and asked.kind == "json_schema" else None
    return {"grammar": grammar, "grammar_lazy": bool(triggers), "grammar_triggers": triggers, "json_schema": schema}


# ---- schemas ----


def _schemas(request: Generating) -> list[Wish | None]:
    response = request.response_format
    of_field = _schema(request.json_schema, "json_schema")
    return [of_field, None if response is None else _response(response)]


def _response(response: ResponseFormat) -> Wish | None:
    if response.type not in FORMATS:
        raise _bad(f"type must be one of {', '.join(FORMATS)}, not {response.type[:40]!r}")
    named = response.json_schema
    if (named is not None and response.type != "json_schema") or (response.type == "text" and bytes(response.schema)):
        raise _bad(f"type {response.type} takes no such schema")
    if response.type == "text":
        return None
    if response.type == "json_object":
        return _schema(response.schema) or Wish("json_schema", _ANY_OBJECT, "response_format")
    if bytes(response.schema) or named is None:
        raise _bad("type json_schema needs a json_schema with a schema in it, and no other")
    found = _schema(named.schema)
    if found is None:
        raise _bad("json_schema.schema: this field is required")
    return found


def _schema(given: msgspec.Raw | dict[str, Any] | None, field: str = "response_format") -> Wish | None:
    """As it was sent: order of members and digits of numbers are part of it.  A dict is the server's own default."""
    text = msgspec.json.encode(given).decode()
    if text in ("", "null"):
        return None
    if not text.startswith("{"):
        raise BadRequest(f"{field}: a JSON schema must be an object", field)
    try:
        msgspec.json.decode(text, type=_Guided)
    except msgspec.ValidationError:
        raise BadRequest(f"{field}: x-guidance must be an object", field) from None
    return Wish("json_schema", text, field)


def _bad(reason: str) -> BadRequest:
    return BadRequest(f"response_format: {reason}", "response_format")


# ---- grammars and their triggers ----


def _grammar(request: Generating, engine: EngineService) -> Wish | None:
    text, triggers = request.grammar or "", request.grammar_triggers or []
    is_lark = text.startswith(_LARK)
    if not request.grammar_lazy:
        if triggers:
            raise BadRequest("grammar_triggers are for grammar_lazy", "grammar_triggers")
        return Wish("lark" if is_lark else "gbnf", text, "grammar") if text else None
    if not text or is_lark:
        raise BadRequest("grammar_lazy needs a grammar, in GBNF", "grammar_lazy")
    if not 1 <= len(triggers) <= MAX_TRIGGERS:
        raise BadRequest(
            f"grammar_lazy needs 1 to {MAX_TRIGGERS} grammar_triggers, not {len(triggers)}", "grammar_triggers"
        )
    found = [_trigger(trigger, engine) for trigger in triggers]
    return Wish(
        "gbnf",
        text,
        "grammar",
        words=tuple(one for one in found if isinstance(one, str)),
        tokens=tuple(one for one in found if isinstance(one, int)),
        patterns=tuple(one for one in found if isinstance(one, Pattern)),
    )


def _trigger(trigger: object, engine: EngineService) -> str | int | Pattern:
    """{"type": 1, "value": "text"}, {"type": 0, "token": id}, or type 2 or 3 with a pattern.  A control token's name is
    waited for as that token."""
    if not isinstance(trigger, dict):
        raise _bad_trigger("each must be an object")
    kind, value, token = trigger.get("type"), trigger.get("value"), trigger.get("token")
    if isinstance(kind, bool) or kind not in (_TOKEN, _WORD, _PATTERN, _PATTERN_FULL):
        raise _bad_trigger("type must be 0 (a token), 1 (a word), 2 (a pattern) or 3 (a pattern of the whole answer)")
    if kind == _TOKEN:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < engine.info.n_vocab:
            raise _bad_trigger(f"token must be an id from 0 to {engine.info.n_vocab - 1}")
        return token
    most = MAX_TRIGGER_BYTES if kind == _WORD else MAX_PATTERN_BYTES
    if not isinstance(value, str) or not 1 <= len(value.encode()) <= most:
        raise _bad_trigger(f"value must be a text of 1 to {most} bytes")
    if kind != _WORD:
        return Pattern(value, is_full=kind == _PATTERN_FULL)
    special = _special(value, engine)
    return value if special is None else special


def _special(text: str, engine: EngineService) -> int | None:
    """The token whose name this is, when that is no text of an answer."""
    ids = engine.tokenize(text, parse_special=True)
    return ids[0] if len(ids) == 1 and not engine.detokenize_bytes(ids) else None


def _check_preserved(texts: list[Any] | tuple[Any, ...], engine: EngineService) -> None:
    """preserved_tokens are to be seen in the answer.  Those that are text are seen anyway; control tokens never."""
    if len(texts) > MAX_TRIGGERS:
        reason = f"must hold at most {MAX_TRIGGERS} texts, not {len(texts)}"
        raise BadRequest(f"preserved_tokens {reason}", "preserved_tokens")
    for text in texts:
        if not isinstance(text, str) or not 1 <= len(text.encode()) <= MAX_TRIGGER_BYTES:
            reason = f"must hold texts of 1 to {MAX_TRIGGER_BYTES} bytes"
            raise BadRequest(f"preserved_tokens {reason}", "preserved_tokens")
        if _special(text, engine) is not None:
            reason = f"{text!r} is a control token, which this build does not show"
            raise NotSupported(f"preserved_tokens: {reason}", "preserved_tokens")


def _bad_trigger(reason: str) -> BadRequest:
    return BadRequest(f"grammar_triggers: {reason}", "grammar_triggers")
