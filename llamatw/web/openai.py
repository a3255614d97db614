"""OpenAI's chat dialect: chat completions, how many tokens one would read, and the template by itself."""

from __future__ import annotations

from typing import Any, ClassVar

from klein import Klein

from llamatw.text.chat import Rendered, prompt_ids
from llamatw.text.thoughts import Splitter, Tags, tags_ahead
from llamatw.web import messages, reply, schema
from llamatw.web.api import OPENAI_REPEAT_PENALTY, Api, Request, answer
from llamatw.web.choices import Choices, choose
from llamatw.web.messages import ChatRequest


class ChatChoices(Choices):
    id_prefix: ClassVar[str] = "chatcmpl"
    object: ClassVar[str] = "chat.completion"
    chunk_object: ClassVar[str] = "chat.completion.chunk"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        constraint = self._order.params.constraint
        tags = constraint.wish.thought if constraint and self._order.shows.thoughts_apart else None
        self._splitters = [Splitter(Tags(*tags)) for _ in self._generations] if tags else []

    def whole(self, index: int, text: str) -> reply.Json:
        parts = [part["delta"] for said in (text, None) for part in self.parts(index, said)]
        message = {key: "".join(part.get(key, "") for part in parts) for key in ("content", "reasoning_content")}
        if not message["reasoning_content"]:
            del message["reasoning_content"]
        return {"message": {"role": "assistant", **message}}

    def opening(self, index: int) -> reply.Json | None:
        return {"delta": {"role": "assistant", "content": None}}

    def part(self, text: str | None) -> reply.Json:
        return {"delta": {} if text is None else {"content": text}}

    def parts(self, index: int, text: str | None) -> list[reply.Json]:
        """Of an answer that is held to something behind a thought, the thought is apart."""
        if not self._splitters:
            return super().parts(index, text)
        splitter = self._splitters[index]
        thought, answer = splitter.finish() if text is None else splitter.feed(text)
        deltas = [{"reasoning_content": thought}] * bool(thought) + [{"content": answer}] * bool(answer)
        return [{"delta": delta} for delta in deltas]


def add_routes(app: Klein, api: Api) -> None:
    @app.route("/v1/chat/completions", methods=["POST"])
    @app.route("/chat/completions", methods=["POST"])
    async def chat_completions(request: Request) -> bytes:
        order, prompt = await _taken(api, request)
        return await choose(ChatChoices, api, request, order, [await _prompt(api, prompt)], [prompt.text])

    @app.route("/v1/chat/completions/input_tokens", methods=["POST"])
    @app.route("/chat/completions/input_tokens", methods=["POST"])
    async def input_tokens(request: Request) -> bytes:
        _, prompt = await _taken(api, request)
        ids = await _prompt(api, prompt)
        return answer(request, {"object": "response.input_tokens", "input_tokens": len(ids)})

    @app.route("/apply-template", methods=["POST"])
    async def apply_template(request: Request) -> bytes:
        _, prompt = await _taken(api, request)
        return answer(request, {"prompt": prompt.text})


async def _taken(api: Api, request: Request) -> tuple[schema.Order, Rendered]:
    """A chat and its prompt.  All of it is checked, also by routes that do not answer it."""
    body = api.body(request, ChatRequest)
    order = await api.order(request, body, OPENAI_REPEAT_PENALTY, thought=lambda: _thought(api, body))
    return order, _render(api, body)


def _render(api: Api, body: ChatRequest) -> Rendered:
    chat = messages.conversation(body, api.settings.prefills)
    return api.template.render(
        chat.messages, add_generation_prompt=chat.opens_turn, prefill=chat.prefill, variables=chat.variables
    )


def _thought(api: Api, body: ChatRequest) -> Tags | None:
    """What the model may think between first, or does where the prompt ends; no more once the answer has begun."""
    prefill = messages.conversation(body, api.settings.prefills).prefill
    tags = tags_ahead(api.template.source, _behind_messages(_render(api, body), prefill) + prefill)
    return None if tags and tags.opening and prefill else tags


def _behind_messages(prompt: Rendered, prefill: str) -> str:
    """What the template has put there; everything, where it cannot be told from messages: the last tags are its own."""
    if prompt.pieces is None:
        return prompt.text.removesuffix(prefill)
    last = prompt.pieces[-2 if prefill else -1 :][:1]
    return "".join(piece.text for piece in last if piece.trusted)


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
