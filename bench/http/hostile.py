"""What grammars and schemas made to be costly cost a neighbour's stream, one kind at a time."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import msgspec

from bench.http.answer import Answer
from bench.http.client import KEYS, Exchange, request
from bench.http.load import Load
from bench.http.measures import Measures, spread

Fields = dict[str, Any]


def _gbnf(n: int) -> Fields:
    """Many ways to read a text, deep nesting, many rules."""
    rules = "".join(f'\nr{i} ::= "a"* "{i} "' for i in range(2000))
    texts = (
        'root ::= x{400}\nx ::= "a" | y y | y\ny ::= "a" | "aa" | z z\nz ::= "a" | "a" "a" | "aaa"',
        'root ::= ([a-z]{0,1000} "x"?){0,1000}',
        'root ::= (("a"? "b"?){0,3} "c"){400}',
        "root ::= (" + "(" * 200 + '"a"' + ")*" * 200 + ' "b"){400}',
        "root ::= r{100}\nr ::= " + " | ".join(f"r{i}" for i in range(2000)) + rules,
    )
    return {"grammar": f"{texts[n % len(texts)]}\n# {n}"}


def _schema(n: int) -> Fields:
    lists: Fields = {"type": "integer"}
    for _ in range(4):
        lists = {"type": "array", "items": lists, "minItems": 30, "maxItems": 60}
    chain: Fields = {f"d{i}": {"properties": {"x": {"$ref": f"#/$defs/d{i + 1}"}}} for i in range(400)}
    schemas: tuple[Fields, ...] = (
        {"allOf": [{"pattern": f"^.*a.{{{i}}}$"} for i in range(1, 30)]},
        {"enum": [f"value {i}" for i in range(9000)]},
        {"properties": {f"p{i}": {"type": "integer"} for i in range(8000)}},
        lists,
        {"$ref": "#/$defs/d0", "$defs": chain | {"d400": {"type": "null"}}},
    )
    return {"json_schema": schemas[n % len(schemas)] | {"description": str(n)}}


def _regex(n: int) -> Fields:
    patterns = ("^(.*a.{40}|.*b.{50}|.*c.{60})$", "^([a-z]{0,500}x){0,500}$", "^(a|b|ab)*c{0,3000}$", "^(.*a.{12}|b*)$")
    return {"json_schema": {"type": "string", "pattern": patterns[n % len(patterns)], "description": str(n)}}


def _lark(n: int) -> Fields:
    texts = (
        'start: a\na: a a | "x" | "xx"',
        "start: /(.*a.{40}|.*b.{50}|.*c.{60})/",
        "start: (/[a-z]{1,300}/ | /[a-m]{1,300}/ | /[h-z]+/)+",
        "start: A & B\nA: /.*a.{16}.*/\nB: /(.*b.{14}.*)/",
    )
    return {"grammar": f"%llguidance {{}}\n{texts[n % len(texts)]}\n// {n}"}


def _late(n: int) -> Fields:
    """Patterns that are looked for after each token."""
    triggers = [{"type": 2, "value": f"(?:[a-z ]?){{200}}(never){n}x{i}"} for i in range(3)]
    return {"grammar": 'root ::= "never" .*', "grammar_lazy": True, "grammar_triggers": triggers, "n_predict": 100}


def _fresh(n: int) -> Fields:
    """Cheap, but never seen before."""
    return {"json_schema": {"properties": {f"p{n}_{i}": {"type": "integer"} for i in range(5)}}}


def _mixed(n: int) -> Fields:
    kinds = (_gbnf, _schema, _regex, _lark, _late, _fresh)
    return kinds[n % len(kinds)](n // len(kinds))


KINDS: dict[str, Callable[[int], Fields]] = {
    "free": lambda n: {},
    "short": lambda n: {"n_predict": 2},  # free as well: what it costs that requests come and go
    "gbnf": _gbnf,
    "schema": _schema,
    "regex": _regex,
    "lark": _lark,
    "late": _late,
    "fresh": _fresh,
    "mixed": _mixed,
    "keys": _mixed,  # each client has a key of its own
}


class Beside(msgspec.Struct, frozen=True):
    """What a stream saw of its neighbours."""

    gap_ms: float  # mean
    answers: list[Answer]


async def hostile(load: Load, n_clients: int = 8, n_tokens: int = 300, n_around: int = 32, n_out: int = 16) -> Measures:
    """A stream beside clients that send costly grammars, each kind apart, and beside as many that send free requests.

    KIND_slowed_by: its mean gap, in that beside free ones just before."""
    prompt, prompts = await load.prompts.text(16), itertools.cycle(await load.prompts.texts(50, 8))
    numbers = itertools.count()

    async def beside(name: str) -> Beside:
        asks = _clients(load, name, prompts, numbers, n_clients, n_out) if name != "alone" else []
        return await _beside(load, prompt, n_tokens, n_around, asks)

    measures: Measures = {}
    for name in ("alone", *KINDS):
        measures |= _measures(name, await beside("free"), await beside(name))
    return measures


def _measures(name: str, free: Beside, one: Beside) -> Measures:
    refusals = [answer.ended - answer.started for answer in one.answers if answer.status != 200]
    return {
        f"{name}_gap_ms": one.gap_ms,
        f"{name}_slowed_by": one.gap_ms / free.gap_ms,
        f"{name}_answers": len(one.answers),
        f"{name}_refused": len(refusals),
        **spread(f"{name}_refusal", refusals, largest=True),
    }


Ask = Callable[[], Awaitable[Exchange]]  # one request


def _clients(
    load: Load, name: str, prompts: Iterator[str], numbers: Iterator[int], n_clients: int, n_out: int
) -> list[Ask]:
    async def ask(key: str) -> Exchange:
        body = {"prompt": next(prompts), "n_predict": n_out} | KINDS[name](next(numbers))
        return await load.client.open(request("POST", "/completion", body, key))

    keys = KEYS[1:] if name == "keys" else KEYS[1:2]
    return [partial(ask, key) for key in itertools.islice(itertools.cycle(keys), n_clients)]


async def _beside(load: Load, prompt: str, n_tokens: int, n_around: int, asks: Sequence[Ask]) -> Beside:
    """The gaps count from the clients' first request on, for n_tokens."""
    live = await load.start(prompt, 2 * n_around + n_tokens)
    await live.received(n_around)
    start, exchanges = perf_counter(), list[Exchange]()
    clients = [asyncio.ensure_future(_go_on(ask, exchanges)) for ask in asks]
    await live.received(len(live.pieces) + n_tokens)
    for client in clients:
        client.cancel()
    await asyncio.gather(*clients, return_exceptions=True)
    await live.leave()
    times = [time for time in live.answer().times if time >= start]
    if len(times) < 2:
        raise RuntimeError(f"the stream has ended early: {live.answer().body[-200:]!r}")
    return Beside((times[-1] - times[0]) / (len(times) - 1) * 1e3, [exchange.answer() for exchange in exchanges])


async def _go_on(ask: Ask, exchanges: list[Exchange]) -> None:
    """One request after the other, until cancelled or without an answer: then the server is gone."""
    while not exchanges or exchanges[-1].pieces:
        exchange = await ask()
        try:
            exchanges.append(await exchange.finish())
        except asyncio.CancelledError:
            await exchange.leave()
            raise
