"""The server's own dialect: /completion, /tokenize, /detokenize; what a native answer is made of."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import msgspec
from klein import Klein

from llamatw.settings import SystemPrompt
from llamatw.web import probs, prompts, reply
from llamatw.web.api import NATIVE_REPEAT_PENALTY, Api, Request, answer, finished, stream, together
from llamatw.web.generation import Generation, Placed
from llamatw.web.schema import CompletionRequest, DetokenizeRequest, Order, TokenizeRequest
from llamatw.web.sse import EventStream, frame

_PIECE_COST = 16  # tokens that are detokenized together in the time that one takes by itself


class Completions(msgspec.Struct, frozen=True):
    """One request for native completions on its way."""

    order: Order
    prompts: list[object]  # as they are shown in the answers
    is_list: bool  # the answer in one piece is a list
    generations: list[Generation]  # order.n_made for each prompt
    settings: reply.Json
    api: Api

    def final(self, index: int, generation: Generation) -> reply.Json:
        return reply.completion(
            index,
            generation,
            prompt=self.prompts[index // self.order.n],
            model=self.api.model,
            settings=self.settings,
            tokens=self.order.shows.tokens,
            streamed=self.order.stream,
        )

    async def finish(self) -> reply.Json | list[reply.Json]:
        """The answer in one piece: an object, or a list of them, prompt by prompt."""
        told = await finished(self.generations, self.order)
        found = [generation.probs for generation in told]
        shown = await self.api.run(lambda: [self._probs(entries) for entries in found], sum(map(probs.size, told)))
        finals = [
            reply.select({**self.final(index, told[index]), **more}, self.order.shows.fields)
            for index, more in enumerate(shown)
        ]
        return finals if self.is_list else finals[0]

    async def send(self, events: EventStream) -> None:
        """The events of all answers as they come."""
        await together(self._send_one(events, index) for index in range(len(self.generations)))

    async def _send_one(self, events: EventStream, index: int) -> None:
        generation = self.generations[index]
        async for piece in generation:
            shown = self._probs(piece.probs)
            for event in reply.partials(index, generation, piece, timed=self.order.shows.timings, probs=shown):
                await events.send(frame(reply.encode(event)))
        await events.send(frame(reply.encode(self.final(index, generation))))

    def _probs(self, entries: Sequence[Placed]) -> reply.Json:
        return self.api.entries.native(entries, self.order)


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/completion", methods=["POST"])
    @app.route("/completions", methods=["POST"])
    async def completion(request: Request) -> bytes:
        body = api.body(request, CompletionRequest)
        order = await api.order(request, body, NATIVE_REPEAT_PENALTY, cuts_prompt=True)
        texts = prompts.parse(body.prompt, api.engine.capacity)
        if body.system_prompt is not None:
            await api.check_system(body.system_prompt)
        ids = await api.prompt_ids(texts, body.system_prompt)
        is_several = prompts.is_several(body.prompt)
        shown = body.prompt if is_several else [body.prompt]
        is_list = is_several or order.n > 1
        return await complete(api, request, order, ids, shown, is_list=is_list, system=body.system_prompt)

    @app.route("/tokenize", methods=["POST"])
    async def tokenize(request: Request) -> bytes:
        body = api.body(request, TokenizeRequest)
        return answer(request, {"tokens": await _tokens(api, body)})

    @app.route("/detokenize", methods=["POST"])
    async def detokenize(request: Request) -> bytes:
        tokens = api.body(request, DetokenizeRequest).tokens or []

        def work() -> str:
            return api.engine.detokenize(tokens, special=True)

        return answer(request, {"content": await api.run(work, len(tokens))})


async def complete(
    api: Api,
    request: Request,
    order: Order,
    ids: list[list[int]],
    shown: list[object],
    is_list: bool,
    system: SystemPrompt | None,
) -> bytes:
    """Answers with native completions.  shown: the prompts, as the answers repeat them; system: what the request sets,
    which holds only when nothing of it is refused."""
    with ExitStack() as stack:
        generations = api.start(stack, ids, order)
        api.system = system or api.system
        completions = Completions(order, shown, is_list, generations, settings(api, order), api)
        if not order.stream:
            return answer(request, await completions.finish())
        events = api.event_stream(request, order)
        return await stream(events, completions.send(events))


def settings(api: Api, order: Order) -> reply.Json:
    """`generation_settings` of an order."""
    return reply.settings(
        order.params,
        model=api.model,
        n_ctx=api.engine.info.n_ctx,
        stop=order.stop,
        stream=order.stream,
        timed=order.shows.timings,
    )


async def _tokens(api: Api, body: TokenizeRequest) -> list[Any]:
    content = prompts.parse_one(body.content, "content")
    prompts.check_ids(content, "content", api.engine.info.n_vocab)
    add_special, parse_special = bool(body.add_special), body.parse_special is not False
    ids = await api.ids(content, add_special=add_special, parse_special=parse_special)

    def pieces() -> list[Any]:
        return [{"id": token, "piece": _piece(api, token)} for token in ids]

    return await api.run(pieces, _PIECE_COST * len(ids)) if body.with_pieces else ids


def _piece(api: Api, token: int) -> str | list[int]:
    """A token's text, or its bytes where they are no text by themselves."""
    raw = api.engine.detokenize_bytes([token], special=True)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return list(raw)
