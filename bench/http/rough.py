"""Scenarios of crowds, idlers, long prompts beside a stream, and clients that leave in the middle."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from time import perf_counter

from bench.http.answer import Answer
from bench.http.client import Exchange, request
from bench.http.load import Load
from bench.http.measures import Measures, errors, prefixed, spread, summary

REFUSED = (429, 503)
POLL_S = 0.005
HEALTH_EVERY_S = 0.05
PATIENCE_S = 60.0  # until all slots are idle after everybody has left
TOGETHER = 50  # connections opened at once where their number is the point, not their rush


# ---- a long prompt beside a stream -------------------------------------------------------------------------------


async def stall(load: Load, n_prompt: int = 3500, n_around: int = 64, n_live: int = 4000) -> Measures:
    """What a long prompt does to a stream that runs, and the stream to the prompt's time to first token.

    The stream's gaps count as `during` when they end between the prompt's sending and its first token."""
    alone, beside, short = [await load.prompts.text(n) for n in (n_prompt, n_prompt, 16)]
    ttft_alone = (await load.succeed(alone, 1)).ttft_s
    live = await load.start(short, n_live)
    await live.received(n_around)
    arrival = await load.succeed(beside, 1)
    await live.received(len(live.pieces) + n_around)
    await live.leave()
    return {
        **stretches(live.answer().times, arrival.started, arrival.times[0]),
        "ttft_alone_ms": ttft_alone * 1e3,
        "ttft_beside_ms": arrival.ttft_s * 1e3,
        "beside_of_alone": arrival.ttft_s / ttft_alone,
    }


def stretches(times: Sequence[float], start: float, end: float) -> Measures:
    """Gaps of a stream before start, until end, after end."""
    names = ["before" if after < start else "during" if after <= end else "after" for after in times[1:]]
    gaps = [after - before for before, after in itertools.pairwise(times)]
    measures: Measures = {}
    for name in ("before", "during", "after"):
        found = [gap for gap, where in zip(gaps, names, strict=True) if where == name]
        measures |= prefixed(name, {"tokens": len(found), **spread("gap", found, largest=True)})
    return measures


# ---- many at once ------------------------------------------------------------------------------------------------


async def flood(load: Load, n_requests: int = 1500, n_prompt: int = 16, n_out: int = 32) -> Measures:
    """Everybody at the same moment; /health and the server's memory meanwhile.

    generator_late_*: how late this side's own timers are, a part of all other times here."""
    prompts = await load.prompts.texts(8, n_prompt)
    before = load.process_measures("before")
    done = asyncio.Event()
    health, memory = asyncio.ensure_future(_health(load, done)), asyncio.ensure_future(_most_memory(load, done))
    answers = await load.run_all([prompts[i % len(prompts)] for i in range(n_requests)], n_out)
    done.set()
    measures = summary(answers) | _refusals(answers) | await health | before | await memory
    return measures | load.process_measures("after")


def _refusals(answers: Sequence[Answer]) -> Measures:
    """Of requests that were told to come again; the rest should be none."""
    refused = [answer for answer in answers if answer.status in REFUSED]
    return {
        "served": sum(answer.complete for answer in answers),
        "refused": len(refused),
        "refused_without_retry_after": sum("retry-after" not in answer.headers for answer in refused),
        **spread("refusal", [answer.ended - answer.started for answer in refused]),
    }


async def _health(load: Load, done: asyncio.Event) -> Measures:
    ask, exchanges, late = request("GET", "/health"), list[Exchange](), list[float]()
    while not done.is_set():
        exchanges.append(await load.client.run(ask))
        due = perf_counter() + HEALTH_EVERY_S
        await asyncio.sleep(HEALTH_EVERY_S)
        late.append(perf_counter() - due)
    answers = [exchange.answer() for exchange in exchanges]
    took = [answer.ended - answer.started for answer in answers if answer.complete]
    measures = prefixed("health", {"asked": len(answers), **errors(answers), **spread("took", took, largest=True)})
    return measures | spread("generator_late", late, largest=True)


async def _most_memory(load: Load, done: asyncio.Event) -> Measures:
    """At the moments that it was looked at."""
    most: Measures = {}
    while not done.is_set():
        for name, value in load.process_measures("most").items():
            most[name] = max(value, most.get(name, 0))
        await asyncio.sleep(HEALTH_EVERY_S)
    return most


# ---- connections that do nothing ---------------------------------------------------------------------------------


async def idle(load: Load, n_connections: int = 1200, n_prompt: int = 16, n_out: int = 256) -> Measures:
    """A stream alone, then the same beside connections that are silent, stop in their headers, or in their body."""
    prompts = await load.prompts.texts(2, n_prompt)
    alone = await load.succeed(prompts[0], n_out)
    before = load.process_measures("before")
    idlers = await _idlers(load, n_connections)
    beside = await load.succeed(prompts[1], n_out)
    measures = before | load.process_measures("beside")
    open_still = sum(not idler.ended for idler in idlers)
    await asyncio.gather(*(idler.leave() for idler in idlers))
    for name, answer in (("alone", alone), ("beside", beside)):
        speed = {"ttft_ms": answer.ttft_s * 1e3, "tokens_per_s": answer.decode_rate}
        measures |= prefixed(name, speed | spread("gap", answer.gaps, largest=True))
    return measures | {"idle_connections": open_still, "beside_of_alone": beside.decode_rate / alone.decode_rate}


async def _idlers(load: Load, n: int) -> list[Exchange]:
    whole = request("POST", "/completion", {"prompt": "never sent in full"})
    kinds = (b"", whole[: whole.index(b"\r\n\r\n") - 3], whole[:-5])
    opened: list[Exchange] = []
    while len(opened) < n:
        some = range(len(opened), min(len(opened) + TOGETHER, n))
        opened += await asyncio.gather(*(load.client.open(kinds[i % len(kinds)]) for i in some))
    return opened


# ---- clients that leave ------------------------------------------------------------------------------------------


async def cancel(load: Load, n_aborts: int = 1000, n_prompt: int = 1500, n_out: int = 2000) -> Measures:
    """Clients leave in the queue, in prefill or in decode, with FIN or RST; after each wave, the time until idle.

    Waves by turns: as many streams as slots and as many requests queued behind them; as many long prompts.  The last
    wave is a whole one.  Descriptors may differ by the connection that was closed just before they were counted."""
    ids = await load.prompts.tokenize(await load.prompts.text(n_prompt))
    n_slots = len(await load.client.value("GET", "/slots"))
    before, left = load.process_measures("before"), 0
    took: dict[str, list[float]] = {"decode": [], "prefill": []}
    for kind, wave in itertools.cycle([("decode", _leave_decode_and_queue), ("prefill", _leave_prefill)]):
        if left >= n_aborts:
            break
        left += await wave(load, ids, n_slots, n_out)
        took[kind].append(await _until_idle(load))
    await load.succeed(load.draw.sample(ids, 16), 16)
    measures: Measures = {"aborts": left}
    for kind, seconds in took.items():
        measures |= spread(f"idle_after_{kind}", seconds, largest=True)
    return measures | before | load.process_measures("after")


async def _leave_decode_and_queue(load: Load, ids: list[int], n: int, n_out: int) -> int:
    """Those in the queue leave first, at random within a few steps; then the others."""
    streams = [await load.start(load.draw.sample(ids, 16), n_out) for _ in range(n)]
    await asyncio.gather(*(stream.received(2) for stream in streams))
    queued = [await load.start(load.draw.sample(ids, 16), n_out) for _ in range(n)]
    await _leave_at_random(load, queued, 0.05)
    await _leave_at_random(load, streams, 0.05)
    return 2 * n


async def _leave_prefill(load: Load, ids: list[int], n: int, n_out: int) -> int:
    """Within the time that their prompts take, or a little later."""
    streams = [await load.start(load.draw.sample(ids, len(ids)), n_out) for _ in range(n)]
    await _leave_at_random(load, streams, 0.3)
    return n


async def _leave_at_random(load: Load, exchanges: Sequence[Exchange], within_s: float) -> None:
    async def leave(exchange: Exchange, after_s: float, reset: bool) -> None:
        await asyncio.sleep(after_s)
        await exchange.leave(reset=reset)

    ways = [(load.draw.uniform(0, within_s), load.draw.random() < 0.5) for _ in exchanges]
    await asyncio.gather(*(leave(exchange, *way) for exchange, way in zip(exchanges, ways, strict=True)))


async def _until_idle(load: Load) -> float:
    """Seconds until /slots shows none at work."""
    start = perf_counter()
    while not await load.is_idle():
        if perf_counter() - start > PATIENCE_S:
            raise RuntimeError(f"slots are still at work {PATIENCE_S:g} s after everybody has left")
        await asyncio.sleep(POLL_S)
    return perf_counter() - start
