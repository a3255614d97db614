"""OpenAI's dialect: chat completions, and the template by itself."""

from __future__ import annotations

import secrets

import msgspec
from klein import Klein

from llamatw.text.chat import Rendered, prompt_ids
from llamatw.web import reply, schema
from llamatw.web.api import OPENAI_REPEAT_PENALTY, Api, Request, answer, stream
from llamatw.web.generation import Generation
from llamatw.web.schema import ChatRequest, Order
from llamatw.web.sse import DONE, EventStream, frame


class Chat(msgspec.Struct, frozen=True):
    """One chat request on its way."""

    order: Order
    generation: Generation
    envelope: reply.Json  # what all chunks of one answer have in common

    async def finish(self) -> reply.Json:
        return reply.chat_completion(await self.generation.finish(), self.envelope)

    async def send(self, events: EventStream) -> None:
        with_usage = self.order.include_usage
        envelope = {**self.envelope, "usage": None} if with_usage else self.envelope  # OpenAI: null until the last

        async def chunk(value: reply.Json) -> None:
            await events.send(frame(reply.encode(value)))

        await chunk(reply.chat_chunk(envelope, {"role": "assistant", "content": None}))
        async for piece in self.generation:
            if piece.text:
                await chunk(reply.chat_chunk(envelope, {"content": piece.text}))
        last = reply.chat_chunk(envelope, {}, reply.finish_reason(self.generation))
        await chunk({**last, "timings": reply.timings(self.generation.timings)})
        if with_usage:
            await chunk(reply.usage_chunk(self.generation, self.envelope))


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/v1/chat/completions", methods=["POST"])
    @app.route("/chat/completions", methods=["POST"])
    async def chat_completions(request: Request) -> bytes:
        body = api.body(request, ChatRequest)
        order = api.order(body, OPENAI_REPEAT_PENALTY)
        ids = await _prompt(api, _render(api, body))
        with api.start(ids, order) as generation:
            chat = Chat(order, generation, _envelope(api))
            if not order.stream:
                return answer(request, await chat.finish())
            events = api.event_stream(request, order, lambda: generation.pending_bytes)
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
    """BOS comes from the template or from the vocabulary, not from both."""
    engine = api.engine
    bos = engine.info.bos_token
    add_special = not (bos and prompt.text.startswith(bos))

    def work() -> list[int]:
        return prompt_ids(prompt, engine.tokenize, _token_text, add_special=add_special)

    def _token_text(token: int) -> str:
        return engine.detokenize([token], special=True)

    return await api.run(work, len(prompt.text))


def _envelope(api: Api) -> reply.Json:
    return {
        "id": f"chatcmpl-{secrets.token_hex(16)}",
        "created": int(api.reactor.seconds()),
        "model": api.model,
        "system_fingerprint": reply.FINGERPRINT,
    }
