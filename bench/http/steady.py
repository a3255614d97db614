"""Scenarios of clients that behave: alone, side by side, with a prefix in common, one after another."""

from __future__ import annotations

import asyncio
import math
from time import perf_counter

import msgspec

from bench.http.answer import Answer
from bench.http.load import Load
from bench.http.measures import Measures, prefixed, spread, summary
from bench.http.text import STORY
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
    return summary(await load.complete_all(await load.prompts.texts(n_streams, n_prompt), n_out))


async def shared_prefix(
    load: Load, n_streams: int = 8, n_prefix: int = 1800, n_own: int = 60, n_out: int = 32
) -> Measures:
    """All at once and cold: one long beginning, a short end of each request's own.

    prompt_tokens_wanted is what must be computed when the beginning is computed once, and one page of it again."""
    prefix = await load.prompts.text(n_prefix)
    ends = await load.prompts.texts(n_streams, n_own)
    measures = summary(await load.complete_all([f"{prefix}\n\n{end}" for end in ends], n_out))
    wanted = n_prefix + n_streams * n_own + PAGE_TOKENS
    return measures | {
        "prompt_tokens_wanted": wanted,
        "computed_of_wanted": measures["prompt_tokens_computed"] / wanted,
    }


async def lookup(load: Load, n_out: int = 128) -> Measures:
    """Prompts whose answers repeat them, beside an ordinary one, greedily: what prompt lookup can win.

    copied_share: of the copy that agrees with the text from its beginning."""
    words = await load.prompts.text(40)
    prompts = {
        "ordinary": f"{words} {STORY}\n\nA letter to a friend about something else:\n\nDear",
        "copy": f"Text:\n\n{words} {STORY}\n\nThe same text, its mistakes corrected:\n\n{words} The ferry",
        "summary": f"Text:\n\n{words} {STORY}\n\nThe most important sentences of the text, word for word:\n\n- The",
    }
    measures: Measures = {}
    answers = {name: await load.succeed(prompt, n_out, temperature=0) for name, prompt in prompts.items()}
    for name, answer in answers.items():
        measures |= prefixed(name, {"tokens_per_s": answer.decode_rate, **spread("gap", answer.gaps)})
    for name in ("copy", "summary"):
        measures[f"{name}_of_ordinary"] = answers[name].decode_rate / answers["ordinary"].decode_rate
    copied = common_start(answers["copy"].text, STORY.removeprefix("The ferry"))
    return measures | {"copied_share": copied / len(answers["copy"].text)}


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
    answers = await asyncio.gather(*(_arrive(load, start + due, prompt, n) for due, prompt, n in arrivals))
    late = [a.started - start - due for a, (due, *_) in zip(answers, arrivals, strict=True)]
    return summary(answers) | spread("late", late, largest=True)


async def _arrive(load: Load, due: float, prompt: str, n_out: int) -> Answer:
    await asyncio.sleep(max(due - perf_counter(), 0))
    return await load.complete(prompt, n_out)


def _length(load: Load, least: int, most: int) -> int:
    """Evenly distributed by its logarithm."""
    return round(math.exp(load.draw.uniform(math.log(least), math.log(max(least, most)))))


def common_start(one: str, other: str) -> int:
    """Characters that both begin with, leaving aside blanks in front."""
    pairs = zip(one.lstrip(), other.lstrip(), strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one.lstrip()), len(other.lstrip())))
