"""Bodies from bytes to Structs, and what is looked at before: what would be dear to decode, or decode wrongly.

Of a name that stands twice in an object the decoder takes the last and says nothing, so these are looked for, too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from llamatw.errors import BadRequest
from llamatw.web.bounds import MAX_COMMAS, MAX_DEPTH, MAX_OBJECTS

Body = TypeVar("Body")

_TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_STRING = re.compile(_TEXT, re.DOTALL)
_NAMES = re.compile(rb"%s(?![ \t\r\n]*+:)|(%s|[{}])" % (_TEXT, _TEXT), re.DOTALL)  # strings that are none: empty groups
_ESCAPED_COLON = re.compile(rb"(?<!\\)(?:\\\\)*+\\u003[aA]")
_WHERE = re.compile(r"^(?P<what>.*) - at `(?P<path>.*)`$", re.DOTALL)
_MISSING = re.compile(r"^Object missing required field `(?P<field>\w+)`$")
_WORD = re.compile(r"\w+")
_MAX_SEARCHED = 1 << 20  # bytes; in more, a wrong name is not looked for
_PAIR = re.compile(rb"\[\]|\{\}")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def decode(kind: type[Body], body: bytes) -> Body:
    """The body as `kind`; 400 for anything else."""
    check_json(body)
    try:
        decoded = msgspec.json.decode(body, type=kind)
        check_names(body)
        return decoded
    except msgspec.ValidationError as error:
        raise _invalid(str(error), body) from None
    except (msgspec.DecodeError, ValueError) as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None


def _invalid(message: str, body: bytes) -> BadRequest:
    """msgspec says "... - at `$.field[0].part`": the first name in the path is the field.  Within what may be anything
    it says "$[...]": a number is too large there."""
    where = _WHERE.match(message)
    what, path = (where["what"], where["path"].removeprefix("$")) if where else (message, "")
    if path.startswith("[...]"):
        path = next((f".{name}" for name in _unreadable(body) if _WORD.fullmatch(name)), "")
    missing = _MISSING.match(what)
    if missing:
        path = f"{path}.{missing['field']}"
        what = "this field is required"
    field = re.match(r"\.(speculative\.\w+|\w+)", path)
    name = path.removeprefix(".") or "the body"
    return BadRequest(f"{name}: {what}", field[1] if field else None)


def _unreadable(body: bytes) -> Iterator[str]:
    """Names of the members that cannot be decoded by themselves; none where there may be several such reasons."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, ValueError):
        return
    for name, raw in members.items():
        try:
            msgspec.json.decode(raw)
        except (msgspec.DecodeError, ValueError):
            yield name


def check_json(body: bytes) -> None:
    """400 for too many values or objects, too deep ones, and bytes that are no UTF-8."""
    if body.count(b",") > MAX_COMMAS:
        raise BadRequest(f"the body holds more than {MAX_COMMAS} commas: too many values")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH:
        _check_brackets(_STRING.sub(b"", body).translate(None, _NO_BRACKETS))
    try:
        body.decode()  # the decoder does not look into the strings that it skips
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not valid JSON: {error}") from None


def _check_brackets(brackets: bytes) -> None:
    """Takes the innermost pairs away again and again: each round is one level.  What does not go away is no JSON."""
    if brackets.count(b"{") > MAX_OBJECTS:
        raise BadRequest(f"the body holds more than {MAX_OBJECTS} objects")
    for _ in range(MAX_DEPTH):
        n_before = len(brackets)
        brackets = _PAIR.sub(b"", brackets)
        if len(brackets) == n_before:
            return
    if brackets:
        raise BadRequest(f"the body is nested too deeply: more than {MAX_DEPTH} arrays and objects in one another")


def check_names(body: bytes) -> None:
    """400 for a name that stands twice in an object; msgspec.DecodeError for what cannot be decoded.

    What the decoder has kept, written down again, has a colon for each name and those within strings.  Where the body
    has more, names were dropped."""
    n_colons = body.count(b":")
    if b"\\u003" in body:
        n_colons += len(_ESCAPED_COLON.findall(body))
    if msgspec.json.encode(msgspec.json.decode(body)).count(b":") != n_colons:
        name = _twice(body) if len(body) <= _MAX_SEARCHED else None
        raise BadRequest(f"{'a name' if name is None else repr(name)} stands twice in one object of the body", name)


def _twice(body: bytes) -> str | None:
    """The first such name."""
    objects: list[set[str]] = []
    for part in filter(None, _NAMES.findall(body)):
        if part == b"{":
            objects.append(set())
        elif part == b"}":
            objects.pop()
        else:
            name: str = msgspec.json.decode(part)
            if name in objects[-1]:
                return name[:64]
            objects[-1].add(name)
    return None
