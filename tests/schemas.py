"""JSON schemas for tests: made by hand, for each keyword and mixture, and drawn by chance.  All bound their texts."""

from __future__ import annotations

import random
from typing import Any

Schema = dict[str, Any]


def record(**members: Schema) -> Schema:
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


SHORT = {"type": "string", "maxLength": 8}
DIGIT = {"type": "integer", "minimum": 0, "maximum": 9}
POINT = record(x=DIGIT, y=DIGIT)

HAND_MADE: dict[str, Schema] = {
    "enum": {"enum": ["red", "green", 1, None, True]},
    "const object": {"const": {"a": [1, {"b": None}]}},
    "boolean": {"type": "boolean"},
    "null": {"type": "null"},
    "types": {"type": ["boolean", "null"]},
    "integer range": {"type": "integer", "minimum": -15, "maximum": 1234},
    "exclusive": {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 6},
    "number range": {"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.25},
    "multiple": {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 700},
    "lengths": {"type": "string", "minLength": 3, "maxLength": 5},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
    "pattern in the middle": {"type": "string", "pattern": "[0-9]{2}", "maxLength": 8},
    "date": {"type": "string", "format": "date"},
    "time": {"type": "string", "format": "time", "maxLength": 12},
    "uuid": {"type": "string", "format": "uuid"},
    "ipv4": {"type": "string", "format": "ipv4"},
    "record": record(name=SHORT, age=DIGIT),
    "nested": record(a=record(b=record(c=DIGIT)), d=SHORT),
    "optional": {
        "type": "object",
        "properties": {"a": DIGIT, "b": SHORT},
        "required": ["b"],
        "additionalProperties": False,
    },
    "empty object": {"type": "object", "additionalProperties": False},
    "list": {"type": "array", "items": DIGIT, "minItems": 2, "maxItems": 4},
    "list of lists": {"type": "array", "items": {"type": "array", "items": DIGIT, "maxItems": 2}, "maxItems": 2},
    "tuple": {"type": "array", "prefixItems": [DIGIT, SHORT], "items": False, "minItems": 2},
    "anyOf": {"anyOf": [DIGIT, {"type": "boolean"}, record(k=DIGIT)]},
    "oneOf": {"oneOf": [record(kind={"const": "a"}, a=DIGIT), record(kind={"const": "b"}, b=SHORT)]},
    "allOf": {"allOf": [{"type": "integer", "minimum": 5}, {"maximum": 8}]},
    "ref": {"$defs": {"point": POINT}, **record(p={"$ref": "#/$defs/point"}, q={"$ref": "#/$defs/point"})},
    "recursive": {
        "$defs": {"node": {"anyOf": [{"type": "null"}, record(value=DIGIT, next={"$ref": "#/$defs/node"})]}},
        **record(first={"anyOf": [{"type": "null"}, record(value=DIGIT, next={"type": "null"})]}),
    },
    "escapes": {"const": 'a"b\\c\n\t/é日'},
    "unicode names": record(é=DIGIT, 日本=SHORT),
    "optional by pydantic": record(a={"anyOf": [SHORT, {"type": "null"}], "default": None, "title": "A"}),
    "map": {"type": "object", "additionalProperties": DIGIT, "maxProperties": 0},
}


def drawn(seed: int) -> Schema:
    return _drawn(random.Random(seed), 3)


def _drawn(draw: random.Random, depth: int) -> Schema:
    makers = [_number, _string, _enum] + [_object, _list, _any_of] * (depth > 0)
    return draw.choice(makers)(draw, depth - 1)


def _number(draw: random.Random, depth: int) -> Schema:
    low = draw.randrange(-500, 500)
    return {"type": "integer", "minimum": low, "maximum": low + draw.randrange(1000)}


def _string(draw: random.Random, depth: int) -> Schema:
    low = draw.randrange(4)
    kinds = [
        {"minLength": low, "maxLength": low + draw.randrange(8)},
        {"pattern": f"^[a-{draw.choice('fkz')}]{{1,6}}$"},
    ]
    return {"type": "string", **draw.choice([*kinds, {"format": "date"}])}


def _enum(draw: random.Random, depth: int) -> Schema:
    values = ["one", "two words", 3, -4.5, None, True, "é", [1], {"k": 1}]
    return {"enum": draw.sample(values, draw.randint(1, 5))}


def _object(draw: random.Random, depth: int) -> Schema:
    names = draw.sample(["name", "size", "tags", "owner id", "x", "Größe"], draw.randint(0, 3))
    return {
        "type": "object",
        "properties": {name: _drawn(draw, depth) for name in names},
        "required": [name for name in names if draw.random() < 0.7],
        "additionalProperties": False,
    }


def _list(draw: random.Random, depth: int) -> Schema:
    low = draw.randrange(3)
    return {"type": "array", "items": _drawn(draw, depth), "minItems": low, "maxItems": low + draw.randrange(2)}


def _any_of(draw: random.Random, depth: int) -> Schema:
    return {"anyOf": [_drawn(draw, depth) for _ in range(draw.randint(1, 3))]}
