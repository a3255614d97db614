"""Parameters of functions as tool calls have them, drawn by chance."""

from __future__ import annotations

import random

from tests.real_schemas import COUNT, FLAG, NAME, PRICE, STRING, enum, many, matches, nullable, ref, text
from tests.schemas import Schema, record

_WORDS = "id name query path user city date limit mode size tags notes score total parent status".split()


def tool(seed: int) -> Schema:
    """Parameters of a function: strict or with optional ones, described, with shared definitions."""
    draw = random.Random(seed)
    defs = {f"Type{n}": _object(draw, 0) for n in range(draw.randrange(3))}
    schema = _object(draw, 2, list(defs))
    return {**schema, "$defs": defs} if defs else schema


def _object(draw: random.Random, depth: int, defs: list[str] | tuple[()] = ()) -> Schema:
    names = draw.sample(_WORDS, draw.randint(1, 4))
    is_strict = draw.random() < 0.6
    return {
        "type": "object",
        "description": "What it is for",
        "properties": {name: _value(draw, depth, defs) for name in names},
        "required": names if is_strict else [name for name in names if draw.random() < 0.6],
        "additionalProperties": False,
    }


def _value(draw: random.Random, depth: int, defs: list[str] | tuple[()]) -> Schema:
    simple = [
        NAME,
        COUNT,
        PRICE,
        FLAG,
        STRING,
        text("date"),
        text("uuid"),
        text("ipv4"),
        matches("^[A-Z]{2}[0-9]{1,4}$"),
    ]
    makers = [
        lambda: draw.choice(simple),
        lambda: {**draw.choice(simple), "description": "Say it", "title": "It"},
        lambda: {"type": "string", "enum": draw.sample(_WORDS, draw.randint(1, 5))},
        lambda: nullable(draw.choice(simple)),
        lambda: many(_value(draw, depth - 1, defs), draw.randint(1, 2), draw.randint(0, 1)),
        lambda: _object(draw, depth - 1, defs),
        lambda: {"anyOf": [_value(draw, depth - 1, defs), record(kind=enum("other"), value=draw.choice(simple))]},
        lambda: ref(draw.choice(defs)) if defs else draw.choice(simple),
    ]
    return draw.choice(makers if depth else makers[:4])()
