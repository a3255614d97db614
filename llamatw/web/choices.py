"""What chat completions and text completions of OpenAI's dialect have in common: choices, in one piece or as chunks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import ClassVar

from llamatw.web import native, probs, reply
from llamatw.web.api import Api, Request, answer, finished, stream, together
from llamatw.web.generation import Generation, Placed
from llamatw.web.schema import Order
from llamatw.web.sse import DONE, EventStream, frame


class Choices:
    """One request on its way.  A subclass says how a choice looks."""

    id_prefix: ClassVar[str]
    object: ClassVar[str]  # of the answer in one piece
    chunk_object: ClassVar[str]
    opens_late: ClassVar[bool] = False  # the chunk before there is text waits until the prompt has been read

    def __init__(self, api: Api, order: Order, generations: list[Generation], prompts: list[str]) -> None:
        """generations: order.n_made for each prompt.  prompts: as texts."""
        self.api = api
        self._prompts = prompts
        self._model = api.model
        self._order = order
        self._generations = generations
        self._envelope = {  # the same in all chunks
            "id": f"{self.id_prefix}-{secrets.token_hex(16)}",
            "created": int(api.reactor.seconds()),
            "model": self._model,
            "system_fingerprint": reply.FINGERPRINT,
        }
        self._settings = native.settings(api, order)

    def prompt(self, index: int) -> str:
        """Of a choice."""
        return self._prompts[index // self._order.n]

    def whole(self, index: int, text: str) -> reply.Json:
        """A choice's content."""
        raise NotImplementedError

    def opening(self, index: int) -> reply.Json | None:
        """A choice's content in a chunk before there is text; None: no such chunk."""
        raise NotImplementedError

    def opening_logprobs(self, index: int, generation: Generation) -> reply.Json | None:
        """Of that chunk."""
        return None

    def part(self, text: str | None) -> reply.Json:
        """A choice's content in a chunk; None: no text."""
        raise NotImplementedError

    def parts(self, index: int, text: str | None) -> list[reply.Json]:
        """The chunks that a piece of a choice makes; None: there is no more."""
        return [] if text is None else [self.part(text)]

    def logprobs(self, index: int, entries: Sequence[Placed]) -> reply.Json | None:
        """Of a choice's generated tokens, or of a chunk of them; None: not wanted."""
        return self.api.entries.openai(entries, self._order)

    def whole_logprobs(self, index: int, generation: Generation) -> reply.Json | None:
        return self.logprobs(index, generation.probs)

    async def finish(self) -> reply.Json:
        told = await finished(self._generations, self._order)
        usage = self._usage()  # of all that were made
        self._generations = told
        work = sum(map(probs.size, told))
        shown = await self.api.run(lambda: [self.whole_logprobs(*choice) for choice in enumerate(told)], work)
        choices = [
            reply.choice(index, self.whole(index, generation.text), reply.finish_reason(generation), shown[index])
            for index, generation in enumerate(self._generations)
        ]
        result = {
            **self._envelope,
            "object": self.object,
            "choices": choices,
            "usage": usage,
            "timings": reply.timings(self._generations[0].timings),
            **self._native(0),
        }
        return reply.select(result, self._order.shows.fields)

    async def send(self, events: EventStream) -> None:
        """The chunks of all choices as they come."""
        await together(self._send_one(events, index) for index in range(len(self._generations)))
        if self._order.shows.usage:
            last = {**self._envelope, "object": self.chunk_object, "choices": [], "usage": self._usage()}
            await events.send(frame(reply.encode(last)))

    async def _send_one(self, events: EventStream, index: int) -> None:
        generation = self._generations[index]

        async def chunk(
            content: reply.Json, reason: str | None = None, logprobs: reply.Json | None = None, **more: object
        ) -> None:
            envelope = {**self._envelope, "object": self.chunk_object}
            if self._order.shows.usage:
                envelope["usage"] = None  # until the last
            choices = [reply.choice(index, content, reason, logprobs)]
            await events.send(frame(reply.encode({**envelope, "choices": choices, **more})))

        def timed() -> reply.Json:
            return {"timings": reply.timings(generation.timings)}

        async def begin() -> None:
            if openings:
                shown = await self.api.run(lambda: self.opening_logprobs(index, generation), probs.size(generation))
                await chunk(openings.pop(), logprobs=shown)

        openings = [opening for opening in [self.opening(index)] if opening is not None]
        if not self.opens_late:
            await begin()
        async for piece in generation:
            more = timed() if self._order.shows.timings else {}
            for progress in piece.progress:
                await chunk(self.part(None), **more, **reply.prompt_progress(progress))
            if piece.tokens:
                await begin()
            if piece.text or piece.probs:
                shown = self.logprobs(index, piece.probs)
                for content in self.parts(index, piece.text) or [self.part(None)] * bool(piece.probs):
                    await chunk(content, logprobs=shown, **more)
                    shown = None
        await begin()
        for content in self.parts(index, None):
            await chunk(content)
        await chunk(self.part(None), reply.finish_reason(generation), **timed(), **self._native(index))

    def _usage(self) -> reply.Json:
        return reply.usage(self._generations, self._order.n_made)

    def _native(self, index: int) -> reply.Json:
        """`verbose`: the native answer within this one."""
        if not self._order.shows.native:
            return {}
        return {
            "__verbose": reply.completion(
                index,
                self._generations[index],
                prompt=self.prompt(index),
                model=self._model,
                settings=self._settings,
                tokens=self._order.shows.tokens,
                streamed=self._order.stream,
            )
        }


async def choose(
    kind: Callable[[Api, Order, list[Generation], list[str]], Choices],
    api: Api,
    request: Request,
    order: Order,
    ids: list[list[int]],
    prompts: list[str],
) -> bytes:
    """Answers with choices of that kind."""
    with ExitStack() as stack:
        choices = kind(api, order, api.start(stack, ids, order), prompts)
        if not order.stream:
            return answer(request, await choices.finish())
        events = api.event_stream(request, order)
        return await stream(events, choices.send(events), last=DONE)
