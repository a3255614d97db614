"""Bad requests without end, made from the server's own description of its API.

Each is a sound body with one or two fields made wrong, or bytes that are no JSON.  What is wrong is known: the schemas
say which values no field may have, so the answer must be 4xx or 501 and name one of the fields that were spoilt.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from tests.bad_values import ASKING, BY_NAME, BY_RULE, IN_CHATS, ODD, RAW, SOUND, Json


class Bad(msgspec.Struct, frozen=True):
    """One request, and the fields that its answer may name; (): any or none."""

    path: str
    body: bytes
    fields: tuple[str, ...] = ()
    method: str = "POST"
    headers: dict[str, str] = {}


class Operation(msgspec.Struct, frozen=True):
    """A route that takes a body."""

    path: str
    sound: Json
    wrong: dict[str, list[Any]]  # field -> values that it must not have
    unserved: dict[str, list[Any]]  # field -> values that ask for what this build does not do
    field_names: list[str]


def operations(document: Json) -> list[Operation]:
    """Of all routes that take a body, what is wrong in each of its fields."""
    found: list[Operation] = []
    kept: dict[str, list[Any]] = {}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if "requestBody" in operation:
                reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                found.append(_operation(document, path, reference.rsplit("/", 1)[1], kept))
    return found


def _operation(document: Json, path: str, name: str, kept: dict[str, list[Any]]) -> Operation:
    schema = document["components"]["schemas"][name]
    wrong = {field: _wrong(document, part, kept) for field, part in schema["properties"].items()}
    wrong = {field: values for field, values in wrong.items() if values}
    for field, values in {**BY_NAME, **BY_RULE, **(IN_CHATS if name == "ChatRequest" else {})}.items():
        if field in schema["properties"]:
            wrong[field] = [*wrong.get(field, ()), *values]
    described = {field: part for field, part in schema["properties"].items() if "501" in part.get("description", "")}
    unserved = {field: _sound(document, part) for field, part in described.items()}
    wrong |= {field: [*wrong[field], ...] for field in schema.get("required", ())}
    path = path.replace("{slot}", "0") + ("?action=save" if "{slot}" in path else "")
    return Operation(path, SOUND[name], wrong, unserved, list(schema["properties"]))


def _wrong(document: Json, schema: Json, kept: dict[str, list[Any]]) -> list[Any]:
    """kept: what has been found for the same schema, as most routes have most fields."""
    key = json.dumps(schema)
    if key not in kept:
        validator = Draft202012Validator({**schema, "components": document["components"]})
        values = (*ODD, *_beyond(schema), *_nested(document, schema))
        kept[key] = [value for value in values if not validator.is_valid(value)]
    return kept[key]


def _sound(document: Json, schema: Json) -> list[Any]:
    validator = Draft202012Validator({**schema, "components": document["components"]})
    return [value for value in ASKING if validator.is_valid(value)]


def _beyond(schema: Json) -> Iterator[Any]:
    """Just outside of a range, and far."""
    for part in schema.get("anyOf", ()):
        if "minimum" in part:
            low, high = part["minimum"], part["maximum"]
            yield from (low - 1, high + 1, low - 1e-9, low - 10**30, high + 10**30, (low + high) / 2 + 0.25)
            yield from (str(low), [low], {"value": low})


def _nested(document: Json, schema: Json) -> Iterator[Any]:
    """Objects within a field, with one of their own fields wrong."""
    for part in (schema, *schema.get("anyOf", ())):
        if "$ref" in part:
            inner = document["components"]["schemas"][part["$ref"].rsplit("/", 1)[1]]
            for name in inner["properties"]:
                yield from ({name: value} for value in ODD)
        if "items" in part:
            yield from ([value] for value in [*ODD, *_nested(document, part["items"])])


def endless(document: Json, seed: int) -> Iterator[Bad]:
    """The same requests for the same seed: every wrong value of every field once, in any order, then mixtures."""
    rng, ways = random.Random(seed), operations(document)
    singles = [(way, field, value) for way in ways for field, values in way.wrong.items() for value in values]
    rng.shuffle(singles)
    for way, field, value in singles:
        yield _spoilt(way, {field: value})
        yield rng.choice(_KINDS)(rng, rng.choice(ways))
    while True:
        yield rng.choice(_KINDS)(rng, rng.choice(ways))


def each_field(document: Json, seed: int) -> Iterator[Bad]:
    """One request for every field of every route, then others."""
    rng = random.Random(seed)
    for way in operations(document):
        for field, values in way.wrong.items():
            yield _spoilt(way, {field: rng.choice(values)})
    yield from endless(document, seed)


def _spoilt(way: Operation, wrong: Json) -> Bad:
    """With these fields instead of the sound ones; ...: left out."""
    body = {**way.sound, **wrong}
    body = {field: value for field, value in body.items() if value is not ...}
    return Bad(way.path, json.dumps(body).encode(), tuple(wrong))


def _mixed(rng: random.Random, way: Operation) -> Bad:
    fields = rng.sample(list(way.wrong), min(len(way.wrong), rng.randint(1, 3)))
    return _spoilt(way, {field: rng.choice(way.wrong[field]) for field in fields})


def _unserved(rng: random.Random, way: Operation) -> Bad:
    """A sensible wish, with something wrong beside it or not; a route that serves all its fields gets a wrong one."""
    if not way.unserved:
        return _mixed(rng, way)
    field = rng.choice(list(way.unserved))
    return _spoilt(way, {field: rng.choice(way.unserved[field])})


def _large(rng: random.Random, way: Operation) -> Bad:
    """More than a context, a body or a decoder takes."""
    if rng.random() < 0.9:
        return Bad(way.path, b"{}", headers={"Content-Length": str(rng.choice((2**25 + 1, 2**40, 2**63, 10**30)))})
    field, text = rng.choice(list(way.wrong)), rng.choice(("a" * 2**20, "a " * 2**19, "\U0001f600" * 2**18))
    return Bad(way.path, json.dumps({**way.sound, field: [[text]] * rng.randint(1, 3), "n_predict": {}}).encode())


def _many(rng: random.Random, way: Operation) -> Bad:
    """Values by the million are refused before they are decoded; by the thousand they are decoded."""
    n = rng.choice((1000, 100_000)) if rng.random() < 0.95 else 2_100_000
    body = json.dumps(way.sound).encode()[:-1]
    return Bad(way.path, b'%s,"unknown":[%s1],"%s":[[[0]],{}]}' % (body, b"1," * n, next(iter(way.sound)).encode()))


def _no_json(rng: random.Random, way: Operation) -> Bad:
    """A value that cannot be read, in a field of ours or in one that nobody knows."""
    field = rng.choice([*way.field_names, "unknown"])
    rest = b"".join(b",%s:%s" % (json.dumps(name).encode(), json.dumps(way.sound[name]).encode()) for name in way.sound)
    return Bad(way.path, b'{"%s":%s%s}' % (field.encode(), rng.choice(RAW), rest))


def _cut(rng: random.Random, way: Operation) -> Bad:
    body = json.dumps(way.sound).encode()
    return Bad(way.path, body[: rng.randrange(len(body))])


def _no_object(rng: random.Random, way: Operation) -> Bad:
    return Bad(way.path, json.dumps(rng.choice([value for value in ODD if not isinstance(value, dict)])).encode())


def _noise(rng: random.Random, way: Operation) -> Bad:
    return Bad(way.path, b"\xff" + rng.randbytes(rng.randint(0, 300)))


def _elsewhere(rng: random.Random, way: Operation) -> Bad:
    """A path or method that nobody serves."""
    body = json.dumps(way.sound).encode()
    path = way.path.partition("?")[0]
    tails = ("/", "/x", "%00", "%ff", "/../..//etc/passwd", "%2e%2e%2f", ";a", "%C3%A9", "/" + "a" * 9000)
    if rng.random() < 0.5:
        return Bad(path + rng.choice(tails), body)
    return Bad(path, body, method=rng.choice(("PUT", "PATCH", "DELETE", "TRACE", "BREW")))


def _framing(rng: random.Random, way: Operation) -> Bad:
    """A body whose end nobody can find."""
    wrong = (
        ({"Transfer-Encoding": "chunked"}, b"zz\r\n{}\r\n0\r\n\r\n"),
        ({"Transfer-Encoding": "chunked"}, b"2\r\n{}}}\r\n0\r\n\r\n"),
        ({"Transfer-Encoding": "chunked"}, b"-2\r\n{}\r\n0\r\n\r\n"),
        ({"Transfer-Encoding": "chunked", "Content-Length": "2"}, b"2\r\n{}\r\n0\r\n\r\n"),
        ({"Transfer-Encoding": "gzip"}, b"{}"),
        ({"Content-Length": "-1"}, b"{}"),
        ({"Content-Length": "two"}, b"{}"),
        ({"Content-Length": "2, 3"}, b"{}"),
        ({"Content-Length": "0x2"}, b"{}"),
    )
    headers, body = rng.choice(wrong)
    return Bad(way.path, body, headers=headers)


def _header(rng: random.Random, way: Operation) -> Bad:
    wrong = (
        {"Content-Encoding": "gzip"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Host": "evil.example"},
        {"X-Long": "a" * 70_000},
    )
    return Bad(way.path, json.dumps(way.sound).encode(), headers=rng.choice(wrong))


_KINDS: tuple[Callable[[random.Random, Operation], Bad], ...] = (
    *(_mixed, _mixed, _mixed, _no_json, _no_json, _unserved, _unserved, _cut, _no_object, _noise, _elsewhere, _header),
    *(_large, _many, _framing),
)
