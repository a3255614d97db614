"""Scenarios of clients that behave: alone, side by side, with a prefix in common, one after another."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter

import msgspec

from bench.http.client import Exchange
from bench.http.load import Load
from bench.http.measures import Measures, prefixed, spread, summary
from bench.http.text import OPENING, STORY
from bench.rounds import run_worker
from bench.workload import parse

PAGE_TOKENS = 64  # of the KV cache: what sharing may cost once, at its edge


async def single(load: Load, n_prompt: int = 16, n_out: int = 64) -> Measures:
    """One stream alone, and beside its rate that of the engine without HTTP (bench.engine's tgN, default KV types)."""
    answer = await load.succeed(await load.prompts.text(n_prompt), n_out)
    measures = summary([answer]) | {"decode_tokens_per_s": answer.decode_rate}
    if load.job is None:
        return measures
    test = f"tg{n_out}@{n_prompt}"
    job = msgspec.structs.replace(load.job, tests=parse(test), repeats=1)
    rates = await asyncio.to_thread(run_worker, "llamatw", job)
    engine = rates[test][0]
    return measures | {"engine_tokens_per_s": engine, "of_engine": answer.decode_rate / engine}


async def concurrent(load: Load, n_streams: int = 8, n_prompt: int = 270, n_out: int = 64) -> Measures:
    """Streams side by side, with nothing in common."""
    return summary(await load.run_all(await load.prompts.texts(n_streams, n_prompt), n_out))


async def shared_prefix(
    load: Load, n_streams: int = 8, n_prefix: int = 1800, n_own: int = 60, n_out: int = 32
) -> Measures:
    """All at once and cold: one long beginning, a short end of each request's own.

    prompt_tokens_wanted is what must be computed when the beginning is computed once, and one page of it again."""
    prefix = await load.prompts.text(n_prefix)
    ends = await load.prompts.texts(n_streams, n_own)
    measures = summary(await load.run_all([f"{prefix}\n\n{end}" for end in ends], n_out))
    wanted = n_prefix + n_streams * n_own + PAGE_TOKENS
    return measures | {
        "prompt_tokens_wanted": wanted,
        "computed_of_wanted": measures["prompt_tokens_computed"] / wanted,
    }


async def lookup(load: Load, n_out: int = 128) -> Measures:
    """Prompts whose answers repeat them, beside an ordinary one, greedily: what prompt lookup can win.

    *_repeated: the share of the answer's runs of three words that the prompt has."""
    start = await load.prompts.text(40)
    text = f"{start} {STORY}"
    prompts = {
        "ordinary": f"Text:\n\n{text}\n\nA letter to a friend about something else:\n\nDear",
        "copy": f"Text:\n\n{text}\n\nThe same text, its mistakes corrected:\n\n{start} {OPENING}",
        "summary": f"Text:\n\n{text}\n\nThe three most important sentences of the text, word for word:\n\n- The ferry",
    }
    fields = {"temperature": 0, "repeat_penalty": 1}  # a penalty would forbid what is to be seen
    answers = {name: await load.succeed(prompt, n_out, **fields) for name, prompt in prompts.items()}
    measures: Measures = {}
    for name, answer in answers.items():
        speed = {"tokens_per_s": answer.decode_rate, **spread("gap", answer.gaps)}
        measures |= prefixed(name, speed | {"repeated": repeated(answer.text, prompts[name])})
    ordinary = answers["ordinary"].decode_rate
    return measures | {f"{name}_of_ordinary": answers[name].decode_rate / ordinary for name in ("copy", "summary")}


async def poisson(
    load: Load, rate: float = 4.0, n_requests: int = 60, n_prompt_most: int = 600, n_out_most: int = 96
) -> Measures:
    """Arrivals at random, `rate` a second, of mixed lengths: as often 20 to 40 tokens as 300 to 600.

    late_*: how late this generator itself sent what was due."""
    arrivals, due = [], 0.0
    for _ in range(n_requests):
        due += load.draw.expovariate(rate)
        prompt = await load.prompts.text(_length(load, 16, n_prompt_most))
        arrivals.append((due, prompt, _length(load, 8, n_out_most)))
    start = perf_counter()
    exchanges = await asyncio.gather(*(_arrive(load, start + due, prompt, n) for due, prompt, n in arrivals))
    answers = [exchange.answer() for exchange in exchanges]
    late = [a.started - start - due for a, (due, *_) in zip(answers, arrivals, strict=True)]
    return summary(answers) | spread("late", late, largest=True)


async def _arrive(load: Load, due: float, prompt: str, n_out: int) -> Exchange:
    await asyncio.sleep(max(due - perf_counter(), 0))
    return await load.run(prompt, n_out)


def _length(load: Load, least: int, most: int) -> int:
    """Evenly distributed by its logarithm."""
    return round(math.exp(load.draw.uniform(math.log(least), math.log(max(least, most)))))


def repeated(text: str, source: str) -> float:
    """Share of the text's runs of three words that are in the source; 0 of a shorter text."""
    runs, known = _runs(text), set(_runs(source))
    return sum(run in known for run in runs) / max(len(runs), 1)


def _runs(text: str) -> list[tuple[str, str, str]]:
    words = text.split()
    return list(zip(words, words[1:], words[2:], strict=False))
