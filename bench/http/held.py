"""What it costs an answer to be held to something."""

from __future__ import annotations

import statistics
from typing import Any

from bench.http.load import Load
from bench.http.measures import Measures

_PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 40},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "born": {"type": "string", "format": "date"},
        "mail": {"anyOf": [{"type": "string", "format": "email", "maxLength": 40}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"enum": ["new", "old", "late"]}, "minItems": 1, "maxItems": 3},
    },
    "required": ["name", "age", "born", "mail", "tags"],
    "additionalProperties": False,
}
_LETTERS = r'root ::= ("- " [A-Za-z0-9 ,.;:()\x27-]{1,200} "\n"){1000}'
HELD: dict[str, dict[str, Any]] = {
    "free": {},
    "schema": {"json_schema": {"type": "array", "items": _PERSON, "minItems": 1000}},
    "gbnf": {"grammar": _LETTERS},
}


async def held(load: Load, n_rounds: int = 5, n_out: int = 128) -> Measures:
    """Tokens a second of one stream: free, held to a schema, held to GBNF, by turns.

    *_of_free: the median of the rounds' ratios."""
    rates: dict[str, list[float]] = {name: [] for name in HELD}
    prompt = await load.prompts.text(64)
    for fields in HELD.values():
        await load.succeed(prompt, 8, **fields)  # compiled, and the prompt in the cache
    for _ in range(n_rounds):
        for name, fields in HELD.items():
            rates[name].append((await load.succeed(prompt, n_out, **fields)).decode_rate)
    measures: Measures = {f"{name}_tokens_per_s": statistics.median(found) for name, found in rates.items()}
    for name in ("schema", "gbnf"):
        ratios = [one / free for one, free in zip(rates[name], rates["free"], strict=True)]
        measures[f"{name}_of_free"] = statistics.median(ratios)
    return measures
