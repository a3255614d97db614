"""Scenarios of answers that are held to something: what that costs them, and what costly grammars cost a neighbour."""

from __future__ import annotations

import asyncio
import statistics
from time import perf_counter
from typing import Any

from bench.http.answer import Answer
from bench.http.client import request
from bench.http.load import Load
from bench.http.measures import Measures, spread
from bench.http.rough import stretches

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

HOSTILE: list[dict[str, Any]] = [  # refused, or ended by a limit, or slow
    {"json_schema": {"allOf": [{"pattern": f"^.*a.{{{n}}}$"} for n in range(1, 30)]}},
    {"json_schema": {"properties": {f"p{n}": {"type": "integer"} for n in range(8000)}}},
    {"json_schema": {"enum": [f"value {n}" for n in range(9000)]}},
    {"json_schema": {"type": "string", "pattern": "^(.*a.{40}|.*b.{50}|.*c.{60})$"}},
    {"json_schema": {"properties": {f"p{n}": {"type": "string"} for n in range(1000)}}},
    {"grammar": "root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000},
    {"grammar": 'root ::= x\nx ::= "a" | y y | y\ny ::= "a" | "aa" | x2 x2\nx2 ::= "a" | "a" "a" | "aaa"?'},
    {"grammar": 'root ::= ([a-z]{0,1000} "x"?){0,1000}'},
    {"grammar": 'root ::= (("a"? "b"?)* "c"?)*'},
    {
        "grammar": "root ::= "
        + " | ".join(f"r{n}" for n in range(2000))
        + "".join(f'\nr{n} ::= "a"* "{n}"' for n in range(2000))
    },
]


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


async def hostile(load: Load, n_at_once: int = 4, n_around: int = 64, n_out: int = 16, n_live: int = 4000) -> Measures:
    """A stream beside grammars made to be costly, some at a time, and beside as many free requests.

    refusal_*: answers other than 200; slowed_by: the mean gap beside them, in that beside the free ones."""
    live = await load.start(await load.prompts.text(16), n_live)
    await live.received(n_around)
    spans: dict[str, tuple[float, float]] = {}
    answers: list[Answer] = []
    for name, several in (("free", [{}] * len(HOSTILE)), ("hostile", HOSTILE)):
        start = perf_counter()
        for at in range(0, len(several), n_at_once):
            answers += await asyncio.gather(*(_ask(load, n_out, one) for one in several[at : at + n_at_once]))
        spans[name] = (start, perf_counter())
        await live.received(len(live.pieces) + n_around)
    await live.leave()
    times, measures = live.answer().times, Measures()
    for name, span in spans.items():
        during = {
            key.replace("during", name): value for key, value in stretches(times, *span).items() if "during" in key
        }
        measures |= during | {f"{name}_mean_ms": 1e3 * _mean_gap(times, *span)}
    refused = [answer.ended - answer.started for answer in answers if answer.status != 200]
    ratio = measures["hostile_mean_ms"] / measures["free_mean_ms"]
    return measures | {"refused": len(refused), **spread("refusal", refused, largest=True), "slowed_by": ratio}


async def _ask(load: Load, n_out: int, fields: dict[str, Any]) -> Answer:
    body = {"prompt": await load.prompts.text(8), "n_predict": n_out} | fields
    exchange = await load.client.open(request("POST", "/completion", body))
    return (await exchange.finish()).answer()


def _mean_gap(times: list[float], start: float, end: float) -> float:
    found = [time for time in times if start <= time <= end]
    return (found[-1] - found[0]) / max(len(found) - 1, 1)
