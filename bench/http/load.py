"""What a scenario is handed: a client, prompts, a seeded generator, the server's process where it is ours."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from bench.http.answer import Answer
from bench.http.client import Client, Exchange, request
from bench.http.measures import Measures
from bench.http.server import Process
from bench.http.text import Prompts
from bench.workload import Job

Scenario = Callable[..., Awaitable[Measures]]  # (load, and its own arguments by name)


class Load(msgspec.Struct, frozen=True):
    """For one repeat of one scenario."""

    client: Client
    prompts: Prompts
    draw: random.Random
    extra: dict[str, Any]  # fields added to every generating request
    process: Process | None = None  # None: a server elsewhere
    job: Job | None = None  # for bench.engine's own figure, where the model is at hand

    async def start(self, prompt: str | list[int], n_out: int, **fields: Any) -> Exchange:
        """A streamed completion of just so many tokens, on its way."""
        body = {"prompt": prompt, "n_predict": n_out, "ignore_eos": True, "stream": True, "seed": self._seed()}
        return await self.client.open(request("POST", "/completion", body | self.extra | fields))

    async def run(self, prompt: str | list[int], n_out: int, **fields: Any) -> Exchange:
        """To its end."""
        return await (await self.start(prompt, n_out, **fields)).finish()

    async def succeed(self, prompt: str | list[int], n_out: int, **fields: Any) -> Answer:
        """The answer; raises RuntimeError where it is none, and there would be nothing to compare with."""
        answer = (await self.run(prompt, n_out, **fields)).answer()
        if not answer.complete or not answer.times:
            raise RuntimeError(f"a completion of {n_out} tokens failed: status {answer.status}, {answer.body[:200]!r}")
        return answer

    async def run_all(self, prompts: Sequence[str | list[int]], n_out: int) -> list[Answer]:
        """All at once; answers are read when the last has ended."""
        exchanges = await asyncio.gather(*(self.run(prompt, n_out) for prompt in prompts))
        return [exchange.answer() for exchange in exchanges]

    async def chat(self, messages: list[dict[str, str]], n_out: int) -> Answer:
        body = {"messages": messages, "max_tokens": n_out, "stream": True, "seed": self._seed()}
        return await self.client.ask("POST", "/v1/chat/completions", body | self.extra)

    async def is_idle(self) -> bool:
        return not any(slot["is_processing"] for slot in await self.client.value("GET", "/slots"))

    def process_measures(self, when: str) -> Measures:
        """Memory and descriptors of the server, where it can be looked at."""
        if self.process is None:
            return {}
        return {f"rss_{when}_mib": self.process.rss_mib, f"fds_{when}": self.process.n_fds}

    def _seed(self) -> int:
        return self.draw.getrandbits(31)
