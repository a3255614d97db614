"""OpenAI's dialect: chat completions, and the template by itself."""

from __future__ import annotations

import secrets
from contextlib import ExitStack

import msgspec
from klein import Klein

from llamatw.text.chat import Rendered, prompt_ids
from llamatw.web import reply, schema
from llamatw.web.api import OPENAI_REPEAT_PENALTY, Api, Request, answer, stream, together
from llamatw.web.generation import Generation
from llamatw.web.schema import ChatRequest, Order
from llamatw.web.sse import DONE, EventStream, frame


class Chat(msgspec.Struct, frozen=True):
    """One chat request on its way."""

    order: Order
    generations: list[Generation]  # one for each choice
    envelope: reply.Json  # what all chunks of one answer have in common

    async def finish(self) -> reply.Json:
        for generation in self.generations:
            await generation.finish()
        return reply.chat_completion(self.generations, self.envelope)

    async def send(self, events: EventStream) -> None:
        """The chunks of all choices as they come."""
        await together(self._send_one(events, index) for index in range(len(self.generations)))
        if self.order.include_usage:
            await events.send(frame(reply.encode(reply.usage_chunk(self.generations, self.envelope))))

    async def _send_one(self, events: EventStream, index: int) -> None:
        generation = self.generations[index]
        envelope = (
            {**self.envelope, "usage": None} if self.order.include_usage else self.envelope
        )  # OpenAI: null until the last

        async def chunk(delta: reply.Json, reason: str | None = None, **more: object) -> None:
            await events.send(frame(reply.encode({**reply.chat_chunk(envelope, index, delta, reason), **more})))

        await chunk({"role": "assistant", "content": None})
        async for piece in generation:
            if piece.text:
                await chunk({"content": piece.text})
        await chunk({}, reply.finish_reason(generation), timings=reply.timings(generation.timings))


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/v1/chat/completions", methods=["POST"])
    @app.route("/chat/completions", methods=["POST"])
    async def chat_completions(request: Request) -> bytes:
        body = api.body(request, ChatRequest)
        order = await api.order(request, body, OPENAI_REPEAT_PENALTY)
        ids = await _prompt(api, _render(api, body))
        with ExitStack() as stack:
            chat = Chat(order, api.start(stack, [ids], order), _envelope(api))
            if not order.stream:
                return answer(request, await chat.finish())
            events = api.event_stream(request, order)
            return await stream(events, chat.send(events), last=DONE)

    @app.route("/apply-template", methods=["POST"])
    async def apply_template(request: Request) -> bytes:
        body = api.body(request, ChatRequest)
        schema.check(body)
        return answer(request, {"prompt": _render(api, body).text})


def _render(api: Api, body: ChatRequest) -> Rendered:
    messages = schema.messages(body)
    return api.template.render(messages, add_generation_prompt=body.add_generation_prompt is not False)


async def _prompt(api: Api, prompt: Rendered) -> list[int]:
    """BOS comes from the system prompt, the template or the vocabulary, and once."""
    engine = api.engine
    head = await api.system_ids(api.system)
    bos = engine.info.bos_token
    has_bos = bool(bos and prompt.text.startswith(bos))
    add_special = not has_bos and not head

    def work() -> list[int]:
        return prompt_ids(prompt, engine.tokenize, _token_text, add_special=add_special)

    def _token_text(token: int) -> str:
        return engine.detokenize([token], special=True)

    ids = await api.run(work, len(prompt.text))
    return head + ids[1:] if head and has_bos else head + ids


def _envelope(api: Api) -> reply.Json:
    return {
        "id": f"chatcmpl-{secrets.token_hex(16)}",
        "created": int(api.reactor.seconds()),
        "model": api.model,
        "system_fingerprint": reply.FINGERPRINT,
    }
